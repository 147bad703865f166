//! The gateway as a whole, through its front doors. One binary; a module for each promise.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod call;
mod config;
mod envelope;
mod logins;
mod replays;
mod simulator;
mod support;
mod tokens;
