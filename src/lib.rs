//! airudder-gateway.

pub mod cli;
pub mod clock;
pub mod config;
pub mod envelope;
pub mod secret;
pub mod simulator;
