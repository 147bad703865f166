//! The gateway as a whole, through its front doors. One binary; a module for each promise.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod call;
mod chunks;
mod config;
mod connection;
mod early;
mod envelope;
mod expect;
mod framing;
mod gone;
mod methods;
mod simulator;
mod slow;
mod streaming;
mod support;
