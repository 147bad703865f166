//! Who calls: the configured programs with their keys, key pairs and tokens, or one anonymous program.
//!
//! Keys and pairs are looked up by digests under a key of this start, so that the time of an answer says nothing of any of
//! them. It knows no HTTP, and never logs what a caller showed.

mod brake;
mod pair;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use ring::hmac;
use ring::rand::SystemRandom;
use subtle::ConstantTimeEq;

use brake::Brake;
pub use pair::Pair;
pub use token::LENGTH as TOKEN_LENGTH;
use token::{Fault, Holder, Shown, Signer, Tag};

use crate::clock::Instant;
use crate::config::{self, OperationPattern, TokenRules};

/// One caller, as a call sees it.
pub struct Program {
    /// Name in logs and metrics; `-` for the anonymous one.
    pub name: String,
    /// Its place in the configuration; 0 for the anonymous one.
    pub index: usize,
    /// Index of the account it is bound to.
    pub account: Option<usize>,
    /// Empty: it may do everything.
    operations: Vec<OperationPattern>,
    login: Option<Login>,
}

/// What a program with a key pair logs in with.
struct Login {
    secret: Digest,
    holder: Holder,
}

impl Program {
    fn new(index: usize, program: &config::Program) -> Self {
        Self {
            name: program.name.clone(),
            index,
            account: program.account,
            operations: program.operations.clone(),
            login: None,
        }
    }

    /// Whether it may use the operation of this name.
    pub fn may(&self, operation: &str) -> bool {
        self.operations.is_empty() || self.operations.iter().any(|allowed| allowed.fits(operation))
    }
}

/// How a caller says who it is.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// The key of a program that never logs in.
    Key(&'a [u8]),
    /// What a login gave, without the word in front of it.
    Token(&'a [u8]),
}

/// Why nobody is known by a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// No program has this key.
    Key,
    /// No program was given this token, or its pair or the signing key has changed since.
    Token,
    /// A program was given this token, and its time is over.
    Expired,
}

/// A login that was judged. What came of it is told after the wait.
pub struct Attempt<'a> {
    /// The program whose key was shown, whatever the secret.
    pub named: Option<&'a Program>,
    /// How long the answer has to wait, because others failed before.
    pub wait: Duration,
    /// The proof that both halves are right.
    pub proved: Option<Proved<'a>>,
}

/// A program that showed its pair. Only it is given a token.
pub struct Proved<'a>(&'a Program);

/// All programs of the configuration.
pub struct Programs {
    /// Without programs: the one that everybody is.
    anonymous: Option<Program>,
    programs: Vec<Program>,
    by_key: HashMap<Digest, usize>,
    by_pair: HashMap<Digest, usize>,
    by_tag: HashMap<Tag, usize>,
    /// Kept from one configuration to the next, like the brakes.
    digests: Digests,
    signer: Option<Signer>,
    /// How long a token lives.
    life: Duration,
    brakes: Arc<Mutex<Brakes>>,
}

/// Failures of late. Bounded by the programs with a pair.
struct Brakes {
    /// Everybody's.
    all: Brake,
    /// Each program's own, by its name.
    own: HashMap<String, Brake>,
}

impl Brakes {
    fn own(&mut self, program: &str, now: Instant) -> &mut Brake {
        self.own.entry(program.to_owned()).or_insert_with(|| Brake::new(now))
    }
}

impl Programs {
    /// The configured ones; none configured means one anonymous program.
    ///
    /// # Errors
    /// A sentence: the system gives no random numbers.
    pub fn try_new(programs: &[config::Program], tokens: &TokenRules, now: Instant) -> Result<Self, String> {
        let brakes = Brakes { all: Brake::new(now), own: HashMap::new() };
        Ok(Self::of(programs, tokens, Digests::try_new()?, Arc::new(Mutex::new(brakes))))
    }

    /// Those of another configuration. Tokens of a pair that is still there hold on, and whoever failed before is slowed
    /// down on.
    pub fn succeeded_by(&self, programs: &[config::Program], tokens: &TokenRules) -> Self {
        let next = Self::of(programs, tokens, self.digests.clone(), self.brakes.clone());
        let has_pair = |name: &String| programs.iter().any(|program| program.pair.is_some() && program.name == *name);
        next.brakes().own.retain(|name, _| has_pair(name));
        next
    }

