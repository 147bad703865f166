//! Operating the inbox: looking into it, sending again, removing, and who may.

mod access;
mod call;
mod commands;
mod letters;
mod page;
mod pages;
mod status;
mod trouble;

use std::process::Command;

use airudder_gateway::clock;
use serde_json::Value;

use crate::support::receiver::{Receiver, Reply};
use crate::support::{Answer, Client, Gateway, Refusing, Setup};

const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";
const BLUE: &str = "/callbacks/9f86d081884c7d659a2feaa0c55ad015";

/// A gateway that stores callbacks of two sources: `calls` goes to `books`, `blue` to `books` and `audit`. `receivers`: the
/// address of the two. `admin`: lines of `[admin]`.
fn setup(receivers: [&str; 2], admin: &str) -> Setup {
    let [books, audit] = receivers;
    Setup {
        admin: admin.to_owned(),
        env: vec![("ADMIN_TOKEN".to_owned(), TOKEN.to_owned())],
        sealed: false,
        more: format!(
            "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\nreceivers = [\"books\"]\nencryption = \"auto\"\n\
             [[source]]\nname = \"blue\"\npath = \"{BLUE}\"\nreceivers = [\"books\", \"audit\"]\n\
             [[receiver]]\nname = \"books\"\nurl = \"{books}\"\n[[receiver]]\nname = \"audit\"\nurl = \"{audit}\"\n"
        ),
        ..Setup::default()
    }
}

const TOKEN: &str = "a token of operators";

/// Two receivers that nobody can reach, so that whatever is stored waits.
struct Unreachable(Refusing);

impl Unreachable {
    fn new() -> Self {
        Self(Refusing::new())
    }

    fn start(&self, admin: &str) -> Gateway {
        let url = self.0.url();
        setup([&url, &url], admin).start_at(&self.0.url(), None)
    }
}

/// A callback about this call of this task.
fn callback(call: &str, task: &str) -> String {
    format!(r#"{{"task_id":"{task}","call_id":"{call}","callee":"+6281200000001","status":"finished"}}"#)
}

/// The platform calls back: each call of a task of its own, `task-N` of `call-N`.
fn call_back(gateway: &Gateway, path: &str, calls: impl IntoIterator<Item = u32>) {
    let mut platform = Client::connect(gateway.inbound.expect("callbacks are configured"));
    for call in calls {
        let answer = platform.post(path, callback(&format!("call-{call}"), &format!("task-{call}")));
        assert_eq!(answer.status, 200);
    }
}

/// A page of the admin listener as JSON.
fn look(gateway: &Gateway, path: &str) -> Value {
    let answer = ask(gateway, "GET", path, "", "");
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// A change by a JSON question.
fn change(gateway: &Gateway, path: &str, question: &Value) -> Value {
    let answer = ask(gateway, "POST", path, "Content-Type: application/json\r\n", &question.to_string());
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Any request, with header lines that each end with CR LF.
fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}");
    Client::connect(gateway.admin).send(request).answer()
}

/// The entries of a list.
fn entries(gateway: &Gateway, question: &str) -> Vec<Value> {
    let list = look(gateway, &format!("/inbox?{question}"));
    list["entries"].as_array().expect("entries").clone()
}

/// How many there are, asking for as many as one answer has.
fn count(gateway: &Gateway, question: &str) -> usize {
    entries(gateway, &format!("{question}&limit=1000")).len()
}

/// A time of a page in milliseconds.
fn millis(time: &Value) -> u64 {
    clock::parse_rfc3339(time.as_str().expect("a time")).expect("RFC 3339")
}

/// A receiver that wants none of its callbacks, so that each is a dead letter at once.
fn unwilling() -> Receiver {
    Receiver::answering(|_| Reply::Status(410))
}

/// Waits until so many are listed.
fn until_counted(gateway: &Gateway, question: &str, number: usize) {
    gateway.until(|gateway| count(gateway, question) == number);
}

/// How `airudder-gateway inbox` ended and what it printed.
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

/// `airudder-gateway inbox …` beside this gateway; of all secrets it has the token only.
fn command(gateway: &Gateway, arguments: &[&str]) -> Ran {
    command_with(gateway, TOKEN, arguments)
}

fn command_with(gateway: &Gateway, token: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_airudder-gateway"))
        .arg("inbox")
        .args(arguments)
        .arg("--config")
        .arg(gateway.config())
        .args(["--admin", &gateway.admin.to_string()])
        .env_clear()
        .env("ADMIN_TOKEN", token)
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
