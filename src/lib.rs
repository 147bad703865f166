//! airudder-gateway.

pub mod clock;
pub mod config;
pub mod envelope;
pub mod secret;
