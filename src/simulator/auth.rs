//! Logins and tokens of the two families, and the third way that one operation has. Tokens live in memory only.
//! It decides who is let in and how a refusal looks, never what a call does.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::answer::Answer;
use super::input::Input;
use super::lock::lock;
use super::noise::Noise;
use super::options::{Options, RefusalStyle};
use crate::clock::{self, Instant};

/// Dead tokens are forgotten when there are more than this.
const MANY: usize = 100_000;

/// A login and the operations its tokens open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `/service/cloud/*`, and whatever is not named elsewhere.
    Cloud,
    /// `/service/callcenter/*`.
    Predict,
}

impl Family {
    /// The family whose login this path is.
    pub(super) fn of_login(path: &str) -> Option<Self> {
        match path {
            "/service/cloud/auth" => Some(Self::Cloud),
            "/service/callcenter/call/predict/auth" => Some(Self::Predict),
            _ => None,
        }
    }

    /// The family whose tokens open this path.
    fn of_operation(path: &str) -> Self {
        if path.starts_with("/service/callcenter/") { Self::Predict } else { Self::Cloud }
    }
}

/// Answers a login: a fresh token for the right pair. Earlier tokens stay valid until their own end.
pub(super) fn login(family: Family, input: &Input, options: &Options, tokens: &Tokens) -> Answer {
    let (key, secret) = &options.key_pair;
    let right = input.text("APPKey") == Some(key.as_str()) && input.text("APPSecret") == Some(secret.as_str());
    match (family, right) {
        (Family::Cloud, true) => Answer::ok(&json!({ "token": tokens.issue(family) })),
        (Family::Cloud, false) => Answer::failed(StatusCode::UNAUTHORIZED, "APPKey or APPSecret is wrong"),
        (Family::Predict, true) => Answer::ok_body(&json!({ "token": tokens.issue(family) })),
        (Family::Predict, false) => {
            Answer::json(&json!({ "code": 401, "message": "APPKey or APPSecret is wrong", "body": null }))
        }
    }
}

/// Why a call was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token.
    Empty,
    /// Not the shape of a token.
    Malformed,
    /// Never issued, of the other family, or revoked.
    Invalid,
    /// Too old.
    Expired,
}

/// Checks what an operation asks for: a token, or the headers `token` and `tenantId`.
pub(super) fn check(path: &str, headers: &HeaderMap, tokens: &Tokens) -> Result<(), Refused> {
    if is_process(path) {
        let filled = |name| headers.get(name).is_some_and(|value| !value.is_empty());
        return if filled("token") && filled("tenantid") { Ok(()) } else { Err(Refused::Empty) };
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (word, token) = token.split_once(' ').unwrap_or((token, ""));
    if !word.eq_ignore_ascii_case("token") && !word.eq_ignore_ascii_case("bearer") {
        return Err(Refused::Empty);
    }
    tokens.check(Family::of_operation(path), token.trim())
}

fn is_process(path: &str) -> bool {
    path.starts_with("/api/v1/process/")
}

/// How a refused call is answered, and whether that is sealed whatever the call was.
pub(super) fn refusal(path: &str, refused: Refused, style: RefusalStyle) -> (Answer, bool) {
    let sealed = matches!(style, RefusalStyle::Sealed200 | RefusalStyle::Sealed401);
    if is_process(path) {
        let answer = json!({ "data": null, "msg": "unauthorized", "retcode": 401, "traceId": "" });
        return (Answer::json(&answer).with_status(StatusCode::UNAUTHORIZED), false);
    }
    if Family::of_operation(path) == Family::Predict {
        let (code, message) = match refused {
            Refused::Empty => (10810, "token is empty"),
            Refused::Malformed => (10811, "token cannot be parsed"),
            Refused::Invalid => (10812, "token is invalid"),
            Refused::Expired => (10813, "token is expired"),
        };
        return (Answer::json(&json!({ "code": code, "message": message, "body": null })), sealed);
    }
    let answer = Answer::code(401, "token is invalid or expired");
    match style {
        RefusalStyle::Http401 | RefusalStyle::Sealed401 => (answer.with_status(StatusCode::UNAUTHORIZED), sealed),
        RefusalStyle::Ok200 | RefusalStyle::Sealed200 => (answer, sealed),
    }
}

/// Every token issued, living and dead.
pub(super) struct Tokens {
    life: Duration,
    noise: Noise,
    issued: Mutex<HashMap<String, Token>>,
}

struct Token {
    family: Family,
    /// `None`: so far away that the clock cannot say it.
    dies: Option<Instant>,
    revoked: bool,
}

impl Token {
    fn is_expired(&self) -> bool {
        self.dies.is_some_and(|dies| dies <= clock::now())
    }
}

impl Tokens {
    pub(super) fn try_new(life: Duration) -> io::Result<Self> {
        Ok(Self { life, noise: Noise::try_new()?, issued: Mutex::default() })
    }

    /// A new token: 64 characters of base64.
    pub(super) fn issue(&self, family: Family) -> String {
        let text = STANDARD.encode(self.noise.bytes::<48>());
        let mut issued = lock(&self.issued);
        if issued.len() >= MANY {
            issued.retain(|_, token| !token.revoked && !token.is_expired());
        }
        issued.insert(text.clone(), Token { family, dies: clock::now().checked_add(self.life), revoked: false });
        text
    }

    fn check(&self, family: Family, text: &str) -> Result<(), Refused> {
        if text.is_empty() {
            return Err(Refused::Empty);
        }
        match lock(&self.issued).get(text) {
            Some(token) if token.family != family || token.revoked => Err(Refused::Invalid),
            Some(token) if token.is_expired() => Err(Refused::Expired),
            Some(_) => Ok(()),
            None if STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 48) => Err(Refused::Invalid),
            None => Err(Refused::Malformed),
        }
    }

    pub(super) fn revoke_all(&self) {
        lock(&self.issued).values_mut().for_each(|token| token.revoked = true);
    }

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.issued).keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::try_new(Duration::from_secs(60)).expect("seeding")
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_as_long_as_it_was_given_and_a_second_one_does_not_end_it() {
        let tokens = tokens();
        let first = tokens.issue(Family::Cloud);
        tokio::time::advance(Duration::from_secs(40)).await;
        let second = tokens.issue(Family::Cloud);
        assert_eq!(first.len(), 64);
        assert_eq!(tokens.check(Family::Cloud, &first), Ok(()));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(tokens.check(Family::Cloud, &first), Err(Refused::Expired));
        assert_eq!(tokens.check(Family::Cloud, &second), Ok(()));
        tokens.revoke_all();
        assert_eq!(tokens.check(Family::Cloud, &second), Err(Refused::Invalid));
    }

    #[test]
    fn a_token_opens_its_own_family_only() {
        let tokens = tokens();
        let token = tokens.issue(Family::Predict);
        assert_eq!(tokens.check(Family::Predict, &token), Ok(()));
        assert_eq!(tokens.check(Family::Cloud, &token), Err(Refused::Invalid));
        assert_eq!(tokens.check(Family::Predict, ""), Err(Refused::Empty));
        assert_eq!(tokens.check(Family::Predict, "abc"), Err(Refused::Malformed));
        assert_eq!(tokens.check(Family::Predict, &STANDARD.encode([7; 48])), Err(Refused::Invalid));
    }
}
