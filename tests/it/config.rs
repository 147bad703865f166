//! What is refused, and with which sentence.

mod accepted;
mod callbacks;
mod identities;
mod operations;
mod programs;
mod sample;
mod secrets;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use airudder_gateway::config::{Config, ConfigError};

/// Four lines; what a test adds to the account stands on line 5.
const ACCOUNT: &str = "\
[[account]]
name = \"main\"
app_key = { env = \"APP_KEY\" }
app_secret = { env = \"APP_SECRET\" }
";

/// The environment of these tests. Every secret has the word that no output may contain.
fn env(name: &str) -> Option<OsString> {
    let value = match name {
        "APP_KEY" => "canary-app-key",
        "APP_SECRET" => "canary-app-secret",
        "AES_KEY" => "canary0123456789",
        "AES_KEY_24" => "canary0123456789canary01",
        "AES_KEY_32" => "canary0123456789canary0123456789",
        "SHORT_KEY" => "canary012345678",
        "KEY_A" => "canary-a",
        "KEY_B" => "canary-b",
        "EMPTY_KEY" => "",
        "TWO_LINES" => "canary\ncanary",
        "OUTER_SPACE" => "canary ",
        "ACCENT" => "canaryé",
        "TOKEN" | "GATEWAY_ADMIN_TOKEN" | "BOOKS_AUTHORIZATION" => "canary-token-0123456789",
        "HOOK" | "BOOKS_HOOK_SECRET" | "BOOKS_OLD_HOOK_SECRET" => "whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5",
        "SHORT_HOOK" => "whsec_Y2FuYXJ5Y2FuYXJ5",
        "BROKEN_HOOK" => "whsec_canary!",
        "AT_REST" | "INBOX_KEY" | "OLD_INBOX_KEY" => "canary0123456789canary0123456789canary",
        "GATEWAY_TOKEN_KEY" => "canary-token-key-0123456789-0123456789",
        "GATEWAY_OLD_TOKEN_KEY" => "canary-old-token-key-0123456789-0123456789",
        "COLLECTIONS_APP_KEY" => "canary-collections-key",
        "COLLECTIONS_APP_SECRET" => "canary-collections-secret",
        "PAIR_KEY" => "canary-pair-key",
        _ => return None,
    };
    Some(value.into())
}

/// A directory of its own with a few files that configurations refer to.
fn dir(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config").join(test);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn write(dir: &Path, name: &str, mode: u32, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::write(&path, content).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/nonexistent"), env)
}

/// The text is refused with exactly this sentence, which is one line and shows no secret.
fn check(bad: &str, sentence: &str) {
    let error = parse(bad).map(|_| ()).expect_err(bad).to_string();
    assert_eq!(error, sentence, "{bad}");
    assert!(!error.contains("canary") && error.lines().count() == 1, "{error}");
}

/// The added lines start on line 2.
fn check_outbound(lines: &str, sentence: &str) {
    check(&format!("[outbound]\n{lines}\n{ACCOUNT}"), sentence);
}

/// The added lines start on line 5.
fn check_account(lines: &str, sentence: &str) {
    check(&format!("{ACCOUNT}{lines}\n[outbound]\n"), sentence);
}

/// The added lines start on line 6.
fn check_more(lines: &str, sentence: &str) {
    check(&format!("{ACCOUNT}[outbound]\n{lines}\n"), sentence);
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    const END: &str = "correct this line (text needs quotes)";
    check("[outbound\n", &format!("line 1: this is not TOML: unclosed table, expected `]`; {END}"));
    check_outbound("listen = 127.0.0.1:8080", &format!("line 2: this is not TOML: invalid float; {END}"));
    check_outbound("threads = 1\nthreads = 2", &format!("line 3: this is not TOML: duplicate key; {END}"));
    check_account(
        "ca = canary.pem",
        &format!("line 5: this is not TOML: string values must be quoted, expected literal string; {END}"),
    );
}

