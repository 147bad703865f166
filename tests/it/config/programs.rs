//! What is said of programs, their pairs and the keys that sign their tokens.

use std::time::Duration;

use super::{ACCOUNT, check_more, check_outbound, parse};

/// A program with what a test adds, from line 6 on.
fn program(lines: &str) -> String {
    format!("[[program]]\nname = \"p\"\n{lines}")
}

const PAIR: &str = "key = { env = \"PAIR_KEY\" }\nsecret = { env = \"COLLECTIONS_APP_SECRET\" }\n";

#[test]
fn a_program_has_something_to_be_known_by() {
    check_more(
        &program("account = \"main\""),
        "line 6: program \"p\" has nothing to be known by; add key = { env = \"NAME\" } and secret = { env = \"NAME\" } if \
         it logs in, else api_key = { env = \"NAME\" }",
    );
    let api_key = "\napi_key = { env = \"KEY_A\" }";
    for more in ["", api_key] {
        check_more(
            &program(&format!("key = {{ env = \"PAIR_KEY\" }}{more}")),
            "line 8: key stands without secret; add secret, or remove key",
        );
        check_more(
            &program(&format!("secret = {{ env = \"PAIR_KEY\" }}{more}")),
            "line 8: secret stands without key; add key, or remove secret",
        );
    }
    check_more(
        &program("key = { env = \"TWO_LINES\" }\nsecret = { env = \"PAIR_KEY\" }"),
        "line 8: key must be UTF-8 text without line breaks and control characters; correct it",
    );
    check_more(
        &program("key = { env = \"PAIR_KEY\" }\nsecret = { env = \"EMPTY_KEY\" }"),
        "line 9: secret is empty; put the secret where this line says",
    );
}

#[test]
fn a_pair_needs_a_key_that_signs() {
    check_more(
        &program(PAIR),
        "line 8: program \"p\" logs in, but there is no key to sign its tokens with; add token_key = { env = \"NAME\" } to \
         [outbound] (make one with openssl rand -hex 32)",
    );
    check_outbound(
        "token_key = { env = \"KEY_A\" }",
        "line 2: token_key has 8 bytes, but a key that signs has 32 or more; make one, such as with openssl rand -hex 32",
    );
    check_outbound(
        "token_key = { env = \"AT_REST\" }\nold_token_key = { env = \"KEY_A\" }",
        "line 3: old_token_key has 8 bytes, but a key that signs has 32 or more; make one, such as with openssl rand -hex 32",
    );
    check_outbound(
        "old_token_key = { env = \"AT_REST\" }",
        "line 2: old_token_key stands without token_key; rename it, or add the new key as token_key",
    );
    check_outbound("token_life = \"0s\"", "line 2: token_life is zero; write a longer time, such as \"24h\"");
}

#[test]
fn no_two_programs_share_a_key() {
    let two = |first: &str, second: &str| {
        format!(
            "token_key = {{ env = \"AT_REST\" }}\n{}\n{}",
            program(first),
            program(second).replace("\"p\"", "\"q\"")
        )
    };
    check_more(
        &two(PAIR, "key = { env = \"PAIR_KEY\" }\nsecret = { env = \"COLLECTIONS_APP_KEY\" }\n"),
        "line 14: programs \"p\" and \"q\" have the same key; give each its own",
    );
    // The same text as a key of one kind and of the other are two things.
    let text = two(PAIR, "api_key = { env = \"PAIR_KEY\" }");
    assert_eq!(parse(&format!("{ACCOUNT}[outbound]\n{text}")).expect("two programs").programs.len(), 2);
}

#[test]
fn what_a_program_may_do_is_named() {
    let with = |operations: &str| program(&format!("api_key = {{ env = \"KEY_A\" }}\noperations = {operations}"));
    check_more(
        &with("[]"),
        "line 9: operations is empty, so the program could do nothing; name operations or remove this line",
    );
    for wrong in ["*.create", "task.**", "ta*sk", "Task.create", "task create", ""] {
        check_more(
            &with(&format!("[\"task.create\", \"{wrong}\"]")),
            &format!(
                "line 9: operations holds \"{wrong}\"; write the name of an operation (a to z, 0 to 9, _ and .), or its \
                 beginning and one * at the end"
            ),
        );
    }
    check_more(&with("\"task.*\""), "line 9: operations must be a list of text in quotes, in brackets");
    let text = format!("{ACCOUNT}[outbound]\n{}", with(r#"["task.*", "call.recording", "*"]"#));
    let config = parse(&text).expect("patterns");
    let written: Vec<_> = config.programs[0].operations.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(written, ["task.*", "call.recording", "*"]);
}

#[test]
fn unwise_pairs_are_warnings() {
    let warnings = |token_keys: &str, program: &str| {
        let text = format!("{ACCOUNT}encryption = \"off\"\n[outbound]\n{token_keys}\n{program}");
        parse(&text).expect(&text).warnings
    };
    let key = "token_key = { env = \"AT_REST\" }";
    assert_eq!(warnings(key, &program(PAIR)).len(), 1, "only the missing encryption");
    for (secret, sentence) in [
        (
            "APP_SECRET",
            "line 11: secret is the platform's own secret of account \"main\", which programs need not know; issue another \
             one",
        ),
        ("KEY_A", "line 11: secret has 8 characters, which may be found out by trying; write 16 or more"),
    ] {
        let pair = format!("key = {{ env = \"PAIR_KEY\" }}\nsecret = {{ env = \"{secret}\" }}");
        assert!(warnings(key, &program(&pair)).contains(&sentence.to_owned()), "{:?}", warnings(key, &program(&pair)));
    }
    let same = format!("{key}\nold_token_key = {{ env = \"INBOX_KEY\" }}");
    assert_eq!(warnings(&same, "")[0], "line 8: old_token_key is token_key itself; remove it");
}

#[test]
fn a_pair_and_its_keys_are_read_and_never_printed() {
    let text = format!(
        "{ACCOUNT}[outbound]\ntoken_key = {{ env = \"GATEWAY_TOKEN_KEY\" }}\nold_token_key = {{ env = \"AT_REST\" }}\n\
         token_life = \"1h\"\n{}",
        program(PAIR)
    );
    let config = parse(&text).expect("a program that logs in");
    let pair = config.programs[0].pair.as_ref().expect("a pair");
    assert_eq!((pair.key.expose(), pair.secret.expose()), (&b"canary-pair-key"[..], &b"canary-collections-secret"[..]));
    assert_eq!(config.outbound.tokens.life, Duration::from_secs(3600));
    let printed = format!("{config:?}");
    assert!(!printed.contains("canary") && !printed.contains("99, 97, 110, 97, 114, 121"), "{printed}");
}
