//! airudder-gateway.

pub mod clock;
pub mod config;
pub mod secret;
pub mod token;
