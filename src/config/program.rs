//! `[[program]]` and the keys that sign its tokens: who may call, how it proves who it is, and what it may do.
//!
//! Which names operations have belongs to the outbound room, so whether a pattern names one is not decided here.

use std::time::Duration;

use super::bounds::{each, name, named, positive};
use super::error::{Fault, quote};
use super::file::{self, Reference};
use super::reference::Surroundings;
use super::table::Given;
use super::{Account, ProgramLimit, limit};
use crate::secret::Secret;

/// Fewest bytes of a key that signs tokens: as many as its digest has (RFC 2104 section 3).
const LEAST_KEY: usize = 32;
/// A secret with fewer characters may be found out by trying, however slow that is made.
const WISE_SECRET: usize = 16;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One of our own callers. It has a key, a key pair, or both.
#[derive(Debug, Clone)]
pub struct Program {
    /// Unique name, used in logs and metrics.
    pub name: String,
    /// What it sends in `X-Gateway-Key` if it never logs in.
    pub api_key: Option<Secret>,
    /// What it logs in with, issued by the gateway's operator.
    pub pair: Option<KeyPair>,
    /// Index into [`super::Config::accounts`] of the account it uses; `None` lets `X-Gateway-Account` choose.
    pub account: Option<usize>,
    /// What it may do; empty: everything.
    pub operations: Vec<OperationPattern>,
    /// How much it may send, and its part where others wait.
    pub limit: ProgramLimit,
}

/// `APPKey` and `APPSecret` as a program sends them to the gateway; the platform never sees them.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Different for each program.
    pub key: Secret,
    /// Known to this program alone.
    pub secret: Secret,
}

/// The name of an operation, or the beginning of names followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationPattern {
    written: String,
    is_open: bool,
}

impl OperationPattern {
    /// As it is written: `call.recording` or `task.*`.
    pub fn new(written: &str) -> Self {
        let is_open = written.ends_with('*');
        Self { written: written.to_owned(), is_open }
    }

