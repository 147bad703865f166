//! A callback as it is asked for, and what became of each of its tries.
//! It sends nothing. `Debug` shows neither a body nor a URL, whose path is a secret between the two ends.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// A callback to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    /// Where to: `http://…`, or `https://…` when [`super::Options::callback_ca`] says whom to trust.
    pub url: String,
    /// The JSON text, before it is sealed.
    pub body: Bytes,
    /// Whether it is sealed, with `Is-Encrypted` and `Signed`.
    pub sealed: bool,
    /// How many of it are sent at the same time, each with tries of its own; 0 counts as 1.
    pub copies: u32,
}

impl Callback {
    /// One, plain.
    pub fn new(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { url: url.into(), body: body.into(), sealed: false, copies: 1 }
    }

    /// The same, sealed.
    pub fn sealed(self) -> Self {
        Self { sealed: true, ..self }
    }

    /// The same, this many times at once.
    pub fn times(self, copies: u32) -> Self {
        Self { copies, ..self }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("body_len", &self.body.len())
            .field("sealed", &self.sealed)
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}

/// A published sample: documented fields, invented values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// One answered call.
    CallFinished,
    /// Three calls that nobody answered, after the last redial.
    CallsUnanswered,
    /// The status of a WhatsApp message.
    WabaStatus,
    /// The status of an agent of the call centre.
    AgentStatus,
}

impl Sample {
    /// Every sample.
    pub const ALL: [Self; 4] = [Self::CallFinished, Self::CallsUnanswered, Self::WabaStatus, Self::AgentStatus];

    /// Its text, as published.
    pub const fn text(self) -> &'static str {
        match self {
            Self::CallFinished => include_str!("../../tests/data/callbacks/call-finished.json"),
            Self::CallsUnanswered => include_str!("../../tests/data/callbacks/calls-unanswered.json"),
            Self::WabaStatus => include_str!("../../tests/data/callbacks/workflow-waba-status.json"),
            Self::AgentStatus => include_str!("../../tests/data/callbacks/predict-agent-status.json"),
        }
    }
}

/// One try of a callback. `Debug` shows sizes only.
#[derive(Clone)]
pub struct CallbackTry {
    /// Number of the callback, from 1 in the order they were asked for; its copies share it.
    pub callback: u64,
    /// Which of its copies, from 1.
    pub copy: u32,
    /// Which try of that copy, from 1.
    pub attempt: u32,
    /// The body as it went over the wire: ciphertext, if it was sealed.
    pub sent: Bytes,
    /// The `Signed` header; `None` when it was not sealed.
    pub signed: Option<String>,
    /// When it was sent, since the start of the simulator.
    pub at: Duration,
    /// How long it took until its answer, or until it was given up.
    pub took: Duration,
    /// What came back.
    pub answer: Result<CallbackAnswer, NoAnswer>,
}

impl CallbackTry {
    /// HTTP status of the answer.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().ok().map(|answer| answer.status)
    }

    /// Whether the platform takes it for acknowledged: HTTP 200 and nothing else.
    pub fn acknowledged(&self) -> bool {
        self.status() == Some(200)
    }
}

impl fmt::Debug for CallbackTry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTry")
            .field("callback", &self.callback)
            .field("copy", &self.copy)
            .field("attempt", &self.attempt)
            .field("sent_len", &self.sent.len())
            .field("sealed", &self.signed.is_some())
            .field("at", &self.at)
            .field("took", &self.took)
            .field("answer", &self.answer)
            .finish()
    }
}

/// What a try was answered. `Debug` shows sizes only.
#[derive(Clone)]
pub struct CallbackAnswer {
    /// HTTP status.
    pub status: u16,
    /// Names in lowercase, and values.
    pub headers: Vec<(String, String)>,
    /// The body as it arrived.
    pub body: Bytes,
    /// What it held, if it was sealed, opened, and its digest was right.
    pub opened: Option<Bytes>,
}

impl CallbackAnswer {
    /// The first value of a header, by its lowercase name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for CallbackAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackAnswer")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .field("opened_len", &self.opened.as_deref().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// Why a try has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody took the connection.
    Unreachable,
    /// The certificate is not of the authority that is trusted, or the handshake failed otherwise.
    Untrusted,
    /// The connection ended before the answer did, or what came was no HTTP.
    Cut,
    /// Nothing whole came within [`super::Options::callback_patience`].
    TimedOut,
}

impl NoAnswer {
    /// A stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Cut => "cut",
            Self::TimedOut => "timed_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_shows_neither_a_path_nor_a_body() {
        let callback = Callback::new("http://host/canary", "canary").sealed();
        let answer = CallbackAnswer {
            status: 200,
            headers: vec![("canary".into(), "canary".into())],
            body: "canary".into(),
            opened: Some("canary".into()),
        };
        let tried = CallbackTry {
            callback: 1,
            copy: 1,
            attempt: 1,
            sent: "canary".into(),
            signed: Some("canary".into()),
            at: Duration::ZERO,
            took: Duration::ZERO,
            answer: Ok(answer),
        };
        let printed = format!("{callback:?} {tried:?}");
        assert!(!printed.contains("canary"), "{printed}");
        assert!(printed.contains("body_len: 6"), "{printed}");
    }
}
