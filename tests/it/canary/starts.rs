//! Configurations that are refused, by `check` and by `run`: one sentence, exit status 64, and no secret in it.

use super::marks::{AES_KEY, API_KEY, APP_KEY, APP_SECRET, Marks, TENANT_TOKEN};
use super::setup;
use crate::support::gateway::Finished;

#[test]
fn a_configuration_that_is_refused_shows_no_secret() {
    let marks = Marks::new();
    let good = setup("json");
    let literal = |value: &str| format!("app_key = {}", serde_json::Value::from(value));
    let key = r#"app_key = { env = "APP_KEY" }"#;
    let sealed = r#"key = { env = "AES_KEY" }"#;
    let changes: Vec<(&str, String)> = vec![
        (key, literal(APP_KEY)),
        (key, literal(APP_SECRET)),
        (key, r#"app_key = { env = "canary-app-key" }"#.into()),
        (key, format!("app_key = {{ env = {} }}", serde_json::Value::from(APP_SECRET))),
        (key, format!("app_key = {{ file = {} }}", serde_json::Value::from(APP_SECRET))),
        (key, format!("app_key = {AES_KEY}")),
        (sealed, format!("key = \"{AES_KEY}\"")),
        (sealed, r#"key = { env = "APP_SECRET" }"#.into()),
        (sealed, format!("key = {{ env = \"{AES_KEY}\" }}")),
        ("\"aes-ecb-zero\"", format!("\"{AES_KEY}\"")),
        ("\"aes-ecb-zero\", key", format!("\"aes-cbc-pkcs7\", iv = {{ fixed = \"{AES_KEY}x\" }}, key")),
        ("http://127.0.0.1:9", format!("http://x:{API_KEY}@127.0.0.1:9")),
        ("http://127.0.0.1:9", format!("https://x/{TENANT_TOKEN}?{AES_KEY}")),
        (r#"api_key = { env = "API_KEY" }"#, format!("api_key = \"{API_KEY}\"")),
        (r#"api_key = { env = "API_KEY" }"#, r#"api_key = { env = "APP_KEY" }"#.into()),
        (r#"token = { env = "TENANT" }"#, format!("token = \"{TENANT_TOKEN}\"")),
        (r#"token = { env = "TENANT" }"#, r#"token = { env = "APP_KEY" }"#.into()),
        (r#"token = { env = "TENANT" }"#, r#"Host = { env = "TENANT" }"#.into()),
        ("burst = 1000", format!("burst = \"{AES_KEY}\"")),
    ];
    for (from, to) in changes {
        for command in ["check", "run"] {
            let finished = Finished::of(command, &good, |text| {
                assert!(text.contains(from), "{from} in {text}");
                text.replace(from, &to)
            });
            assert_eq!((finished.status, finished.out.as_str()), (Some(64), ""), "{to}: {}", finished.err);
            assert_eq!(finished.err.lines().count(), 1, "{to}: {}", finished.err);
            marks.assert_none(command, &finished.err);
        }
    }
}

#[test]
fn a_good_configuration_is_counted_and_not_shown() {
    let finished = Finished::of("check", &setup("human"), |text| text);
    assert_eq!((finished.status, finished.err.as_str()), (Some(0), ""));
    assert!(
        finished.out.contains(": ok (1 account, 1 program, 1 operation, 0 sources, 0 receivers, 1 warning)"),
        "{}",
        finished.out
    );
    Marks::new().assert_none("check", &finished.out);
}
