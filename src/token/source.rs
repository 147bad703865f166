//! What a login says and how its answer reads, for both token families.
//!
//! Pure: bytes in, bytes or a judgement out. It opens no connection, and no error of it carries a byte of
//! an answer, because a token could be among them.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::LoginError;
use crate::secret::Secret;

/// Longest token in bytes. The documented ones have 64; servers begin to refuse header lines at 8 KiB.
pub const MAX_TOKEN: usize = 4096;

/// Which login a call needs: the platform has two token families.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Family {
    /// Everything but the call centre.
    Cloud,
    /// The predictive dialer, `/service/callcenter/…`.
    CallCentre,
}

impl Family {
    /// Where its login is POSTed.
    pub fn login_path(self) -> &'static str {
        match self {
            Self::Cloud => "/service/cloud/auth",
            Self::CallCentre => "/service/callcenter/call/predict/auth",
        }
    }

    /// Whether the `code` of an answer says that the token is not accepted. HTTP 401 says so too, whatever
    /// the family.
    pub fn refuses(self, code: i64) -> bool {
        match self {
            Self::Cloud => code == 401,
            // Empty, unreadable, invalid, expired.
            Self::CallCentre => matches!(code, 401 | 10810..=10813),
        }
    }

    /// The JSON of a login, the same for both families.
    ///
    /// # Errors
    /// [`LoginError::KeyNotText`] when one of the two is not UTF-8.
    pub fn login_body(app_key: &Secret, app_secret: &Secret) -> Result<Zeroizing<Vec<u8>>, LoginError> {
        let pair = Pair {
            app_key: app_key.expose_str().ok_or(LoginError::KeyNotText)?,
            app_secret: app_secret.expose_str().ok_or(LoginError::KeyNotText)?,
        };
        // Room for the worst case (`\u00XX` for each byte): a buffer that grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(64 + 6 * (app_key.len() + app_secret.len())));
        serde_json::to_writer(&mut *body, &pair).map_err(|_| LoginError::KeyNotText)?;
        Ok(body)
    }

    /// The token in the answer to a login, or why there is none. The status is judged first, then the body.
    pub fn read_answer(self, http_status: u16, body: &[u8]) -> Result<Secret, LoginError> {
        let body = body.trim_ascii();
        // An object only: serde would fill the fields from an array as well.
        let head = body.starts_with(b"{").then(|| serde_json::from_slice::<Head>(body).ok()).flatten();
        let code = head.as_ref().and_then(|head| head.code.number());
        match http_status {
            200..=299 => {}
            429 => return Err(LoginError::Throttled { retry_after: None }),
            401 | 403 => return Err(LoginError::Refused { status: http_status, code }),
            _ => return Err(LoginError::Failing { status: http_status, code }),
        }
        if head.is_none() {
            return Err(match body.first() {
                None => LoginError::Empty,
                Some(b'<') => LoginError::Html,
                Some(_) => LoginError::NotJson,
            });
        }
        match code {
            Some(code) if code == self.success() => self.read_token(body),
            Some(code) if matches!(code, 401 | 403) || self.refuses(code) => {
                Err(LoginError::Refused { status: http_status, code: Some(code) })
            }
            _ => Err(LoginError::Failing { status: http_status, code }),
        }
    }

    fn success(self) -> i64 {
        match self {
            Self::Cloud => 200,
            Self::CallCentre => 0,
        }
    }

    fn read_token(self, body: &[u8]) -> Result<Secret, LoginError> {
        let token = match self {
            Self::Cloud => serde_json::from_slice::<CloudAnswer<'_>>(body).map(|answer| answer.data.token),
            Self::CallCentre => serde_json::from_slice::<CallCentreAnswer<'_>>(body).map(|answer| answer.body.token),
        };
        // A text with escapes (PHP writes `\/`) is owned, and `Secret` takes it over without a copy.
        let token = Secret::new(token.map_err(|_| LoginError::NoToken)?.into_owned());
        check_token(token.expose())?;
        Ok(token)
    }
}