#[test]
fn unknown_keys_are_refused_with_the_known_ones() {
    check(
        "[outbond]\n",
        "line 1: unknown key \"outbond\" in the file; known keys are outbound, inbound, admin, log, account, program, \
         operation, source, receiver, inbox",
    );
    check_outbound(
        "\nlistne = \"127.0.0.1:8080\"",
        "line 3: unknown key \"listne\" in [outbound]; known keys are listen, threads, header_timeout, body_timeout, \
         keepalive_timeout, max_header, max_body, max_answer, memory, memory_wait, max_connections, repair_plus, token_key, \
         old_token_key, token_life, grace",
    );
    check_more("[admin]\nport = 9464", "line 7: unknown key \"port\" in [admin]; known keys are listen, token");
    check_account(
        "app_secert = \"canary\"",
        "line 5: unknown key \"app_secert\" in [[account]]; known keys are name, upstream, ca, app_key, app_secret, \
         encryption, connect_timeout, read_timeout, write_timeout, idle_timeout, token_life, login, limit, \
         breaker",
    );
    check_account(
        "encryption = { scheme = \"aes-ecb-zero\", kye = { env = \"AES_KEY\" } }",
        "line 5: unknown key \"kye\" in encryption; known keys are scheme, key, iv, content_type, empty_query, seal_login",
    );
    check_account("login = { often = true }", "line 5: unknown key \"often\" in login; known keys are burst, every");
    check_more(
        "[[program]]\napp_key = 1",
        "line 7: unknown key \"app_key\" in [[program]]; known keys are name, key, secret, api_key, account, operations, \
         limit",
    );
    check_more(
        "[[operation]]\n\"a\\nb\" = 1",
        "line 7: unknown key \"a\\nb\" in [[operation]]; known keys are name, method, path, encryption, headers, limit, \
         idempotency",
    );
}

#[test]
fn what_is_missing_is_asked_for() {
    check(ACCOUNT, "there is no [outbound]; add one with listen = \"127.0.0.1:8080\"");
    check("[outbound]\n", "there is no [[account]]; add one with name, app_key and app_secret");
    check("account = []\n[outbound]\n", "there is no [[account]]; add one with name, app_key and app_secret");
    check("[outbound]\n[[account]]\n", "line 2: this [[account]] has no name; add name = \"…\"");
    check_more("[[account]]\nname = \"b\"", "line 6: account \"b\" has no app_key; add app_key = { env = \"NAME\" }");
    check_more(
        "[[account]]\nname = \"b\"\napp_key = { env = \"APP_KEY\" }",
        "line 6: account \"b\" has no app_secret; add app_secret = { env = \"NAME\" }",
    );
    check_account(
        "encryption = { key = { env = \"AES_KEY\" } }",
        "line 5: encryption has no scheme; add scheme = \"aes-ecb-zero\" or \"aes-cbc-pkcs7\"",
    );
    check_account(
        "encryption = { scheme = \"aes-ecb-zero\" }",
        "line 5: encryption has no key; add key = { env = \"NAME\" }",
    );
    check_account(
        "encryption = { scheme = \"aes-cbc-pkcs7\", key = { env = \"AES_KEY\" } }",
        "line 5: scheme aes-cbc-pkcs7 needs an iv; add iv = \"prefix\" or iv = { fixed = … }",
    );
    check_more("[[operation]]\nmethod = \"GET\"", "line 6: this [[operation]] has no name; add name = \"…\"");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    check("outbound = 8080\n", "line 1: outbound must be a table, written [outbound], not a number");
    check(
        "[outbound]\n[account]\nname = \"main\"",
        "line 2: account must be written [[account]], with two brackets, once for each",
    );
    check("account = [1]\n", "line 1: account must be written [[account]], with two brackets, once for each");
    check_outbound("listen = 8080", "line 2: listen must be text in quotes, not a number");
    check_outbound("threads = \"2\"", "line 2: threads must be a whole number, not text");
    check_outbound("threads = 2.0", "line 2: threads must be a whole number, not a number with a point");
    check_outbound("threads = -2", "line 2: threads must be a whole number that is not negative");
    check_outbound("grace = 30", "line 2: grace must be text with a unit, such as \"10s\", not a number");
    check_outbound("memory = 1979-05-27", "line 2: memory must be text with a unit, such as \"16MiB\", not a date");
    check_outbound("repair_plus = \"yes\"", "line 2: repair_plus must be true or false, not text");
    check_account("login = [3]", "line 5: login must be a table in braces, not a list");
}

