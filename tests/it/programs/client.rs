//! The client of the documentation, over a library that knows nothing of this gateway. It runs against the platform and
//! against the gateway, and only its address and its pair differ.

use std::process::Command;

use super::{BOOKS, LOGIN, PREDICT_LOGIN, PREDICT_TASK, TASK, check_arrived, setup};
use crate::support::{platform, platform_with};

const PAGE: &str = include_str!("../../../docs/programs.md");

/// The page's first sample for Python.
fn sample() -> &'static str {
    let (_, from) = PAGE.split_once("```python\n").expect("a sample");
    from.split_once("```\n").expect("its end").0
}

/// A Python that has `requests`; `make setup-test` sees to it.
pub(crate) fn python() -> &'static str {
    let has = |python: &&str| {
        let tried = Command::new(python).args(["-c", "import requests"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(has).expect("a Python with requests: make setup-test installs it")
}

/// What a script prints.
#[track_caller]
fn run(script: &str, url: &str, (key, secret): (&str, &str)) -> String {
    let output = Command::new(python())
        .args(["-c", script])
        .env("AIRUDDER_URL", url)
        .env("AIRUDDER_APP_KEY", key)
        .env("AIRUDDER_APP_SECRET", secret)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

#[test]
fn an_existing_client_changes_its_address_and_its_pair_and_nothing_else() {
    let (platform, behind) = (platform(), platform_with(Default::default()));
    let gateway = setup().start(&behind).ready();
    let logins = behind.logins();
    // The rest of a day in a client's life: a token of yesterday, and the other family, whose login is a form.
    let more = format!(
        r#"
client.token = "a token of yesterday"
print("again:", client.call("GET", "/service/cloud/list")["status"])
pair = requests.post(client.base + "{PREDICT_LOGIN}", data=client.pair).json()
token = pair["body"]["token"]
answer = requests.post(client.base + "{PREDICT_TASK}", json={{}}, headers={{"Authorization": "Bearer " + token}})
print("call centre:", pair["code"], answer.json()["code"])
old = requests.post(client.base + "{PREDICT_TASK}", json={{}}, headers={{"Authorization": "Token " + token[::-1]}})
print("call centre, refused:", old.json()["code"] in (10811, 10812))
"#
    );
    let script = format!("{}{more}", sample());
    let there = run(&script, &platform.url(), ("demo-key", "demo-secret"));
    let here = run(&script, &format!("http://{}", gateway.outbound), BOOKS);
    assert_eq!(there, "created: OK\nlisted: OK\nagain: OK\ncall centre: 0 0\ncall centre, refused: True\n");
    assert_eq!(here, there);
    check_arrived(&behind, TASK, 1);
    assert_eq!(behind.count(LOGIN), logins, "its logins were answered by the gateway");
    let printed = gateway.printed();
    assert!(!printed.contains("6281200000001") && !printed.contains(BOOKS.0), "{printed}");
}
