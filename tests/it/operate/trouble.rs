//! While the inbox cannot write, operators are told so, may still look, and nothing is half done.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{PATH, ask, call_back, command, count, look, setup};
use crate::support::{Client, Folder, Refusing};

#[test]
fn an_inbox_that_cannot_write_says_so_on_every_page_that_would() {
    let (folder, nobody) = (Folder::new(), Refusing::new());
    let mut setup = setup([&nobody.url(), &nobody.url()], "");
    setup.folder = Some(folder.clone());
    // Nothing is tried again while this runs, so that nothing but the test writes.
    setup.more = setup.more.replace("[[receiver]]\n", "[[receiver]]\nretry = [\"1h\"]\n");
    let gateway = setup.start_at(&nobody.url(), None);
    call_back(&gateway, PATH, 1..=3);
    assert_eq!(look(&gateway, "/readyz/inbound"), json!({"ready": true}));

    let intruder = Connection::open(folder.path().join("data/inbox.db")).expect("it opens");
    intruder.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
    let mut platform = Client::connect(gateway.inbound.expect("callbacks are configured"));
    assert_eq!(platform.post(PATH, r#"{"call_id":"call-4"}"#).status, 503);
    let ready = ask(&gateway, "GET", "/readyz/inbound", "", "");
    let page = ready.json();
    assert_eq!((ready.status, &page["ready"], &page["reason"]), (503, &json!(false), &json!("failed")));
    // At first only that it fails; once it was tried again, why.
    let message = page["message"].as_str().expect("a sentence");
    assert!(message.contains("see the log") || message.contains("locked by another program"), "{message}");
    let question = r#"{"state":"waiting"}"#;
    for path in ["/inbox/purge", "/inbox/redrive"] {
        let answer = ask(&gateway, "POST", path, "Content-Type: application/json\r\n", question);
        assert_eq!((answer.status, answer.json()["reason"].is_string()), (503, true), "{path}");
    }
    let ran = command(&gateway, &["purge", "--state", "waiting"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.lines().count()), (Some(69), "", 1), "{}", ran.err);
    // The other face is none the worse, and what is there can be looked at.
    assert_eq!(ask(&gateway, "GET", "/livez", "", "").status, 200);
    assert_eq!(count(&gateway, ""), 3);

    intruder.execute_batch("ROLLBACK").expect("it is free");
    drop(intruder);
    gateway.until(|gateway| ask(gateway, "GET", "/readyz/inbound", "", "").status == 200);
    let purged = ask(&gateway, "POST", "/inbox/purge", "Content-Type: application/json\r\n", question);
    assert_eq!(purged.json(), json!({"matched": 3, "dry_run": false, "next": Value::Null}));
}