    /// Whether an operation of this name is meant.
    pub fn fits(&self, operation: &str) -> bool {
        match self.written.strip_suffix('*').filter(|_| self.is_open) {
            Some(beginning) => operation.starts_with(beginning),
            None => operation == self.written,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

/// How gateway tokens are signed and how long they live.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// Signs and proves. There is one if a program has a key pair.
    pub key: Option<Secret>,
    /// The former one: it proves only.
    pub old_key: Option<Secret>,
    /// Counted from the login.
    pub life: Duration,
}

/// Checks one program; what is unwise goes to the warnings.
pub(super) fn program(
    given: &Given<file::Program>,
    accounts: &[Account],
    around: &mut Surroundings<'_>,
) -> Result<Program, Fault> {
    let written = &given.value;
    let name = name(given, written.name.as_ref())?;
    let pair = match (&written.key, &written.secret) {
        (Some(key), Some(secret)) => Some(pair(key, secret, accounts, around)?),
        (None, None) => None,
        (Some(key), None) => return Err(key.fault("stands without secret; add secret, or remove key")),
        (None, Some(secret)) => return Err(secret.fault("stands without key; add key, or remove secret")),
    };
    let api_key = written.api_key.as_ref().map(|key| around.header_secret(key)).transpose()?;
    if pair.is_none() && api_key.is_none() {
        return Err(Fault::at(
            given.at,
            format!(
                "program \"{name}\" has nothing to be known by; add key = {{ env = \"NAME\" }} and secret = {{ env = \
                 \"NAME\" }} if it logs in, else api_key = {{ env = \"NAME\" }}"
            ),
        ));
    }
    let account = match &written.account {
        None => None,
        Some(wanted) => {
            let names = accounts.iter().map(|account| account.name.as_str());
            Some(named(wanted, &format!("program \"{name}\""), names)?)
        }
    };
    let operations = match &written.operations {
        None => Vec::new(),
        Some(list) if list.value.is_empty() => {
            return Err(list.fault("is empty, so the program could do nothing; name operations or remove this line"));
        }
        Some(list) => each(&list.value, pattern)?,
    };
    let limit = limit::of_program(written.limit.as_ref())?;
    Ok(Program { name, api_key, pair, account, operations, limit })
}

fn pair(
    key: &Given<Reference>,
    secret: &Given<Reference>,
    accounts: &[Account],
    around: &mut Surroundings<'_>,
) -> Result<KeyPair, Fault> {
    let pair = KeyPair { key: around.text_secret(key)?, secret: around.text_secret(secret)? };
    if let Some(account) = accounts.iter().find(|account| account.app_secret == pair.secret) {
        around.warnings.push(secret.fault(format!(
            "is the platform's own secret of account \"{}\", which programs need not know; issue another one",
            account.name
        )));
    }
    if pair.secret.len() < WISE_SECRET {
        around.warnings.push(secret.fault(format!(
            "has {} characters, which may be found out by trying; write {WISE_SECRET} or more",
            pair.secret.len()
        )));
    }
    Ok(pair)
}

fn pattern(given: &Given<String>) -> Result<OperationPattern, Fault> {
    let written = &given.value;
    let beginning = written.strip_suffix('*').unwrap_or(written);
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    if (1..=64).contains(&written.len()) && beginning.bytes().all(known) {
        return Ok(OperationPattern::new(written));
    }
    Err(given.fault(format!(
        "holds {}; write the name of an operation (a to z, 0 to 9, _ and .), or its beginning and one * at the end",
        quote(written)
    )))
}

/// A key names one program, so it must not name two. They are few; hashing them would leave copies of secrets.
pub(super) fn distinct_credentials(sections: &[Given<file::Program>], programs: &[Program]) -> Result<(), Fault> {
    /// The checked key, and where it is written.
    type Place = (&'static str, fn(&Program) -> Option<&Secret>, fn(&file::Program) -> Option<&Given<Reference>>);
    const PLACES: [Place; 2] = [
        ("api_key", |program| program.api_key.as_ref(), |written| written.api_key.as_ref()),
        ("key", |program| program.pair.as_ref().map(|pair| &pair.key), |written| written.key.as_ref()),
    ];
    for (name, of, given) in PLACES {
        for (index, program) in programs.iter().enumerate() {
            let Some(own) = of(program) else { continue };
            let same = |earlier: &&Program| of(earlier).is_some_and(|earlier| earlier == own);
            if let Some(earlier) = programs[..index].iter().find(same) {
                let section = &sections[index];
                return Err(Fault::at(
                    given(&section.value).map_or(section.at, |key| key.at),
                    format!(
                        "programs \"{}\" and \"{}\" have the same {name}; give each its own",
                        earlier.name, program.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses a program that logs in where nothing could sign its token.
pub(super) fn signed(
    sections: &[Given<file::Program>],
    programs: &[Program],
    tokens: &TokenRules,
) -> Result<(), Fault> {
    if tokens.key.is_some() {
        return Ok(());
    }
    let Some(first) = programs.iter().position(|program| program.pair.is_some()) else { return Ok(()) };
    let section = &sections[first];
    Err(Fault::at(
        section.value.key.as_ref().map_or(section.at, |key| key.at),
        format!(
            "program \"{}\" logs in, but there is no key to sign its tokens with; add token_key = {{ env = \"NAME\" }} to \
             [outbound] (make one with openssl rand -hex 32)",
            programs[first].name
        ),
    ))
}

/// The keys that sign tokens, from `[outbound]`.
pub(super) fn token_rules(written: &file::Outbound, around: &mut Surroundings<'_>) -> Result<TokenRules, Fault> {
    let key = written.token_key.as_ref().map(|given| signing_key(given, around)).transpose()?;
    let old_key = written.old_token_key.as_ref().map(|given| signing_key(given, around)).transpose()?;
    match (&key, &old_key, &written.old_token_key) {
        (None, Some(_), Some(given)) => {
            return Err(given.fault("stands without token_key; rename it, or add the new key as token_key"));
        }
        (Some(key), Some(old), Some(given)) if key == old => {
            around.warnings.push(given.fault("is token_key itself; remove it"));
        }
        _ => {}
    }
    Ok(TokenRules { key, old_key, life: positive(written.token_life.as_ref(), DAY)? })
}

fn signing_key(given: &Given<Reference>, around: &mut Surroundings<'_>) -> Result<Secret, Fault> {
    let key = around.secret(given)?;
    if key.len() >= LEAST_KEY {
        return Ok(key);
    }
    Err(given.fault(format!(
        "has {} bytes, but a key that signs has {LEAST_KEY} or more; make one, such as with openssl rand -hex 32",
        key.len()
    )))
}
