//! The gateway as a whole, through its front doors. One binary; a module for each promise.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod answers;
mod browser;
mod call;
mod callers;
mod canary;
mod check;
mod chunks;
mod config;
mod connection;
mod delivery;
mod demo;
mod drain;
mod drills;
mod durable;
mod early;
mod envelope;
mod errors;
mod expect;
mod framing;
mod gone;
mod headers;
mod inbound;
mod limiting;
mod limits;
mod logins;
mod malformed;
mod memory;
mod methods;
mod observe;
mod operate;
mod outcomes;
mod programs;
mod queries;
mod replays;
mod restarts;
mod sealing;
mod simulator;
mod slow;
mod storm;
mod streaming;
mod support;
mod tidy;
mod tokens;
mod upstream;