#[test]
fn numbers_durations_and_sizes_have_units_and_bounds() {
    check_outbound("threads = 0", "line 2: threads is 0; write a number from 1 to 1024");
    check_outbound(
        "max_connections = 9223372036854775807",
        "line 2: max_connections is 9223372036854775807; write a number from 1 to 1000000",
    );
    check_outbound(
        "header_timeout = \"10\"",
        "line 2: header_timeout is \"10\" without a unit; add one of ms, s, m, h, d",
    );
    check_outbound(
        "body_timeout = \"10 seconds\"",
        "line 2: body_timeout is \"10 seconds\"; write a whole number and its unit, such as \"10s\"",
    );
    check_outbound(
        "keepalive_timeout = \"1min\"",
        "line 2: keepalive_timeout is \"1min\" with an unknown unit; known units are ms, s, m, h, d",
    );
    check_outbound("grace = \"366d\"", "line 2: grace is \"366d\"; the longest is \"365d\"");
    check_outbound("body_timeout = \"0s\"", "line 2: body_timeout is zero; write a longer time, such as \"30s\"");
    check_account("read_timeout = \"0ms\"", "line 5: read_timeout is zero; write a longer time, such as \"150s\"");
    check_account("token_life = \"0h\"", "line 5: token_life is zero; write a longer time, such as \"24h\"");
    check_account("login = { every = \"0s\" }", "line 5: every is zero; write a longer time, such as \"10s\"");
    check_account("login = { burst = 0 }", "line 5: burst is 0; write a number from 1 to 1000");
    for (limit, sentence) in [
        ("rate = 50", "rate must be text with a unit, such as \"50/s\", not a number"),
        ("rate = \"50\"", "rate is \"50\"; write calls and a time, such as \"50/s\", \"300/m\" or \"100/h\""),
        ("rate = \"0/s\"", "rate is \"0/s\"; write 1 to 100000 calls"),
        ("rate = \"5/s\", burst = 0", "burst is 0; write a number from 1 to 100000"),
        ("burst = 5", "burst stands without rate; add rate, or remove burst"),
        ("least = \"5/s\"", "least stands without rate; add rate, or remove least"),
        ("rate = \"5/s\", least = \"6/s\"", "least must be from a thousandth of rate up to rate; correct one of them"),
        ("rate = \"5/s\", least = \"1/h\"", "least must be from a thousandth of rate up to rate; correct one of them"),
        ("max_wait = \"11m\"", "max_wait is over 10m, and what waits holds a connection; write 10m or less"),
        ("concurrency = 0", "concurrency is 0; write a number from 1 to 100000"),
    ] {
        check_account(&format!("limit = {{ {limit} }}"), &format!("line 5: {sentence}"));
    }
    check_account("breaker = \"on\"", "line 5: breaker must be \"off\" or { failures = …, open = … }");
    check_account("breaker = { failures = 0 }", "line 5: failures is 0; write a number from 1 to 1000");
    check_account("breaker = { open = \"0s\" }", "line 5: open is zero; write a longer time, such as \"10s\"");
    check_outbound("max_header = \"2MiB\"", "line 2: max_header is 2MiB; the most is 1MiB");
    check_outbound("max_header = \"512B\"", "line 2: max_header is 512B; the least is 1KiB");
    check_outbound("max_body = \"0B\"", "line 2: max_body is 0B; the least is 1B");
    check_outbound(
        "max_body = \"16MB\"",
        "line 2: max_body is \"16MB\" with an unknown unit; known units are B, KiB, MiB, GiB",
    );
    check_outbound("memory = \"2000GiB\"", "line 2: memory is \"2000GiB\"; the largest is \"1024GiB\"");
    check_outbound(
        "memory = \"64MiB\"\nmax_body = \"65MiB\"",
        "line 3: memory (64MiB) has to be at least 3 times max_body (65MiB); lower the one or raise the other",
    );
    check_outbound(
        "memory = \"24MiB\"",
        "line 2: memory (24MiB) has to be at least 3 times max_body (16MiB); lower the one or raise the other",
    );
}