/// Whether a token may stand in a header: visible ASCII, 1 to [`MAX_TOKEN`] bytes.
pub(super) fn check_token(token: &[u8]) -> Result<(), LoginError> {
    let fits = (1..=MAX_TOKEN).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    if fits { Ok(()) } else { Err(LoginError::BadToken) }
}

/// Reads a `Retry-After` in seconds. A date is not read: it would need the wall clock, and the own back-off
/// does without.
pub fn read_retry_after(value: &HeaderValue) -> Option<Duration> {
    let digits = value.as_bytes().trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than fit mean "very long", and whoever waits has a limit of its own.
    let seconds = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds))
}

#[derive(Serialize)]
struct Pair<'a> {
    #[serde(rename = "APPKey")]
    app_key: &'a str,
    #[serde(rename = "APPSecret")]
    app_secret: &'a str,
}

/// Read before the token is looked for: in a failing answer, `data` may be anything.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    code: Code,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Code {
    Number(i64),
    #[default]
    Missing,
    Other(IgnoredAny),
}

impl Code {
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(code) => Some(*code),
            Self::Missing | Self::Other(IgnoredAny) => None,
        }
    }
}

#[derive(Deserialize)]
struct CloudAnswer<'a> {
    #[serde(borrow)]
    data: TokenField<'a>,
}

#[derive(Deserialize)]
struct CallCentreAnswer<'a> {
    #[serde(borrow)]
    body: TokenField<'a>,
}

