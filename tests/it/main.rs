//! The integration tests: one binary, a module per subject.

mod config;
mod envelope;
mod simulator;
