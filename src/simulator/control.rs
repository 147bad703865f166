//! The simulator's own controls over HTTP, for people and scripts: faults, revocation, what arrived. They ask for no
//! token and are not recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answer::Answer;
use super::auth::Family;
use super::faults::Fault;
use super::platform::Platform;
use super::record::Received;

/// Largest control body in bytes.
const MOST: usize = 64 * 1024;

/// A control, found by its path.
#[derive(Clone, Copy)]
pub(super) enum Control {
    Fault,
    Release,
    Revoke,
    Requests,
    CloseIdle,
    Clear,
}

impl Control {
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/_sim/fault" => Self::Fault,
            "/_sim/release" => Self::Release,
            "/_sim/revoke" => Self::Revoke,
            "/_sim/requests" => Self::Requests,
            "/_sim/close-idle" => Self::CloseIdle,
            "/_sim/clear" => Self::Clear,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        if matches!(self, Self::Requests) { Method::GET } else { Method::POST }
    }

    /// Does it, and says so.
    pub(super) async fn answer(self, platform: &Platform, method: &Method, body: Incoming) -> Answer {
        if *method != self.method() {
            let should = format!("use {}", self.method());
            return Answer::failed(StatusCode::METHOD_NOT_ALLOWED, &should);
        }
        match self {
            Self::Fault => return queue_fault(platform, body).await,
            Self::Release => platform.release(),
            Self::Revoke => platform.tokens.revoke_all(),
            Self::Clear => platform.clear(),
            Self::CloseIdle => return Answer::ok(&json!({ "closed": platform.close_idle().await })),
            Self::Requests => {
                let requests: Vec<Value> = platform.records.all().iter().map(shown).collect();
                return Answer::ok(&json!({
                    "logins": platform.records.logins(),
                    "connections": platform.lines.accepted(),
                    "requests": requests,
                }));
            }
        }
        Answer::ok(&Value::Null)
    }
}

async fn queue_fault(platform: &Platform, body: Incoming) -> Answer {
    let Ok(body) = Limited::new(body, MOST).collect().await else {
        return Answer::failed(StatusCode::BAD_REQUEST, "no body, or one over 64 KiB");
    };
    match serde_json::from_slice::<Fault>(&body.to_bytes()) {
        Ok(fault) => {
            platform.faults.push(fault);
            Answer::ok(&Value::Null)
        }
        Err(error) => Answer::failed(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// A request as JSON. The bodies of logins are left out, and of tokens only the first characters are shown.
fn shown(request: &Received) -> Value {
    let headers: Vec<[String; 2]> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let hidden = name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("token");
            let value = if hidden { value.chars().take(10).chain(['…']).collect() } else { value.clone() };
            [name.clone(), value]
        })
        .collect();
    let login = Family::of_login(&request.path).is_some();
    let content = |bytes: &[u8]| if login { json!("(a login)") } else { text(bytes) };
    json!({
        "connection": request.connection,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
        "body": content(&request.body),
        "body_len": request.body_len,
        "complete": request.complete,
        "opened": request.opened.as_deref().map(content),
        "status": request.status,
        "at_ms": u64::try_from(request.at.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Text as it is, other bytes as base64 in an object.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
