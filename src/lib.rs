//! airudder-gateway: one door between a company's programs and the AI Rudder calling platform.
//!
//! **Outbound**, a program calls in plain HTTP and JSON: `outbound` receives the call, knows whose it is (`program`), admits
//! it (`limit`), seals it (`envelope`), adds the account's token (`token`), exchanges it with the platform
//! (`http`), opens and judges the answer, and hands it back; what the gateway answers itself stands in one
//! table (`reply`).
//!
//! **Inbound**, the platform calls back: `inbound` opens a callback, stores it (`inbox`) and only then acknowledges it;
//! `delivery` brings it to its receivers until they take it. The two meet only in the inbox.
//!
//! `admin` shows operators how both go (`metrics`, `log`, `trace`).
//!
//! The modules below stand in reading order. A module uses only those of later paragraphs, and those of one paragraph
//! never use each other; a test reads the source tree and keeps this true. `simulator` stands apart: it shares the
//! envelope and the leaves with the gateway and nothing of its flow. So does `fuzzing`, which nobody's build has: doors for
//! the fuzz targets.

pub mod cli;

mod app;

mod admin;
mod delivery;
mod inbound;
mod outbound;

pub mod inbox;
pub mod limit;
pub mod program;
pub mod reply;
pub mod token;

pub mod envelope;
mod http;

pub mod log;
pub mod trace;

pub mod clock;
pub mod config;
pub mod metrics;

pub mod secret;

pub mod simulator;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
