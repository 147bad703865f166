//! Asking for the configuration to be read again, and the page that says what became of it.
//!
//! It only asks: who reads and builds it is told by whoever made the gateway. It never shows a value of a configuration.

use std::path::PathBuf;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::page::Page;

/// Operators that may wait for one reload to begin; more wait to be asked.
const MOST_WAITING: usize = 16;

/// Who is told what became of it.
pub(crate) type Asked = oneshot::Sender<Reloaded>;

/// Where operators ask. A handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Reloads(mpsc::Sender<Asked>);

/// What became of a reload.
#[derive(Clone)]
pub(crate) enum Reloaded {
    /// The new configuration serves.
    Done {
        /// The file that was read, as the gateway was given it.
        path: PathBuf,
        /// Legal but unwise values, a sentence each.
        warnings: Vec<String>,
    },
    /// The former one serves on.
    Refused {
        /// A value of `config_reload_total{outcome}`.
        reason: &'static str,
        /// What is wrong and what to do.
        sentence: String,
    },
}

impl Reloads {
    /// The two ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(MOST_WAITING);
        (Self(asks), asked)
    }

    /// Asks, and waits for what becomes of it.
    pub(super) async fn page(&self) -> Page {
        let (tell, told) = oneshot::channel();
        let reloaded = match self.0.send(tell).await {
            Ok(()) => told.await.ok(),
            Err(_) => None,
        };
        match reloaded {
            Some(Reloaded::Done { path, warnings }) => {
                let path = path.display().to_string();
                Page::json(200, &json!({"reloaded": true, "path": path, "warnings": warnings}))
            }
            Some(Reloaded::Refused { reason, sentence }) => {
                let status = if reason == "internal" { 500 } else { 422 };
                Page::json(status, &json!({"reloaded": false, "reason": reason, "message": format!("{sentence}.")}))
            }
            None => Page::message(503, "The gateway stops, so it reads no configuration any more."),
        }
    }
}
