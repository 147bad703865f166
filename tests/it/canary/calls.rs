//! Calls with marks in every place that a caller, or a platform, can write into.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::marks::{API_KEY, APP_KEY, APP_SECRET, NAME, OWN_TOKEN, PHONE};
use crate::support::Line;

/// One call, byte for byte, and how it has to be answered.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The stable word of the refusal, if it has to be refused.
    pub(super) word: Option<&'static str>,
    /// Whether the gateway answers it itself though it refuses nothing.
    pub(super) answered_here: bool,
}

impl Call {
    pub(super) fn refused(name: &str, word: &'static str, bytes: &str) -> Self {
        Self { name: name.into(), bytes: bytes.into(), word: Some(word), answered_here: false }
    }

    fn passed(name: &str, bytes: String) -> Self {
        Self { name: name.into(), bytes: bytes.into(), word: None, answered_here: false }
    }
}

/// A head with marks in all the usual headers, without its final empty line.
pub(super) fn head(method: &str, target: &str, more: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {PHONE}\r\nX-Gateway-Key: {API_KEY}\r\nAuthorization: Token {OWN_TOKEN}\r\n\
         Cookie: phone={PHONE}\r\nReferer: http://x/?{OWN_TOKEN}\r\nX-Forwarded-For: {PHONE}\r\nX-Request-Id: {PHONE}\r\n\
         X-{OTHER}: {OWN_TOKEN}\r\nX-Name: {NAME}\r\n{more}",
        OTHER = PHONE.trim_start_matches('+')
    )
}

/// Its query is the number alone, so that `Signed` is the digest of the number.
pub(super) fn marked_get(word: Option<&'static str>) -> Call {
    let bytes = head("GET", &format!("/service/cloud/list?{PHONE}"), "") + "\r\n";
    Call { word, ..Call::passed("a GET with a number", bytes) }
}

/// Its body is JSON with everything.
pub(super) fn marked_post(word: Option<&'static str>) -> Call {
    Call { word, ..Call::passed("a POST with everything", post("/service/cloud/task", &body(), "")) }
}

