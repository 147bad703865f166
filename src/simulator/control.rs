//! The simulator's own controls over HTTP, for people and scripts: faults, revocation, callbacks, what arrived. They ask for no
//! token and are not recorded.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::Answer;
use super::auth::Family;
use super::callback::{Callback, CallbackTry, Sample};
use super::faults::Fault;
use super::platform::Platform;
use super::record::Received;

/// Largest control body in bytes.
const MOST: usize = 64 * 1024;

/// Copies of one callback.
const MOST_COPIES: u32 = 100;

/// A control, found by its path.
#[derive(Clone, Copy)]
pub(super) enum Control {
    Fault,
    Release,
    Revoke,
    Requests,
    CloseIdle,
    CallBack,
    Callbacks,
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
            "/_sim/callback" => Self::CallBack,
            "/_sim/callbacks" => Self::Callbacks,
            "/_sim/clear" => Self::Clear,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        if matches!(self, Self::Requests | Self::Callbacks) { Method::GET } else { Method::POST }
    }

    /// Does it, and says so.
    pub(super) async fn answer(self, platform: &Platform, method: &Method, body: Incoming) -> Answer {
        if *method != self.method() {
            let should = format!("use {}", self.method());
            return Answer::failed(StatusCode::METHOD_NOT_ALLOWED, &should);
        }
        match self {
            Self::Fault => return queue_fault(platform, body).await,
            Self::CallBack => return call_back(platform, body).await,
            Self::Release => platform.release(),
            Self::Revoke => platform.tokens.revoke_all(),
            Self::Clear => platform.clear(),
            Self::CloseIdle => return Answer::ok(&json!({ "closed": platform.close_idle().await })),
            Self::Callbacks => {
                let tries: Vec<Value> = platform.caller.tries().iter().map(shown_try).collect();
                return Answer::ok(&json!({ "tries": tries }));
            }
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
    match read::<Fault>(body).await {
        Ok(fault) => {
            platform.faults.push(fault);
            Answer::ok(&Value::Null)
        }
        Err(answer) => answer,
    }
}

/// A callback as JSON: a body or the name of a sample, and the rest as the options have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
    #[serde(default)]
    sample: Option<Sample>,
    #[serde(default)]
    sealed: Option<bool>,
    #[serde(default)]
    copies: u32,
}

async fn call_back(platform: &Platform, body: Incoming) -> Answer {
    let asked: Asked = match read(body).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let refuse = |sentence: &str| Answer::failed(StatusCode::BAD_REQUEST, sentence);
    let Some(url) = asked.url.or_else(|| platform.caller.url()) else {
        return refuse("say \"url\", or start with --callback");
    };
    let text = match (asked.body, asked.sample) {
        (Some(body), None) => body.get().to_owned(),
        (None, Some(sample)) => sample.text().to_owned(),
        _ => return refuse("say \"body\" or \"sample\", and not both"),
    };
    if asked.copies > MOST_COPIES {
        return refuse(&format!("\"copies\" is over {MOST_COPIES}"));
    }
    let sealed = asked.sealed.unwrap_or(platform.options.seal_callbacks);
    match platform.caller.send(Callback { url, body: text.into(), sealed, copies: asked.copies }, Duration::ZERO) {
        Ok(_) => Answer::ok(&Value::Null),
        Err(error) => refuse(&error.to_string()),
    }
}

/// A control's JSON, or the answer that refuses it.
async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Answer> {
    let refuse = |sentence: &str| Answer::failed(StatusCode::BAD_REQUEST, sentence);
    let body = Limited::new(body, MOST).collect().await.map_err(|_| refuse("no body, or one over 64 KiB"))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| refuse(&error.to_string()))
}

/// A try as JSON.
fn shown_try(tried: &CallbackTry) -> Value {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    json!({
        "callback": tried.callback,
        "copy": tried.copy,
        "attempt": tried.attempt,
        "at_ms": millis(tried.at),
        "took_ms": millis(tried.took),
        "status": tried.status(),
        "no_answer": tried.answer.as_ref().err().map(|no_answer| no_answer.word()),
        "body": tried.answer.as_ref().ok().map(|answer| text(answer.opened.as_ref().unwrap_or(&answer.body))),
    })
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
