//! What the admin listener reads and writes: one request, one page.
//!
//! The only file of this room that knows a session. It decides nothing.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora_timeout::timeout;
use serde_json::{Value, json};

use crate::clock;
use crate::http::head;
use crate::http::response::ResponseHead;
use crate::http::session::{BodyFault, Session};

/// How long a body may be that is read.
pub(super) struct Longest {
    pub(super) bytes: usize,
    /// What whoever sends more is told.
    pub(super) sentence: &'static str,
}

impl Longest {
    /// Of a question, which is never a document.
    pub(super) const QUESTION: Self =
        Self { bytes: 64 * 1024, sentence: "The body is over 64 KiB; name fewer things." };
}

/// How long a body may take to arrive, from its header's end.
const BODY_TIME: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";

/// A request. Its body is empty until it has been read.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    /// Empty when there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// What its header says.
    pub(super) fn of(head: &head::Request) -> Self {
        let field = |(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?));
        let mut headers = HeaderMap::new();
        for (name, value) in head.headers().filter_map(field) {
            headers.append(name, value);
        }
        Self {
            method: head.method().clone(),
            path: head.path().to_owned(),
            query: head.query().unwrap_or_default().to_owned(),
            headers,
            body: Bytes::new(),
        }
    }

    /// Reads the body of a POST; what is wrong with it is a page.
    pub(super) async fn read_body(&mut self, session: &mut Session, longest: &Longest) -> Result<(), Page> {
        if self.method != Method::POST {
            return Ok(());
        }
        let incomplete = || Page::message(400, "The body ended early; send it whole.");
        let late = || Page::message(408, "The body did not arrive in time; send it at once.");
        let mut body = BytesMut::new();
        let reading = async {
            session.invite(BODY_TIME).await.map_err(|_| incomplete())?;
            while let Some(piece) = session.read_body().await.map_err(|fault| match fault {
                BodyFault::TooSlow(_) => late(),
                BodyFault::Incomplete | BodyFault::Gone => incomplete(),
            })? {
                if body.len() + piece.len() > longest.bytes {
                    return Err(Page::message(400, longest.sentence));
                }
                body.extend_from_slice(piece);
            }
            Ok(())
        };
        timeout(BODY_TIME, reading).await.unwrap_or_else(|_| Err(late()))?;
        self.body = body.freeze();
        Ok(())
    }

    /// The text of a header that may stand once; `None` when it is not there, or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One page.
pub(super) struct Page {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    /// Methods that would have been answered, with 405.
    allow: &'static str,
    /// How a token may be shown, with 401.
    challenge: &'static str,
    /// What a document may load and run; empty for everything that is none.
    policy: &'static str,
}

/// How a browser asks a person for the token: as the password of any user (RFC 7617).
const ASK_A_PERSON: &str = "Basic realm=\"airudder-gateway: the token is the password\", charset=\"UTF-8\"";

impl Page {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::written(status, JSON, body.to_string())
    }

    /// One sentence that says what happened and what to do.
    pub(super) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"message": message}))
    }

    /// JSON that is written already.
    pub(super) fn json_text(body: impl Into<Bytes>) -> Self {
        Self::written(200, JSON, body)
    }

    pub(super) fn written(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), allow: "", challenge: "Bearer", policy: "" }
    }

    /// A page for people.
    pub(super) fn document(text: &'static str, policy: &'static str) -> Self {
        Self { policy, ..Self::written(200, "text/html; charset=utf-8", text) }
    }

    /// A browser asks a person, where this is 401.
    pub(super) fn asking_a_person(self) -> Self {
        Self { challenge: ASK_A_PERSON, ..self }
    }

    /// Another method is wanted.
    pub(super) fn only(allow: &'static str) -> Self {
        let message = format!(
            "Only {} {} answered here.",
            allow.replace(", ", " and "),
            if allow.contains(',') { "are" } else { "is" }
        );
        Self { allow, ..Self::message(405, &message) }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) async fn write(self, session: &mut Session) -> io::Result<()> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = ResponseHead::new(status);
        head.header(b"Content-Type", self.content_type.as_bytes())
            .header(b"Cache-Control", b"no-store")
            .header(b"X-Content-Type-Options", b"nosniff");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            head.header(b"Allow", self.allow.as_bytes());
        }
        if status == StatusCode::UNAUTHORIZED {
            head.header(b"WWW-Authenticate", self.challenge.as_bytes());
        }
        if !self.policy.is_empty() {
            head.header(b"Content-Security-Policy", self.policy.as_bytes())
                .header(b"X-Frame-Options", b"DENY")
                .header(b"Referrer-Policy", b"same-origin");
        }
        session.answer(head, &self.body).await
    }
}

/// A time as people and programs read it: RFC 3339 in UTC. `millis`: since 1970-01-01 UTC.
pub(super) fn time(millis: u64) -> String {
    let mut text = String::with_capacity(24);
    let _ = clock::write_rfc3339(millis, &mut text);
    text
}
