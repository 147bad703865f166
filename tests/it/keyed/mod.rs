//! One key, one phone call: what an `Idempotency-Key` on a POST promises.

mod answers;
mod client;
mod clock;
mod freed;
mod operate;
mod store;
mod submits;
mod unknown;
mod waiting;

use airudder_gateway::simulator::{FaultKind, Simulator};

use crate::support::{Answer, Client, Folder, Gateway, Setup, arrived_at, platform, scripted, wait_until};

pub(crate) use operate::already_sent;

/// What creates a task, and a phone call with it.
pub(crate) const TASK: &str = "/service/cloud/task";

/// A platform, and a gateway in front of it that keeps keys.
fn scene() -> (Simulator, Gateway) {
    scene_with(keeping(), "")
}

/// The same with lines of the account.
fn scene_with(setup: Setup, account: &str) -> (Simulator, Gateway) {
    let platform = platform();
    let gateway = Setup { account: account.into(), ..setup }.start(&platform).ready();
    (platform, gateway)
}

/// A gateway that keeps keys, in a folder that outlives it.
pub(crate) fn keeping() -> Setup {
    Setup { more: "[inbox]\npath = \"data/inbox.db\"\n".into(), folder: Some(Folder::new()), ..Setup::default() }
}

/// The body that creates a task of this name.
pub(crate) fn task(name: &str) -> String {
    format!(r#"{{"TaskName":"{name}","RobotID":"1","Details":[{{"CalleeNumber":"+6281200000001"}}]}}"#)
}

/// Creates a task under a key, on a connection of its own. The key's text is as it stands in the header.
pub(crate) fn create(gateway: &Gateway, key: &str, body: &str) -> Answer {
    post(&mut gateway.client(), key, "", body)
}

/// The same on this connection, with further header lines.
pub(crate) fn post(client: &mut Client, key: &str, headers: &str, body: &str) -> Answer {
    client.post_with(TASK, &format!("Idempotency-Key: {key}\r\n{headers}"), body)
}

/// How many requests to create a task have arrived.
pub(crate) fn created(platform: &Simulator) -> usize {
    arrived_at(platform, TASK).len()
}

/// The answer is one of before: the same status, the same body, marked, and with an id of its own.
fn assert_replayed(answer: &Answer, first: &Answer, what: &str) {
    assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{what}: {answer:?}");
    assert_eq!((answer.status, &answer.body), (first.status, &first.body), "{what}");
    assert_eq!(answer.header("content-type"), first.header("content-type"), "{what}");
    assert_ne!(answer.header("x-request-id"), first.header("x-request-id"), "{what}");
}

pub(crate) fn assert_refused(answer: &Answer, status: u16, word: &str, sent: &str, what: &str) {
    assert_eq!((answer.status, answer.word()), (status, Some(word)), "{what}: {:?}", answer.json());
    assert_eq!(answer.json()["sent"], sent, "{what}");
}

/// How many calls with a key ended so, until now.
fn ended(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("keyed_calls_total{{outcome=\"{outcome}\"}}"))
}

/// So many ended so, and no more. A call is counted after it was answered.
fn assert_ended(gateway: &Gateway, outcome: &str, times: f64) {
    gateway.until(|gateway| ended(gateway, outcome) >= times);
    assert_eq!(ended(gateway, outcome), times, "{outcome}");
}

/// Brings a gateway to answer with a word that is about keys, as its first answer of that word.
pub(crate) fn produce(word: &str) -> (Gateway, Answer) {
    match word {
        "bad_idempotency_key" => {
            let (_platform, gateway) = scene();
            let answer = create(&gateway, "\"", &task("one"));
            (gateway, answer)
        }
        "idempotency_key_missing" => {
            let setup = keeping();
            let more = setup.more.clone() + "[[operation]]\nname = \"task.create\"\nidempotency = \"required\"\n";
            let (_platform, gateway) = scene_with(Setup { more, ..setup }, "");
            let answer = gateway.client().post(TASK, task("one"));
            (gateway, answer)
        }
        "idempotency_key_reused" => {
            let (_platform, gateway) = scene();
            create(&gateway, "k", &task("one"));
            let answer = create(&gateway, "k", &task("two"));
            (gateway, answer)
        }
        "idempotency_key_in_use" => {
            let (platform, gateway) = scene();
            platform.fault(FaultKind::Hold);
            let (body, mut first) = (task("one"), gateway.client());
            let head = format!("POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\n");
            first.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
            wait_until(&platform, "the first is held", |_| created(&platform) == 1);
            let answer = post(&mut gateway.client(), "k", "X-Gateway-Deadline: 50ms\r\n", &body);
            (gateway, answer)
        }
        "upgrading" => {
            let (platform, gateway) = scene();
            platform.fault(FaultKind::Hold);
            let (body, mut first) = (task("one"), gateway.client());
            let head = format!("POST {TASK} HTTP/1.1\r\nHost: g\r\nIdempotency-Key: k\r\n");
            first.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
            wait_until(&platform, "the first is held", |_| created(&platform) == 1);
            gateway.ask_for_upgrade();
            gateway.until(|gateway| gateway.metric("upgrades_total{outcome=\"ok\"}") == 1.0);
            let answer = post(&mut gateway.client(), "another", "X-Gateway-Deadline: 50ms\r\n", &body);
            assert_eq!(created(&platform), 1, "nothing was sent");
            (gateway, answer)
        }
        "already_sent" => already_sent(),
        "answer_not_kept" => {
            let url = scripted(|_, line| {
                let body = "x".repeat(300_000);
                line.say(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n{body}"));
                line.end();
            });
            let gateway = Setup { sealed: false, ..keeping() }.start_at(&url, None);
            create(&gateway, "k", "{}");
            let answer = create(&gateway, "k", "{}");
            (gateway, answer)
        }
        "keys_unavailable" => {
            let (_platform, gateway) = scene_with(Setup::default(), "");
            let answer = create(&gateway, "k", &task("one"));
            (gateway, answer)
        }
        _ => panic!("no producer for {word}: write one"),
    }
}
