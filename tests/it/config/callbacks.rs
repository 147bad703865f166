//! Callbacks: what is refused, what is warned of, and that files are looked at before anything starts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use airudder_gateway::config::{Config, InboxKey, Mode, SourceEncryption};

use super::{ACCOUNT, dir, env, parse};

/// Two lines; those of a test start on line 8.
const LISTENS: &str = "[outbound]\n[inbound]\n";
/// A path that no sentence may show.
const PATH: &str = "path = \"/canary/4f0c8b1e9a2d7c3560b1f2a4c8e97d05\"\n";

fn text(lines: &str) -> String {
    format!("{ACCOUNT}encryption = {{ scheme = \"aes-ecb-zero\", key = {{ env = \"AES_KEY\" }} }}\n{LISTENS}{lines}")
}

/// A source and a receiver without a fault or a warning; what a test adds to the receiver stands on line 15.
pub(super) fn good(receiver: &str) -> String {
    text(&format!(
        "[[source]]\nname = \"calls\"\n{PATH}receivers = [\"books\"]\n\
         [[receiver]]\nname = \"books\"\nurl = \"http://books:9000/hooks\"\n{receiver}"
    ))
}

/// The same with lines for the source, the first of them on line 12.
fn good_source(source: &str) -> String {
    good("").replace("receivers = [\"books\"]\n", &format!("receivers = [\"books\"]\n{source}\n"))
}

#[track_caller]
fn refused(text: &str, sentence: &str) {
    super::check(text, sentence);
}

#[track_caller]
fn warned(text: &str, sentence: &str) {
    let config = parse(text).expect(text);
    assert_eq!(config.warnings, [sentence], "{text}");
    assert!(!sentence.contains("canary"));
}

