//! Whoever shows something: only a token that was issued, a configured key or a whole pair is somebody.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::config::{KeyPair, Program, ProgramLimit, TokenRules};
use airudder_gateway::program::{Credential, Pair, Programs, Unknown};
use airudder_gateway::secret::Secret;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use libfuzzer_sys::fuzz_target;

/// When the tokens were issued, in seconds since 1970, and how long they live.
const ISSUED: u64 = 1_800_000_000;
const LIFE: u64 = 100;

const PAIRS: [(&str, &str, &str); 3] =
    [("books", "pair-books", "secret-books"), ("calls", "pair-calls", "geheimnis \u{fc}"), ("crm", "p", "")];
const KEYS: [(&str, &str); 2] = [("shop", "key-shop"), ("books", "key-books")];

struct Known {
    programs: Programs,
    /// Under the present key and under the former one.
    tokens: Vec<(&'static str, String)>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let program = |name: &str| Program {
        name: name.into(),
        api_key: KEYS.iter().find(|(owner, _)| *owner == name).map(|(_, key)| Secret::new(*key)),
        pair: PAIRS
            .iter()
            .find(|(owner, ..)| *owner == name)
            .map(|(_, key, secret)| KeyPair { key: Secret::new(*key), secret: Secret::new(*secret) }),
        account: None,
        operations: Vec::new(),
        limit: ProgramLimit::default(),
    };
    let all = ["books", "calls", "crm", "shop"].map(program);
    let (present, former) = ("the key that signs tokens now, 32", "the key that signed tokens before");
    let with = |key: &str, old: Option<&str>| {
        let life = Duration::from_secs(LIFE);
        let rules = TokenRules { key: Some(Secret::new(key)), old_key: old.map(Secret::new), life };
        Programs::try_new(&all, &rules, clock::now()).expect("random numbers")
    };
    let (programs, before) = (with(present, Some(former)), with(former, None));
    let mut tokens = Vec::new();
    for signed_by in [&programs, &before] {
        for (name, key, secret) in PAIRS {
            let attempt = signed_by.log_in(Some(&Pair::new(Secret::new(key), Secret::new(secret))), clock::now());
            let proved = attempt.proved.expect("the pair");
            assert_eq!(proved.program().name, name);
            tokens.push((name, signed_by.issue(&proved, ISSUED).expect("a token")));
        }
    }
    Known { programs, tokens }
});

fn check_token(text: &[u8], now: u64) {
    let holder = KNOWN.tokens.iter().find(|(_, token)| token.as_bytes() == text).map(|(name, _)| *name);
    let expected = match holder {
        None => Err(Unknown::Token),
        Some(_) if now >= ISSUED + LIFE => Err(Unknown::Expired),
        Some(name) => Ok(name),
    };
    let found = KNOWN.programs.identify(Credential::Token(text), || now).map(|program| program.name.as_str());
    assert_eq!(found, expected);
}

fn check_key(text: &[u8]) {
    let expected = KEYS.iter().find(|(_, key)| key.as_bytes() == text).map(|(name, _)| *name);
    let found = KNOWN.programs.identify(Credential::Key(text), || ISSUED).map(|program| program.name.as_str());
    assert_eq!(found, expected.ok_or(Unknown::Key));
}

/// Whose pair was shown, if it is one.
fn logs_in(pair: Option<&Pair>) -> Option<&'static str> {
    let attempt = KNOWN.programs.log_in(pair, clock::now());
    let name = attempt.proved.map(|proved| proved.program().name.as_str());
    if let Some(name) = name {
        assert_eq!(attempt.named.map(|program| program.name.as_str()), Some(name));
    }
    PAIRS.iter().map(|(owner, ..)| *owner).find(|owner| Some(*owner) == name)
}

fn check_pair(key: &str, secret: &str, body: &[u8]) {
    let expected = PAIRS.iter().find(|pair| (pair.1, pair.2) == (key, secret)).map(|pair| pair.0);
    let json = serde_json::json!({ "APPKey": key, "APPSecret": secret }).to_string();
    let form = |text: &str| {
        let escaped = |byte: u8| format!("%{byte:02x}");
        text.bytes().map(escaped).collect::<String>()
    };
    let form = format!("APPSecret={}&x=y&APPKey={}", form(secret), form(key));
    for written in [json, form] {
        assert_eq!(logs_in(Pair::read(written.as_bytes()).as_ref()), expected);
        // Twice is not once.
        let twice = format!("{}&APPKey=p", written);
        assert!(Pair::read(twice.as_bytes()).is_none());
    }
    // Anything at all: somebody only if both halves of one pair stand in it.
    if let Some(name) = logs_in(Pair::read(body).as_ref()) {
        assert!(PAIRS.iter().any(|pair| pair.0 == name));
        assert!(body.windows(3).any(|word| word == b"APP" || word.contains(&b'%') || word.contains(&b'\\')));
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        let mut input = Input(data);
        match input.below(4) {
            0 => check_token(input.0, ISSUED),
            1 => {
                let mut text = KNOWN.tokens[input.below(KNOWN.tokens.len())].1.clone().into_bytes();
                let now = input.choose(&[0, ISSUED, ISSUED + LIFE - 1, ISSUED + LIFE, u64::MAX]);
                input.tamper(&mut text);
                check_token(&text, now);
            }
            2 => check_key(input.0),
            _ => {
                let (key, secret) = (input.some(), input.some());
                let (Ok(key), Ok(secret)) = (str::from_utf8(key), str::from_utf8(secret)) else { return };
                check_pair(key, secret, input.0);
            }
        }
    });
});
