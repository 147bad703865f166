//! Inbound: the platform calls back here. A callback is opened, stored, and only then acknowledged.
//!
//! This room never delivers anything; what it stored is the business of `delivery`.
