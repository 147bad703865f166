//! The gateway as a whole, through its front doors. One binary; a module for each promise.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod config;
mod envelope;