#[test]
fn listeners_need_addresses_of_their_own() {
    check_outbound(
        "listen = \"localhost:8080\"",
        "line 2: listen \"localhost:8080\" is not an IP address with a port; write one such as \"127.0.0.1:8080\"",
    );
    check_outbound(
        "listen = \"0.0.0.0:9464\"",
        "line 2: listen 0.0.0.0:9464 collides with [admin] on 127.0.0.1:9464; give one of them another port",
    );
    check_more(
        "[admin]\nlisten = \"127.0.0.1:8080\"",
        "line 7: listen 127.0.0.1:8080 collides with [outbound] on 127.0.0.1:8080; give one of them another port",
    );
    check_more("[log]\nformat = \"text\"", "line 7: format must be \"json\" or \"human\"");
}

#[test]
fn secrets_that_cannot_be_had_are_refused() {
    let check_key = |reference: &str, sentence: &str| {
        check_account(&format!("encryption = {{ scheme = \"aes-ecb-zero\", key = {reference} }}"), sentence);
    };
    check_key(
        "\"canary0123456789\"",
        "line 5: key is written as text; keep secrets out of this file and write where it is kept, \
         { env = \"NAME\" } or { file = \"PATH\" }",
    );
    check_key("{ canary = \"canary\" }", "line 5: key must be { env = \"NAME\" } or { file = \"PATH\" }");
    check_key(
        "{ env = \"UNSET_KEY\" }",
        "line 5: key needs the environment variable UNSET_KEY, which is not set; set it before the gateway starts",
    );
    check_key(
        "{ env = \"canary\" }",
        "line 5: key names an environment variable that is not set; set it before the gateway starts",
    );
    check_key(
        "{ env = \"canary+key=\" }",
        "line 5: key names no possible environment variable; use letters, digits and _ only",
    );
    check_key("{ env = \"EMPTY_KEY\" }", "line 5: key is empty; put the secret where this line says");
    check_key(
        "{ env = \"SHORT_KEY\" }",
        "line 5: key has 15 bytes, but an AES key has 16, 24 or 32; take the key exactly as the platform gave it, \
         without decoding",
    );
    check_key(
        "{ file = \"canary\" }",
        "line 5: key names a file that cannot be read: there is no such file; create it or correct the path \
         (relative paths start at \"/nonexistent\")",
    );
    check_more(
        "[[account]]\nname = \"b\"\napp_key = { env = \"TWO_LINES\" }\napp_secret = { env = \"APP_SECRET\" }",
        "line 8: app_key must be UTF-8 text without line breaks and control characters; correct it",
    );
    for unfit in ["TWO_LINES", "OUTER_SPACE", "ACCENT"] {
        check_more(
            &format!("[[program]]\nname = \"p\"\napi_key = {{ env = \"{unfit}\" }}"),
            "line 8: api_key must be visible ASCII without line breaks and outer spaces to fit into a header; correct it",
        );
    }
}