#[derive(Deserialize)]
struct TokenField<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "q+/4mB0Zs1yQ8vXn2LrT6kEwPdUjHcGfAaOiSgVbNtRzYxCuMlKhJpDeFoWq3w==";

    #[test]
    fn a_good_answer_gives_its_token() {
        #[track_caller]
        fn check(family: Family, body: &str) {
            let token = family.read_answer(200, body.as_bytes()).expect("a token");
            assert_eq!(token.expose_str(), Some(TOKEN));
        }
        check(Family::Cloud, &format!(r#"{{"data":{{"token":"{TOKEN}"}},"status":"OK","code":200}}"#));
        check(
            Family::Cloud,
            &format!(" \r\n{{\"code\":200,\"more\":[1],\"data\":{{\"expire\":1,\"token\":\"{TOKEN}\"}}}}\n"),
        );
        check(Family::Cloud, &format!(r#"{{"data":{{"token":"{}"}},"code":200}}"#, TOKEN.replace('/', "\\/")));
        check(Family::CallCentre, &format!(r#"{{"code":0,"message":"","body":{{"token":"{TOKEN}"}}}}"#));
    }

    #[test]
    fn anything_else_says_why_there_is_no_token() {
        #[track_caller]
        fn check(family: Family, status: u16, body: &str, expected: LoginError) {
            assert_eq!(family.read_answer(status, body.as_bytes()).expect_err("no token"), expected, "{status} {body}");
        }
        let (cloud, centre) = (Family::Cloud, Family::CallCentre);
        let good = r#"{"data":{"token":"abc"},"code":200}"#;
        check(cloud, 200, "", LoginError::Empty);
        check(cloud, 204, " \r\n", LoginError::Empty);
        check(cloud, 200, "\n<!DOCTYPE html><html></html>", LoginError::Html);
        check(cloud, 200, "OK", LoginError::NotJson);
        check(cloud, 200, "[1]", LoginError::NotJson);
        check(cloud, 200, &good[..good.len() - 1], LoginError::NotJson);
        check(cloud, 200, &format!("{good}{good}"), LoginError::NotJson);
        check(cloud, 200, r#"{"code":500,"data":[]}"#, LoginError::Failing { status: 200, code: Some(500) });
        check(cloud, 200, r#"{"code":0,"data":{"token":"abc"}}"#, LoginError::Failing { status: 200, code: Some(0) });
        check(cloud, 200, r#"{"data":{"token":"abc"}}"#, LoginError::Failing { status: 200, code: None });
        check(cloud, 200, r#"{"code":"200","data":{"token":"abc"}}"#, LoginError::Failing { status: 200, code: None });
        check(cloud, 200, r#"{"code":401,"data":null}"#, LoginError::Refused { status: 200, code: Some(401) });
        check(cloud, 200, r#"{"code":403}"#, LoginError::Refused { status: 200, code: Some(403) });
        check(cloud, 401, r#"{"code":401,"data":null}"#, LoginError::Refused { status: 401, code: Some(401) });
        check(cloud, 403, "<html>", LoginError::Refused { status: 403, code: None });
        check(cloud, 500, good, LoginError::Failing { status: 500, code: Some(200) });
        check(cloud, 302, "", LoginError::Failing { status: 302, code: None });
        check(cloud, 429, good, LoginError::Throttled { retry_after: None });
        check(cloud, 200, r#"{"code":200,"data":null}"#, LoginError::NoToken);
        check(cloud, 200, r#"{"code":200,"data":{"token":7}}"#, LoginError::NoToken);
        check(cloud, 200, r#"{"code":200,"body":{"token":"abc"}}"#, LoginError::NoToken);
        check(centre, 200, r#"{"code":0,"data":{"token":"abc"}}"#, LoginError::NoToken);
        check(centre, 200, good, LoginError::Failing { status: 200, code: Some(200) });
        check(centre, 200, r#"{"code":10812,"body":{}}"#, LoginError::Refused { status: 200, code: Some(10812) });
    }

    #[test]
    fn a_token_that_does_not_fit_a_header_is_refused() {
        let answer = |token: &str| {
            Family::Cloud.read_answer(200, format!(r#"{{"code":200,"data":{{"token":"{token}"}}}}"#).as_bytes())
        };
        for bad in ["", "a b", " a", "a\\r\\nX-Evil: 1", "a\\u0000", "a\\u007f", "tök", &"a".repeat(MAX_TOKEN + 1)] {
            assert_eq!(answer(bad), Err(LoginError::BadToken), "{bad:?}");
        }
        assert!(answer(&"a".repeat(MAX_TOKEN)).is_ok());
    }

    #[test]
    fn a_key_pair_is_escaped_into_its_login() {
        let (key, secret) = ("a\"b\\c", "\u{1}é'/\n");
        let body = Family::login_body(&Secret::new(key), &Secret::new(secret)).expect("text");
        let read: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(read, serde_json::json!({ "APPKey": key, "APPSecret": secret }));
    }

    #[test]
    fn the_buffer_of_a_login_never_grows() {
        let worst = Secret::new("\u{1}".repeat(500));
        let body = Family::login_body(&worst, &worst).expect("text");
        assert!(body.len() > 6000 && body.capacity() == 64 + 6 * 1000, "{} of {}", body.len(), body.capacity());
    }

    #[test]
    fn a_key_that_is_not_text_is_refused() {
        let result = Family::login_body(&Secret::new("key"), &Secret::new([0xff]));
        assert_eq!(result, Err(LoginError::KeyNotText));
    }

    #[test]
    fn each_family_knows_its_refusals() {
        for code in [401, 10810, 10811, 10812, 10813] {
            assert!(Family::CallCentre.refuses(code), "{code}");
            assert_eq!(Family::Cloud.refuses(code), code == 401, "{code}");
        }
        for code in [0, 200, 403, 500, 10809, 10814] {
            assert!(!Family::CallCentre.refuses(code) && !Family::Cloud.refuses(code), "{code}");
        }
    }

    #[test]
    fn a_retry_after_in_seconds_is_read() {
        let read = |text| read_retry_after(&HeaderValue::from_static(text));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for unread in ["", "-1", "1.5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(read(unread), None, "{unread}");
        }
    }

    #[test]
    fn a_retry_after_counts_with_429_and_503_only() {
        let wait = Some(Duration::from_secs(7));
        let throttled = LoginError::Throttled { retry_after: wait };
        assert_eq!(LoginError::Throttled { retry_after: None }.with_retry_after(wait), throttled);
        assert_eq!(LoginError::Failing { status: 503, code: None }.with_retry_after(wait), throttled);
        for same in [LoginError::Failing { status: 500, code: None }, LoginError::Empty] {
            assert_eq!(same.with_retry_after(wait), same);
        }
        let down = LoginError::Failing { status: 503, code: None };
        assert_eq!(down.with_retry_after(None), down);
    }
}