    fn of(programs: &[config::Program], tokens: &TokenRules, digests: Digests, brakes: Arc<Mutex<Brakes>>) -> Self {
        let anonymous = Program { name: "-".to_owned(), index: 0, account: None, operations: Vec::new(), login: None };
        let mut all = Self {
            anonymous: programs.is_empty().then_some(anonymous),
            programs: Vec::with_capacity(programs.len()),
            by_key: HashMap::new(),
            by_pair: HashMap::new(),
            by_tag: HashMap::new(),
            digests,
            signer: tokens.key.as_ref().map(|key| Signer::new(key, tokens.old_key.as_ref())),
            life: tokens.life,
            brakes,
        };
        for (index, written) in programs.iter().enumerate() {
            let mut program = Program::new(index, written);
            if let Some(key) = &written.api_key {
                all.by_key.insert(all.digests.of(Kind::ApiKey, key.expose()), index);
            }
            if let Some(pair) = &written.pair {
                let holder = Holder::new(&written.name, &pair.key, &pair.secret);
                all.by_tag.insert(holder.tag, index);
                all.by_pair.insert(all.digests.of(Kind::PairKey, pair.key.expose()), index);
                let secret = all.digests.of(Kind::PairSecret, pair.secret.expose());
                program.login = Some(Login { secret, holder });
            }
            all.programs.push(program);
        }
        all
    }

    fn brakes(&self) -> MutexGuard<'_, Brakes> {
        self.brakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The program that everybody is while none is configured.
    pub fn anonymous(&self) -> Option<&Program> {
        self.anonymous.as_ref()
    }

    /// The program that this is. `now` is the wall clock in seconds since 1970, asked for tokens only.
    ///
    /// # Errors
    /// Why it is none.
    pub fn identify(&self, shown: Credential<'_>, now: impl FnOnce() -> u64) -> Result<&Program, Unknown> {
        match shown {
            Credential::Key(key) => {
                let index = self.by_key.get(&self.digests.of(Kind::ApiKey, key)).ok_or(Unknown::Key)?;
                Ok(&self.programs[*index])
            }
            Credential::Token(text) => {
                let shown = Shown::parse(text).ok_or(Unknown::Token)?;
                let program = self.by_tag.get(&shown.tag()).map(|index| &self.programs[*index]);
                let (Some(program), Some(signer)) = (program, &self.signer) else { return Err(Unknown::Token) };
                let Some(login) = &program.login else { return Err(Unknown::Token) };
                match signer.check(&shown, &login.holder, now()) {
                    Ok(()) => Ok(program),
                    Err(Fault::Invalid) => Err(Unknown::Token),
                    Err(Fault::Expired) => Err(Unknown::Expired),
                }
            }
        }
    }

    /// Judges a login; `None` is one whose pair could not be read. An unknown key costs the same work as a known one, and
    /// a failure counts before it is answered, so that many at once do not slip through.
    pub fn log_in(&self, pair: Option<&Pair>, now: Instant) -> Attempt<'_> {
        let (key, secret) = pair.map_or((&[][..], &[][..]), |pair| (pair.key.expose(), pair.secret.expose()));
        let (key, secret) = (self.digests.of(Kind::PairKey, key), self.digests.of(Kind::PairSecret, secret));
        let named = self.by_pair.get(&key).map(|index| &self.programs[*index]);
        let login = named.and_then(|program| program.login.as_ref());
        // Without a program it is compared with itself, and that does not count.
        let same = bool::from(login.map_or(&secret, |login| &login.secret).ct_eq(&secret));
        let proved = named.filter(|_| same && pair.is_some()).map(Proved);

        let mut brakes = self.brakes();
        let wait = match (&proved, named) {
            // A program that is right waits for its own failures only.
            (Some(_), Some(program)) => brakes.own(&program.name, now).wait(now),
            // Whoever is wrong waits for everybody's, whether the key is known or not: the wait is no hint.
            (_, named) => {
                if let Some(program) = named {
                    brakes.own(&program.name, now).fail(now);
                }
                brakes.all.fail(now);
                brakes.all.wait(now)
            }
        };
        Attempt { named, wait, proved }
    }

    /// A token for a program that showed its pair. `now` is the wall clock in seconds since 1970. `None` cannot be: a
    /// checked configuration with pairs has a signing key.
    pub fn issue(&self, proved: &Proved<'_>, now: u64) -> Option<String> {
        let Proved(Program { login, .. }) = proved;
        Some(self.signer.as_ref()?.issue(&login.as_ref()?.holder, now.saturating_add(self.life.as_secs())))
    }
}