#[test]
fn what_is_written_is_what_is_used() {
    let text = text(&format!(
        r#"
        max_body = "1MiB"
        memory = "2MiB"
        trusted_proxies = ["10.0.0.0/8", "::1"]
        max_connections = 9
        [admin]
        token = {{ env = "TOKEN" }}
        [[source]]
        name = "calls"
        {PATH}
        encryption = "required"
        receivers = ["books", "audit"]
        allow = ["203.0.113.0/24"]
        quarantine = 0
        [[source]]
        name = "verify"
        path = "/9f86d081884c7d659a2feaa0c55ad015"
        mode = "relay"
        relay_timeout = "3s"
        receivers = ["asked"]
        [[receiver]]
        name = "books"
        url = "https://Books.internal/hooks?x=1"
        secret = {{ env = "HOOK" }}
        old_secret = {{ env = "AT_REST" }}
        headers = {{ Authorization = {{ env = "TOKEN" }} }}
        retry = ["1s", "500ms"]
        bury = [400, 301]
        when = {{ pointer = "/details/0/a~1b", equals = 1.5 }}
        [[receiver]]
        name = "audit"
        url = "http://audit"
        when = {{ pointer = "", equals = false }}
        [[receiver]]
        name = "asked"
        url = "http://127.0.0.1:9000"
        [inbox]
        path = "/var/lib/gateway/inbox.db"
        retain = "2d"
        max_bytes = "1024GiB"
        key = {{ env = "AT_REST" }}
        old_keys = [{{ env = "AES_KEY_32" }}]
        "#
    ));
    let config = parse(&text).expect("a configuration");
    assert_eq!(config.warnings, [""; 0]);
    let inbound = config.inbound.as_ref().expect("a listener");
    assert_eq!((inbound.max_connections, inbound.max_connections_per_address), (9, 9));
    assert_eq!(inbound.trusted_proxies.len(), 2);
    assert_eq!(config.admin.token.as_ref().expect("a token").expose(), b"canary-token-0123456789");
    let [calls, verify] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!((calls.encryption, calls.mode, calls.quarantine), (SourceEncryption::Required, Mode::Store, 0));
    assert_eq!((&calls.receivers[..], &verify.receivers[..]), (&[0, 1][..], &[2][..]));
    assert_eq!((verify.mode, verify.quarantine), (Mode::Relay { timeout: Duration::from_secs(3) }, 0));
    let [books, audit, _] = config.receivers.as_slice() else { panic!("three receivers") };
    assert_eq!((books.upstream.authority.as_str(), books.target.as_str()), ("books.internal", "/hooks?x=1"));
    assert_eq!(books.secrets[0].expose(), b"canarycanarycanarycanary", "decoded");
    assert_eq!(books.secrets[1].expose(), b"canary0123456789canary0123456789canary", "as it is");
    assert_eq!((books.headers[0].0.as_str(), &books.bury[..]), ("authorization", &[400, 301][..]));
    assert_eq!(books.retry, [Duration::from_secs(1), Duration::from_millis(500)]);
    let minutes: Vec<_> = audit.retry.iter().map(|wait| wait.as_secs_f64() / 60.0).collect();
    assert_eq!(minutes[2..], [2.0, 10.0, 30.0, 60.0, 180.0, 360.0, 720.0, 1440.0]);
    let when = |index: usize| {
        let when = config.receivers[index].when.as_ref()?;
        Some((when.pointer.as_str(), when.equals.clone()))
    };
    assert_eq!((when(0), when(1)), (Some(("/details/0/a~1b", 1.5.into())), Some(("", false.into()))));
    assert_eq!(audit.target, "/");
    let inbox = config.inbox.as_ref().expect("an inbox");
    assert_eq!((inbox.retain, inbox.max_bytes), (Duration::from_secs(2 * 86_400), 1 << 40));
    assert!(matches!(&inbox.key, InboxKey::Given(key) if key.len() == 38) && inbox.old_keys.len() == 1);
    let printed = format!("{config:?}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn the_least_there_is_has_defaults() {
    let config = parse(&good("")).expect("a configuration");
    assert_eq!(config.warnings, [""; 0]);
    let inbox = config.inbox.expect("a source stores");
    assert_eq!(inbox.path, Path::new("/nonexistent/data/inbox.db"));
    assert!(matches!(inbox.key, InboxKey::File(file) if file == Path::new("/nonexistent/data/inbox.db.key")));
    let relaying = parse(&good_source("mode = \"relay\"")).expect("a configuration");
    assert_eq!((relaying.inbox.is_none(), relaying.warnings.len()), (true, 0));
}

#[test]
fn sections_that_need_each_other_come_together() {
    let receiver = "[[receiver]]\nname = \"books\"\nurl = \"http://books\"\n";
    refused(&text(""), "line 7: [inbound] has nothing to take; add a [[source]], or remove it");
    refused(
        &text(&format!("[[source]]\nname = \"calls\"\n{PATH}")).replace("[inbound]\n", ""),
        "line 7: a [[source]] needs a listener; add [inbound] with listen = \"127.0.0.1:8081\"",
    );
    refused(&text("[[source]]"), "line 8: this [[source]] has no name; add name = \"…\"");
    refused(
        &text("[[source]]\nname = \"calls\""),
        "line 8: source \"calls\" has no path; add path = \"/callbacks/…\" with 16 random characters or more",
    );
    refused(
        &good("[[receiver]]\nname = \"b\""),
        "line 15: receiver \"b\" has no url; add url = \"http://HOST:PORT/PATH\"",
    );
    warned(
        &text(&format!("[[source]]\nname = \"calls\"\n{PATH}")),
        "line 8: source \"calls\" has no receivers, so its callbacks are stored and delivered to nobody; name one",
    );
    let unused = "receiver \"books\" is named by no source, so it gets nothing; name it, or remove it";
    warned(&text(receiver).replace("[inbound]\n", ""), &format!("line 7: {unused}"));
    for alone in [format!("{}[inbox]\n", good_source("mode = \"relay\"")), text("[inbox]").replace("[inbound]\n", "")] {
        let config = parse(&alone).expect("a configuration");
        assert_eq!((config.inbox.is_some(), config.warnings), (true, Vec::new()), "an inbox of its own");
    }
    let why = "and the platform gets one answer, so it needs exactly one receiver, not";
    for (receivers, count) in [("[]", 0), ("[\"books\", \"more\"]", 2)] {
        let text = good_source("mode = \"relay\"").replace("[\"books\"]", receivers)
            + "[[receiver]]\nname = \"more\"\nurl = \"http://more\"\n";
        refused(&text, &format!("line 11: source \"calls\" relays, {why} {count}; write receivers = [\"…\"]"));
    }
}

#[test]
fn names_and_paths_agree_and_are_used_once() {
    let second = |name: &str, path: &str| format!("{}[[source]]\nname = \"{name}\"\n{path}", good(""));
    refused(&second("calls", "path = \"/b\""), "line 15: two sources are named \"calls\"; give each its own name");
    refused(&second("b", PATH), "line 17: sources \"calls\" and \"b\" have the same path; give each its own");
    refused(
        &good("[[receiver]]\nname = \"books\"\nurl = \"http://b\""),
        "line 15: two receivers are named \"books\"; give each its own name",
    );
    refused(
        &good_source("account = \"mian\""),
        "line 12: account \"mian\" of source \"calls\" is not configured; write \"main\"",
    );
    refused(
        &good("").replace("[\"books\"]", "[\"boks\"]"),
        "line 11: receivers \"boks\" of source \"calls\" is not configured; write \"books\"",
    );
    refused(
        &good("").replace("[\"books\"]", "[\n\"books\",\n\"books\"]"),
        "line 13: receivers holds \"books\" twice; remove one",
    );
}

#[test]
fn a_source_says_what_it_takes() {
    let path = |path: &str| good("").replace(PATH.trim_end(), &format!("path = {path}"));
    let form = "must begin with / and have no query, no # and no spaces";
    for bad in ["\"canary\"", "\"/canary?a\"", "\"/canary canary\"", "\"\""] {
        refused(&path(bad), &format!("line 10: path {form}"));
    }
    warned(
        &path("\"/callbacks/calls\""),
        "line 10: path may be guessed, and whoever knows it can pose as the platform; let a part of it be 16 random \
         letters and digits or more, such as those of openssl rand -hex 16",
    );
    refused(
        &good_source("encryption = \"on\""),
        "line 12: encryption must be \"auto\", \"required\" or \"off\"; the key belongs to the account",
    );
    let unsealed = good_source("encryption = \"required\"")
        .replace("encryption = { scheme = \"aes-ecb-zero\", key = { env = \"AES_KEY\" } }", "encryption = \"off\"");
    refused(
        &unsealed,
        "line 12: encryption is \"required\", but account \"main\" has no encryption; give it one, or write \"auto\"",
    );
    refused(&good_source("mode = \"pass\""), "line 12: mode must be \"store\" or \"relay\"");
    warned(
        &good_source("relay_timeout = \"1s\""),
        "line 12: relay_timeout has no effect without mode = \"relay\"; remove it",
    );
    refused(
        &good_source("quarantine = 1\nmode = \"relay\""),
        "line 12: quarantine keeps bodies in the inbox, which a relaying source does not use; remove it",
    );
    refused(&good_source("quarantine = 100001"), "line 12: quarantine is 100001; write a number from 0 to 100000");
    refused(
        &good_source("allow = []"),
        "line 12: allow is empty; name the networks that may call, or remove it to let all",
    );
    refused(&good_source("allow = \"10.0.0.0/8\""), "line 12: allow must be a list of text in quotes, in brackets");
    refused(&good_source("allow = [10]"), "line 12: allow must be a list of text in quotes, but holds a number");
    refused(
        &good_source("allow = [\"localhost\"]"),
        "line 12: allow holds \"localhost\", which is no network; write one such as \"203.0.113.0/24\", or one address",
    );
    refused(
        &good_source("allow = [\n\"10.0.0.7/8\"]"),
        "line 13: allow holds \"10.0.0.7/8\", which has bits beyond its prefix; write \"10.0.0.0/8\" or correct the prefix",
    );
    warned(
        &format!("{}when = {{ pointer = \"/a\", equals = 1 }}\n", good_source("mode = \"relay\"")),
        "line 11: when of receiver \"books\" has no effect for source \"calls\", because a relayed callback has nobody \
         else to go to; give it a receiver of its own",
    );
}

#[test]
fn a_public_listener_is_seen_from_outside() {
    let listens = |lines: &str| good("").replace("[inbound]\n", &format!("[inbound]\n{lines}\n"));
    for public in ["0.0.0.0:8081", "[::]:8081", "203.0.113.9:443"] {
        warned(
            &listens(&format!("listen = \"{public}\"")),
            &format!(
                "line 8: listen {public} takes callbacks in plain HTTP, readable on the way; add tls, or listen inside \
                 your network behind something that ends TLS"
            ),
        );
    }
    for inside in ["127.0.0.1:8081", "10.0.0.1:8081", "[fd00::1]:8081"] {
        let config = parse(&listens(&format!("listen = \"{inside}\""))).expect(inside);
        assert_eq!(config.warnings, [""; 0]);
    }
    warned(
        &listens("trusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\"]"),
        "line 8: trusted_proxies believes the X-Forwarded-For of everybody, so anybody passes allow; name your proxies only",
    );
    for (other, section) in [("127.0.0.1:8080", "outbound"), ("127.0.0.1:9464", "admin")] {
        refused(
            &listens(&format!("listen = \"{other}\"")),
            &format!("line 8: listen {other} collides with [{section}] on {other}; give one of them another port"),
        );
    }
    refused(
        &good("").replace("[outbound]\n", "[outbound]\nlisten = \"[::]:8081\"\n"),
        "line 7: listen [::]:8081 collides with [inbound] on 127.0.0.1:8081; give one of them another port",
    );
    refused(
        &listens("memory = \"15MiB\""),
        "line 8: memory (15MiB) has to be at least 2 times max_body (8MiB); lower the one or raise the other",
    );
    refused(
        &listens("max_connections = 10\nmax_connections_per_address = 11"),
        "line 9: max_connections_per_address is 11; write a number from 1 to 10",
    );
}

#[test]
fn pages_of_the_inbox_are_kept_from_strangers() {
    let admin = |lines: &str| parse(&format!("{}[admin]\n{lines}", good(""))).expect(lines).warnings;
    let shows = "line 16: listen 0.0.0.0:9464 shows metrics to other machines; keep it inside your network or listen on \
                 127.0.0.1";
    let open = "listen = \"0.0.0.0:9464\"\n";
    assert_eq!(
        admin(open),
        [
            shows,
            "line 16: listen 0.0.0.0:9464 has no pages of the inbox, because others can reach it and there is no token; \
             add token = { env = \"NAME\" } to [admin]"
        ]
    );
    assert_eq!(admin(&format!("{open}token = {{ env = \"TOKEN\" }}")), [shows]);
    assert_eq!(
        admin("token = { env = \"KEY_A\" }"),
        ["line 16: token has 8 characters, which may be found out by trying; write 16 or more"]
    );
}

#[test]
fn a_receiver_is_a_url_with_what_proves_us() {
    let url = |url: &str| good("").replace("http://books:9000/hooks", url);
    for (bad, rest) in [
        ("books:9000", "must begin with https:// or http://"),
        ("ftp://books", "must begin with https:// or http://"),
        (
            "http://user:canary@books/",
            "must not hold a user or a password; use headers = { Authorization = { env = \"NAME\" } }",
        ),
        ("http://books/#canary", "must not have a #, because what follows it is never sent"),
        ("http://books/ca nary", "must have a path and a query of visible ASCII; write the rest as %XX"),
        ("http://books:99999/", "has no valid port; write a number from 1 to 65535"),
    ] {
        refused(&url(bad), &format!("line 14: url {rest}"));
    }
    refused(
        &good("secret = { env = \"BROKEN_HOOK\" }"),
        "line 15: secret begins with whsec_, but what follows is not base64; copy it anew",
    );
    warned(
        &good("secret = { env = \"SHORT_HOOK\" }"),
        "line 15: secret has 12 bytes, which may be found out by trying; make one of 24 to 64 random bytes",
    );
    refused(
        &good("old_secret = { env = \"HOOK\" }"),
        "line 15: old_secret stands without secret; it is the former one while receivers change, so add secret",
    );
    warned(
        &good("secret = { env = \"HOOK\" }\nold_secret = { env = \"HOOK\" }"),
        "line 16: old_secret is the same as secret, so deliveries are signed twice alike; remove it",
    );
    for ours in ["Content-Length", "webhook-id", "X-Gateway-Attempt", "Host"] {
        refused(
            &good(&format!("headers = {{ {ours} = {{ env = \"KEY_A\" }} }}")),
            &format!("line 15: header {} is written by the gateway itself; remove it", ours.to_ascii_lowercase()),
        );
    }
    refused(&good("headers = {}"), "line 15: headers is empty; name a header, or remove it");
    refused(&good("concurrency = 0"), "line 15: concurrency is 0; write a number from 1 to 1024");
    refused(&good("bury = 400"), "line 15: bury must be a list of whole numbers, in brackets");
    refused(&good("bury = [\"400\"]"), "line 15: bury must be a list of whole numbers, but holds text");
    refused(&good("bury = [400, 200]"), "line 15: bury holds 200; a status that buries is from 300 to 599");
    refused(&good("bury = [503]"), "line 15: bury holds 503, which asks to come again later; remove it");
    refused(&good("retry = \"5s\""), "line 15: retry must be a list of text in quotes, in brackets");
    refused(
        &good("retry = [\"5s\", \"soon\"]"),
        "line 15: retry is \"soon\"; write a whole number and its unit, such as \"10s\"",
    );
    refused(&good("retry = [\"5s\", \"0s\"]"), "line 15: retry is zero; write a longer time, such as \"5s\"");
    let some = "write one to 64, such as [\"5s\", \"1m\", \"1h\"]; the last one repeats";
    refused(&good("retry = []"), &format!("line 15: retry holds 0 waits; {some}"));
    let many = vec!["\"1s\""; 65].join(", ");
    refused(&good(&format!("retry = [{many}]")), &format!("line 15: retry holds 65 waits; {some}"));
    let example = "write { pointer = \"/status\", equals = \"finished\" }";
    refused(&good("when = { equals = 1 }"), &format!("line 15: when has no pointer; {example}"));
    refused(&good("when = { pointer = \"/a\" }"), &format!("line 15: when has no equals; {example}"));
    for pointer in ["status", "/a~", "/a~2"] {
        refused(
            &good(&format!("when = {{ pointer = \"{pointer}\", equals = 1 }}")),
            "line 15: pointer is no JSON pointer; begin with / and write ~ as ~0 and / as ~1, such as \
             \"/details/0/result\"",
        );
    }
    for value in ["[1]", "{ a = 1 }", "nan", "1979-05-27"] {
        refused(
            &good(&format!("when = {{ pointer = \"\", equals = {value} }}")),
            "line 15: equals must be text in quotes, a number, true or false",
        );
    }
}

#[test]
fn the_inbox_has_one_key_that_is_long_enough() {
    let inbox = |lines: &str| format!("{}[inbox]\n{lines}", good(""));
    refused(
        &inbox("key = { env = \"AES_KEY\" }"),
        "line 16: key has 16 bytes, but a key at rest has 32 or more; make one, such as with openssl rand -hex 32",
    );
    refused(
        &inbox("old_keys = [{ env = \"AT_REST\" }, { env = \"AES_KEY\" }]"),
        "line 16: old_keys has 16 bytes, but a key at rest has 32 or more; make one, such as with openssl rand -hex 32",
    );
    refused(
        &inbox("old_keys = { env = \"AT_REST\" }"),
        "line 16: old_keys must be a list of references, such as [{ env = \"NAME\" }]",
    );
    refused(
        &inbox("key = { env = \"AT_REST\" }\nkey_file = \"a\""),
        "line 17: key_file stands beside key, and there is one key; remove one of them",
    );
    refused(&inbox("path = \"a\"\nkey_file = \"a\""), "line 17: key_file is the database itself; name another file");
    for folder in ["", "data/", "/"] {
        refused(
            &inbox(&format!("path = \"{folder}\"")),
            "line 16: path must be a file, not a directory; name a file in it",
        );
    }
    refused(&inbox("max_bytes = \"1MiB\""), "line 16: max_bytes is 1MiB; the least is 16MiB");
    refused(&inbox("retain = \"0d\""), "line 16: retain is zero; write a longer time, such as \"336h\"");
    warned(
        &inbox("retain = \"23h\""),
        "line 16: retain is under 24h; a receiver that is down for longer finds its callbacks among the dead letters, so \
         write more",
    );
    warned(
        &inbox("keep_answers = \"23h\""),
        "line 16: keep_answers is under 24h; a program that repeats a key later than this makes a second call, so write more \
         than the longest time after which one repeats",
    );
    // What is wrong is told even where no source stores.
    refused(
        &inbox("max_bytes = \"1MiB\"").replace(PATH, &format!("{PATH}mode = \"relay\"\n")),
        "line 17: max_bytes is 1MiB; the least is 16MiB",
    );
}

#[test]
fn checking_makes_no_file() {
    let dir = dir("untouched");
    assert!(Config::parse(&good(""), &dir, env).expect("a configuration").inbox.is_some());
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 0);
}