fn body() -> String {
    format!(r#"{{"TaskName":"{NAME}","token":"{OWN_TOKEN}","Details":[{{"CalleeNumber":"{PHONE}"}},"{PHONE}"]}}"#)
}

fn post(target: &str, body: &str, more: &str) -> String {
    head("POST", target, &format!("{more}Content-Length: {}\r\n\r\n", body.len())) + body
}

/// Calls that reach the platform, or look to the program as if they did.
pub(super) fn forwarded() -> Vec<Call> {
    let get = |target: &str| head("GET", target, "") + "\r\n";
    let login = format!(
        "{{\"APPKey\":{},\"APPSecret\":{}}}",
        serde_json::Value::from(APP_KEY),
        serde_json::Value::from(APP_SECRET)
    );
    let form = format!("APPKey={OWN_TOKEN}&APPSecret={PHONE}");
    let chunked = format!("{:x};{PHONE}\r\n{}\r\n0\r\nX-{OWN}: 1\r\n\r\n", body().len(), body(), OWN = "Trailer");
    let here = |name, bytes| Call { answered_here: true, ..Call::passed(name, bytes) };
    vec![
        marked_get(None),
        marked_post(None),
        Call::passed("a GET with a query", get(&format!("/service/cloud/case?TaskID=1&Callee={PHONE}&n={NAME}"))),
        Call::passed("an unknown path", get(&format!("/{PHONE}/%E9%99%88/{OWN_TOKEN}?{PHONE}"))),
        Call::passed("a HEAD", head("HEAD", &format!("/recordings/6281377700042.mp3?{PHONE}"), "\r\n")),
        Call::passed("a recording", get(&format!("/recordings/6281377700042.mp3?{PHONE}"))),
        Call::passed("a method of its own", head("M6281377700042", &format!("/{PHONE}"), "\r\n")),
        Call::passed("a chunked POST", head("POST", "/_sim/echo", "Transfer-Encoding: chunked\r\n\r\n") + &chunked),
        Call::passed("an echo", post("/_sim/echo", &body(), "Content-Type: application/json\r\n")),
        Call::passed("the call centre", post("/service/callcenter/call/predict/createtask", &body(), "")),
        Call::passed("an operation with headers of its own", get(&format!("/api/v1/process/queryTaskQian?{PHONE}"))),
        here("a login", post("/service/cloud/auth", &login, "")),
        here("a login of the call centre", post("/service/callcenter/call/predict/auth", &login, "")),
        here("a login as a form", post(&format!("/service//cloud/auth?{PHONE}"), &form, "")),
    ]
}

/// Calls that the gateway refuses before anything leaves.
pub(super) fn refused() -> Vec<Call> {
    let long = format!("{PHONE}{NAME}").repeat(400);
    let bad = |name: &str, bytes: String| Call::refused(name, "bad_request", &bytes);
    let with = |more: &str| head("POST", &format!("/service/cloud/task?{PHONE}"), more);
    let key = format!("X-Gateway-Key: {API_KEY}");
    vec![
        bad("a target that is none", head("GET", PHONE, "\r\n")),
        bad("something else than HTTP", format!("{PHONE} {NAME} {OWN_TOKEN}\r\n\r\n")),
        bad("an unknown version", head("GET", "/", "\r\n").replace("HTTP/1.1", &format!("HTTP/{PHONE}"))),
        bad("bare line feeds", head("GET", "/", "\r\n").replace('\r', "")),
        bad("no Host", head("GET", "/", "\r\n").replace("Host:", "Hosts:")),
        bad("two Hosts", with(&format!("Host: {PHONE}\r\n\r\n"))),
        bad("a list of lengths", with("Content-Length: 6281377700042, 3\r\n\r\n")),
        bad("a length that is none", with(&format!("Content-Length: {OWN_TOKEN}\r\n\r\n"))),
        bad("an unknown coding", with(&format!("Transfer-Encoding: {OWN_TOKEN}\r\n\r\n"))),
        bad("a header name with a space", with(&format!("X {PHONE}: 1\r\n\r\n"))),
        bad("a NUL", with(&format!("X: \0{PHONE}\r\n\r\n"))),
        Call::refused("a mark of sealing", "already_sealed", &with(&format!("Signed: {PHONE}\r\n\r\n"))),
        Call::refused("a mark of sealing", "already_sealed", &with(&format!("Is-Encrypted: {NAME}\r\n\r\n"))),
        Call::refused(
            "a GET with a body",
            "body_not_sealable",
            &post(&format!("/{PHONE}"), &body(), "").replace("POST", "GET"),
        ),
        Call::refused(
            "a bad chunk",
            "body_incomplete",
            &with(&format!("Transfer-Encoding: chunked\r\n\r\n{PHONE}\r\n{NAME}\r\n")),
        ),
        Call::refused("a large body", "body_too_large", &post("/service/cloud/task", &long, "")),
        Call::refused("a large header", "header_too_large", &with(&format!("X: {long}\r\n\r\n"))),
        Call::refused("many headers", "header_too_large", &with(&("X: +62813\r\n".repeat(300) + "\r\n"))),
        Call::refused("an unknown account", "unknown_account", &with(&format!("X-Gateway-Account: {PHONE}\r\n\r\n"))),
        Call::refused("no key and a token of its own", "token_invalid", &with("\r\n").replace(&key, "X: 1")),
        Call::refused(
            "no key and no token",
            "unknown_program",
            &with("\r\n").replace(&key, "X: 1").replace("Authorization", "X-Authorization"),
        ),
        Call::refused(
            "a wrong pair",
            "login_refused",
            &post("/service/cloud/auth", &format!("APPKey={PHONE}&APPSecret={OWN_TOKEN}"), "").replace(&key, "X: 1"),
        ),
        Call::refused(
            "a wrong key",
            "unknown_program",
            &with("\r\n").replace(&key, &format!("X-Gateway-Key: {OWN_TOKEN}")),
        ),
        Call::refused("half a key", "unknown_program", &with("\r\n").replace(&key, &key[..key.len() - 1])),
        Call::refused("a TRACE", "method_refused", &head("TRACE", &format!("/{PHONE}"), "\r\n")),
        Call::refused(
            "a CONNECT",
            "method_refused",
            &head("CONNECT", "p6281377700042:443", "\r\n")
                .replace(&format!("Host: {PHONE}"), "Host: p6281377700042:443"),
        ),
        bad("a CONNECT to another host", head("CONNECT", "6281377700042:443", "\r\n")),
    ]
}

/// What a platform that is none could say, with marks in every part. The last one is `body` with HTTP 200.
pub(super) fn nasty_answers(body: &str) -> Vec<Vec<u8>> {
    let all = format!("{PHONE} {NAME} {OWN_TOKEN} {APP_SECRET}");
    let with = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    [
        all.clone(),
        format!("{all}\r\n\r\n"),
        format!("HTTP/1.1 {PHONE} {NAME}\r\n\r\n{all}"),
        format!("HTTP/1.1 200 {all}\r\n{PHONE}\r\n\r\n{all}"),
        format!("HTTP/1.1 200 OK\r\nX {PHONE}: \0{NAME}\r\n\r\n{all}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {OWN_TOKEN}\r\n\r\n{all}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{PHONE}\r\n{all}\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{all}"),
        format!("HTTP/1.1 101 {PHONE}\r\nUpgrade: {NAME}\r\n\r\n{all}"),
        with("500 Oops", &format!("X-Note: {OWN_TOKEN}\r\n"), &all),
        with("302 Found", &format!("Location: http://{PHONE}/{OWN_TOKEN}\r\n"), &all),
        with("429 Slow", &format!("Retry-After: {PHONE}\r\n"), &all),
        with("200 OK", "Content-Type: text/html\r\n", &format!("<html>{all}</html>")),
        with("200 OK", "", &format!(r#"{{"code":401,"status":"{NAME}","data":"{PHONE}"}}"#)),
        with("200 OK", "", &format!(r#"{{"code":200,"status":"{NAME}","data":{{"tok":"{OWN_TOKEN}"}}}}"#)),
        with("200 OK", "", &format!(r#"{{"code":200,"data":{{"token":"{OWN_TOKEN}"#)),
        with("200 OK", &format!("Is-Encrypted: 1\r\nSigned: {PHONE}\r\n"), OWN_TOKEN),
        with("200 OK", &format!("Content-Encoding: gzip\r\nX: {NAME}\r\n"), &all),
        with("200 OK", "", body),
    ]
    .map(String::into_bytes)
    .into()
}

/// Says these one after the other, over and over, and counts.
pub(super) fn in_turn(
    answers: Vec<Vec<u8>>,
    given: Arc<AtomicUsize>,
) -> impl Fn(&str, &mut Line) + Send + Clone + 'static {
    move |_, line| {
        line.say(&answers[given.fetch_add(1, Ordering::SeqCst) % answers.len()]);
        line.end();
    }
}
