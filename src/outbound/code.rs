//! The `code` in the platform's envelope, which says success or refusal whatever the HTTP status says.
//!
//! It reads that one number and nothing else of a body, and keeps nothing.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

/// The largest body that is looked into, in bytes: the platform's envelopes are far smaller.
pub(super) const ENVELOPE: usize = 64 * 1024;

/// The code at the top of a JSON object: a number, or digits in quotes. `retcode` where one family says so.
pub(super) fn find(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code<'a> {
        Number(i64),
        Text(&'a str),
    }
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        code: Option<Code<'a>>,
        retcode: Option<i64>,
    }
    if body.len() > ENVELOPE || !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    if let Some(code) = plain_success(body) {
        return Some(code);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    match envelope.code {
        Some(Code::Number(code)) => Some(code),
        Some(Code::Text(digits)) => digits.parse().ok(),
        None => envelope.retcode,
    }
}

/// The end of `"code"` and of `"retcode"`, so that one search finds both. Made once: making one costs as much as a search.
static CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("code\""));

/// The usual case without parsing: `"code"` stands in the body once and says success, and no `"retcode"` does.
/// Anything else has to be parsed, because a refusal counts only at the top.
fn plain_success(body: &[u8]) -> Option<i64> {
    // Other names may end like these (`"postcode"`), and say nothing.
    let is_code = |at: &usize| body[..*at].ends_with(b"\"") || body[..*at].ends_with(b"\"ret");
    let mut found = CODE.find_iter(body).filter(is_code);
    let at = found.next()?;
    let after = body[at + 5..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let ends = matches!(after.get(digits), Some(b',' | b'}' | b' ' | b'\r' | b'\n' | b'\t'));
    match &after[..digits] {
        _ if !ends || body[..at].ends_with(b"\"ret") || found.next().is_some() => None,
        b"200" => Some(200),
        b"0" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_one_at_the_top() {
        for (body, expected) in [
            (r#"{"data":{},"status":"OK","code":200}"#, Some(200)),
            (r#"{"code":0,"body":{}}"#, Some(0)),
            (r#"{ "code" : 401 , "data":null}"#, Some(401)),
            (r#"{"code":"401"}"#, Some(401)),
            (r#"{"code":-1}"#, Some(-1)),
            (r#"{"code":2000}"#, Some(2000)),
            (r#"{"code":200.5}"#, None),
            (r#"{"data":{"code":401},"code":200}"#, Some(200)),
            (r#"{"data":{"code":200},"code":10811}"#, Some(10811)),
            (r#"{"data":{"code":401}}"#, None),
            (r#"{"data":"\"code\": 401"}"#, None),
            (r#"{"retcode":0,"data":{}}"#, Some(0)),
            (r#"{"retcode":7,"data":{}}"#, Some(7)),
            (r#"{"retcode":401,"data":{"code":0}}"#, Some(401)),
            (r#"{"code":401"#, None),
            ("[401]", None),
            ("", None),
        ] {
            assert_eq!(find(body.as_bytes()), expected, "{body}");
        }
    }
}