#[test]
fn an_encryption_that_contradicts_itself_is_refused() {
    check_account("encryption = \"canary0123456789\"", "line 5: encryption must be \"off\" or { scheme = …, key = … }");
    let check_with = |more: &str, sentence: &str| {
        check_account(&format!("encryption = {{ key = {{ env = \"AES_KEY\" }}, {more} }}"), sentence);
    };
    check_with("scheme = \"aes-gcm\"", "line 5: scheme must be \"aes-ecb-zero\" or \"aes-cbc-pkcs7\"");
    check_with(
        "scheme = \"aes-ecb-zero\", iv = \"prefix\"",
        "line 5: iv has no place in aes-ecb-zero; remove it or use aes-cbc-pkcs7",
    );
    check_with(
        "scheme = \"aes-cbc-pkcs7\", iv = \"canary\"",
        "line 5: iv must be \"prefix\" or { fixed = … } with 16 characters or a reference",
    );
    check_with(
        "scheme = \"aes-cbc-pkcs7\", iv = { fixed = \"canary\" }",
        "line 5: iv has 6 bytes, but an AES IV has 16; correct it",
    );
    check_with(
        "scheme = \"aes-ecb-zero\", empty_query = \"open\"",
        "line 5: empty_query must be \"plain\", \"mark\" or \"seal\"",
    );
    check_with(
        "scheme = \"aes-ecb-zero\", content_type = \"text/plain\\r\\nX: y\"",
        "line 5: content_type must be a media type, such as \"application/json\"",
    );
}

#[test]
fn an_upstream_is_an_address_reached_over_tls() {
    let check_upstream = |address: &str, rest: &str| {
        check_account(&format!("upstream = \"{address}\""), &format!("line 5: upstream {rest}"));
    };
    check_upstream("api.airudder.com", "must begin with https://");
    check_upstream(
        "http://api.airudder.com",
        "must begin with https://, because plain http:// shows tokens and numbers on the way \
         (it is accepted only to 127.0.0.0/8, ::1 and localhost)",
    );
    check_upstream(
        "https://user:canary@api.airudder.com",
        "must not hold a user or a password; use app_key and app_secret",
    );
    check_upstream(
        "https://api.airudder.com/service",
        "must not have a path, because programs name the path; write the address only",
    );
    check_upstream(
        "https://api.airudder.com?token=canary",
        "must not have a query; write the address only, such as \"https://api.airudder.com\"",
    );
    check_upstream("https://api.airudder.com:0", "has no valid port; write a number from 1 to 65535");
    check_upstream("https://2001:db8::1", "needs brackets around an IPv6 address");
    check_account(
        "ca = \"platform.pem\"",
        "line 5: ca cannot be read from \"/nonexistent/platform.pem\": \
         there is no such file; create it or correct the path",
    );
}

#[test]
fn names_agree_and_are_used_once() {
    let program = |name: &str, rest: &str| format!("[[program]]\nname = \"{name}\"\napi_key = {{ env = \"{rest}\n");
    check_more(ACCOUNT, "line 6: two accounts are named \"main\"; give each its own name");
    check_more(
        &[program("p", "KEY_A\" }"), program("p", "KEY_B\" }")].concat(),
        "line 9: two programs are named \"p\"; give each its own name",
    );
    check_more(
        &[program("p", "KEY_A\" }"), program("q", "KEY_A\" }")].concat(),
        "line 11: programs \"p\" and \"q\" have the same api_key; give each its own",
    );
    check_more(
        &program("p", "KEY_A\" }\naccount = \"mian\""),
        "line 9: account \"mian\" of program \"p\" is not configured; write \"main\"",
    );
    let long = "x".repeat(65);
    for (name, shown) in [("bad name", "bad name"), ("", ""), (&long, &format!("{}…", &long[1..]))] {
        check_more(
            &program(name, "KEY_A\" }"),
            &format!("line 7: name \"{shown}\" must have 1 to 64 of A to Z, a to z, 0 to 9, _ . -"),
        );
    }
    check_more(
        &program("-", "KEY_A\" }"),
        "line 7: name \"-\" stands for none in the log and in metrics; write another name",
    );
}