impl<'a> Proved<'a> {
    /// Who it is.
    pub fn program(&self) -> &'a Program {
        self.0
    }
}

/// What a digest is of, so that one text in two places has two digests.
#[derive(Clone, Copy)]
enum Kind {
    ApiKey = 1,
    PairKey = 2,
    PairSecret = 3,
}

/// Makes digests under a key of this start: whoever does not know it learns nothing from how long comparing them takes.
#[derive(Clone)]
struct Digests(hmac::Key);

/// 32 bytes.
type Digest = [u8; 32];

impl Digests {
    fn try_new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| "the system gives no random numbers; check /dev/urandom and getrandom(2)".to_owned())
    }

    fn of(&self, kind: Kind, bytes: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind as u8]);
        context.update(bytes);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::secret::Secret;

    fn pair(key: &str, secret: &str) -> config::KeyPair {
        config::KeyPair { key: Secret::new(key), secret: Secret::new(secret) }
    }

    fn program(name: &str, api_key: Option<&str>, pair: Option<config::KeyPair>) -> config::Program {
        let api_key = api_key.map(Secret::new);
        config::Program {
            name: name.into(),
            api_key,
            pair,
            account: None,
            operations: Vec::new(),
            limit: config::ProgramLimit::default(),
        }
    }

    fn programs(programs: &[config::Program]) -> Programs {
        let tokens = TokenRules {
            key: Some(Secret::new("the key that signs tokens")),
            old_key: None,
            life: Duration::from_secs(100),
        };
        Programs::try_new(programs, &tokens, clock::now()).expect("random numbers")
    }

    fn three() -> Programs {
        programs(&[
            program("a", Some("key-a"), None),
            program("b", None, Some(pair("pair-b", "secret-b"))),
            program("c", Some("key-c"), Some(pair("pair-c", "secret-c"))),
        ])
    }

    fn log_in<'a>(programs: &'a Programs, key: &str, secret: &str, now: Instant) -> Attempt<'a> {
        programs.log_in(Some(&Pair::new(Secret::new(key), Secret::new(secret))), now)
    }

    #[test]
    fn a_program_is_known_by_its_key_alone() {
        let programs = three();
        let find =
            |key: &str| programs.identify(Credential::Key(key.as_bytes()), || 0).map(|found| found.name.as_str());
        assert_eq!(find("key-a"), Ok("a"));
        assert_eq!(find("key-c"), Ok("c"));
        for unknown in ["", "key-b", "key-", "key-aa", "KEY-A", "pair-b", "secret-b"] {
            assert_eq!(find(unknown), Err(Unknown::Key), "{unknown}");
        }
    }

    #[test]
    fn without_programs_everybody_is_one() {
        assert_eq!(programs(&[]).anonymous().map(|found| found.name.as_str()), Some("-"));
        assert!(three().anonymous().is_none());
    }

    #[test]
    fn a_pair_that_is_right_gets_a_token_that_names_its_program() {
        let programs = three();
        for (name, key, secret) in [("b", "pair-b", "secret-b"), ("c", "pair-c", "secret-c")] {
            let attempt = log_in(&programs, key, secret, clock::now());
            let proved = attempt.proved.expect("both are right");
            assert_eq!((proved.program().name.as_str(), attempt.wait), (name, Duration::ZERO));
            let token = programs.issue(&proved, 1000).expect("a key signs");
            let find = |now| programs.identify(Credential::Token(token.as_bytes()), || now).map(|found| &*found.name);
            assert_eq!((find(1000), find(1099), find(1100)), (Ok(name), Ok(name), Err(Unknown::Expired)));
            let other = self::programs(&[program(name, None, Some(pair(key, "another")))]);
            assert!(matches!(other.identify(Credential::Token(token.as_bytes()), || 0), Err(Unknown::Token)));
        }
        for (key, secret) in [
            ("pair-b", "secret-c"),
            ("pair-b", ""),
            ("pair-b", "secret-bb"),
            ("", "secret-b"),
            ("secret-b", "pair-b"),
            ("key-a", "key-a"),
            ("", ""),
        ] {
            let attempt = log_in(&programs, key, secret, clock::now());
            assert!(attempt.proved.is_none(), "{key} {secret}");
            assert_eq!(attempt.named.map(|named| &*named.name), (key == "pair-b").then_some("b"));
        }
        assert!(programs.log_in(None, clock::now()).proved.is_none());
    }

    #[test]
    fn failures_slow_their_own_program_and_whoever_is_wrong_and_nobody_else() {
        let (programs, now) = (three(), clock::now());
        for _ in 0..5 {
            assert_eq!(log_in(&programs, "pair-b", "wrong", now).wait, Duration::ZERO);
        }
        assert!(!log_in(&programs, "pair-b", "wrong", now).wait.is_zero());
        assert!(!log_in(&programs, "pair-b", "secret-b", now).wait.is_zero(), "its own program waits, and is let in");
        assert!(log_in(&programs, "pair-b", "secret-b", now).proved.is_some());
        assert_eq!(log_in(&programs, "pair-c", "secret-c", now).wait, Duration::ZERO);
        let waits = ["pair-b", "pair-c", "unknown", "unknown too"].map(|key| log_in(&programs, key, "wrong", now).wait);
        assert!(waits.is_sorted() && !waits[0].is_zero(), "the wait grows whoever is wrong: {waits:?}");
        assert_eq!(log_in(&programs, "pair-c", "secret-c", now).wait, Duration::ZERO);
    }

    #[test]
    fn a_wrong_login_waits_as_long_whether_its_key_is_known_or_not() {
        let now = clock::now();
        let waits = |key: &str| {
            let programs = three();
            (0..20).map(|_| log_in(&programs, key, "wrong", now).wait).collect::<Vec<_>>()
        };
        assert_eq!(waits("pair-b"), waits("unknown"));
    }

    #[test]
    fn another_configuration_ends_the_tokens_of_pairs_that_changed_and_forgets_no_failure() {
        let (former, now) = (three(), clock::now());
        let tokens = TokenRules {
            key: Some(Secret::new("the key that signs tokens")),
            old_key: None,
            life: Duration::from_secs(100),
        };
        let token = |key: &str, secret: &str| {
            let proved = log_in(&former, key, secret, now).proved.expect("both are right");
            former.issue(&proved, 1000).expect("a key signs")
        };
        let (b, c) = (token("pair-b", "secret-b"), token("pair-c", "secret-c"));
        (0..6).for_each(|_| assert!(log_in(&former, "pair-b", "wrong", now).proved.is_none()));
        let written = [
            program("new", Some("key-new"), None),
            program("c", Some("key-c"), Some(pair("pair-c", "another"))),
            program("b", None, Some(pair("pair-b", "secret-b"))),
        ];
        let next = former.succeeded_by(&written, &tokens);
        let find = |shown| next.identify(shown, || 1000).map(|found| (&*found.name, found.index));
        assert_eq!(find(Credential::Token(b.as_bytes())), Ok(("b", 2)), "its pair is the same");
        assert_eq!(find(Credential::Token(c.as_bytes())), Err(Unknown::Token), "its secret changed");
        assert_eq!(find(Credential::Key(b"key-new")), Ok(("new", 0)));
        assert_eq!(find(Credential::Key(b"key-a")), Err(Unknown::Key));
        assert!(!log_in(&next, "pair-b", "secret-b", now).wait.is_zero(), "its failures count on");
        assert_eq!(log_in(&next, "pair-c", "another", now).wait, Duration::ZERO);
        let none = next.succeeded_by(&[], &tokens);
        assert!(none.anonymous().is_some() && none.brakes().own.is_empty());
        assert!(matches!(none.identify(Credential::Token(b.as_bytes()), || 1000), Err(Unknown::Token)));
    }

    #[test]
    fn a_program_may_do_what_is_named() {
        let mut limited = program("a", Some("key"), None);
        limited.operations = ["task.*", "call.recording"].map(OperationPattern::new).into();
        let limited = Program::new(0, &limited);
        for (operation, allowed) in
            [("task.create", true), ("call.recording", true), ("call.cancel", false), ("other", false), ("task", false)]
        {
            assert_eq!(limited.may(operation), allowed, "{operation}");
        }
        assert!(Program::new(0, &program("b", None, None)).may("other"));
    }
}
