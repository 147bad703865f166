//! What the simulated platform sends, seen by whoever takes it. Receivers are simulators too, whose faults are their
//! answers and whose records are what arrived; what was sealed is opened by OpenSSL.

use std::time::Duration;

use airudder_gateway::config::{Iv, Scheme};
use airudder_gateway::secret::Secret;
use airudder_gateway::simulator::{
    Callback, CallbackTry, FaultKind, Keep, NoAnswer, Options, Received, Sample, Simulator,
};
use openssl::symm::{Cipher, decrypt};
use serde_json::{Value, json};

use super::client::{Client, open, sha256};
use super::{KEY, authorization, start};
use crate::support::wait_until;

/// A minute of these tests. Short, and long enough to see that it passes between two tries.
const MINUTE: Duration = Duration::from_millis(40);

/// Takes callbacks at `/hook` and answers each with the next of these statuses, then with 200.
fn receiver(statuses: &[u16]) -> Simulator {
    let receiver = start(|_| {});
    answer_next(&receiver, statuses);
    receiver
}

fn answer_next(receiver: &Simulator, statuses: &[u16]) {
    let status = |code, times: &str| {
        let fault = format!(r#"{{"kind":"status","code":{code},"times":{times}}}"#);
        receiver.fault(serde_json::from_str::<airudder_gateway::simulator::Fault>(&fault).expect("a fault"));
    };
    statuses.iter().for_each(|code| status(*code, "1"));
    status(200, r#""always""#);
}

fn sender(change: impl FnOnce(&mut Options)) -> Simulator {
    start(|options| {
        options.callback_minute = MINUTE;
        change(options);
    })
}

fn call_back(sender: &Simulator, callback: Callback) -> Vec<CallbackTry> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(sender.call_back(callback)).expect("it can be sent")
}

fn hook(receiver: &Simulator) -> String {
    format!("{}/hook", receiver.url())
}

fn statuses(tries: &[CallbackTry]) -> Vec<Option<u16>> {
    tries.iter().map(CallbackTry::status).collect()
}

fn opened(arrived: &Received) -> Value {
    assert_eq!(arrived.header("is-encrypted"), Some("1"));
    let plain = open(KEY, &arrived.body);
    assert_eq!(arrived.header("signed"), Some(sha256(&plain).as_str()));
    serde_json::from_slice(&plain).expect("JSON inside")
}

#[test]
fn a_callback_looks_like_the_published_one() {
    let (receiver, sender) = (receiver(&[]), sender(|_| {}));
    for sample in Sample::ALL {
        receiver.clear();
        answer_next(&receiver, &[]);
        assert_eq!(statuses(&call_back(&sender, Callback::new(hook(&receiver), sample.text()))), [Some(200)]);
        let arrived = &receiver.requests()[0];
        assert_eq!((arrived.method.as_str(), arrived.path.as_str()), ("POST", "/hook"));
        assert_eq!(arrived.header("user-agent"), Some("AIRUDDER"));
        assert_eq!(arrived.header("content-type"), Some("application/json"));
        assert_eq!((arrived.header("is-encrypted"), arrived.header("signed")), (None, None));
        assert_eq!(arrived.body, sample.text(), "{sample:?}, to the byte");
    }
}

#[test]
fn a_sealed_one_is_opened_by_openssl_in_both_schemes() {
    let text = Sample::CallFinished.text();
    let (receiver, ecb) = (receiver(&[]), sender(|_| {}));
    call_back(&ecb, Callback::new(hook(&receiver), text).sealed());
    assert_eq!(opened(&receiver.requests()[0]), serde_json::from_str::<Value>(text).expect("JSON"));

    let cbc = sender(|options| options.cipher = Some((Scheme::CbcPkcs7(Iv::Prefix), Secret::new(KEY))));
    call_back(&cbc, Callback::new(hook(&receiver), text).sealed());
    let arrived = &receiver.requests()[1];
    let sealed = openssl::base64::decode_block(std::str::from_utf8(&arrived.body).expect("text")).expect("base64");
    let (iv, blocks) = sealed.split_at(16);
    let plain = decrypt(Cipher::aes_128_cbc(), KEY.as_bytes(), Some(iv), blocks).expect("it opens");
    assert_eq!(plain, text.as_bytes());
    assert_eq!(arrived.header("signed"), Some(sha256(&plain).as_str()));
}

#[test]
fn whatever_is_not_200_is_tried_again_a_minute_later_and_the_same_bytes_come() {
    let (receiver, sender) = (receiver(&[500, 204, 302, 503]), sender(|_| {}));
    let tries = call_back(&sender, Callback::new(hook(&receiver), "{}").sealed());
    assert_eq!(statuses(&tries), [500, 204, 302, 503, 200].map(Some));
    assert_eq!(tries.iter().map(|tried| tried.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for two in tries.windows(2) {
        assert!(two[1].at >= two[0].at + two[0].took + MINUTE, "{two:?}");
    }
    let arrived = receiver.requests();
    assert!(arrived.iter().all(|request| request.body == arrived[0].body), "sealed once");
    assert_eq!(sender.callbacks().len(), 5, "all on record");
}

#[test]
fn after_five_repeats_it_never_comes_again() {
    let (receiver, sender) = (receiver(&[500; 20]), sender(|options| options.callback_minute = Duration::ZERO));
    let tries = call_back(&sender, Callback::new(hook(&receiver), "{}"));
    assert_eq!(statuses(&tries), [Some(500); 6]);
    // A second one would find what is left of the first, if something were.
    call_back(&sender, Callback::new(hook(&receiver), "[]"));
    assert_eq!(receiver.requests().iter().filter(|request| request.body == "{}").count(), 6);
}

#[test]
fn a_receiver_that_hangs_cuts_or_is_gone_is_tried_again_too() {
    let receiver = start(|_| {});
    receiver.fault(FaultKind::Hang { ms: None });
    receiver.fault(FaultKind::CutBeforeAnswer { reset: false });
    receiver.fault(FaultKind::Raw { text: "nonsense\r\n\r\n".into() });
    answer_next(&receiver, &[]);
    let impatient = sender(|options| options.callback_patience = Duration::from_millis(300));
    let tries = call_back(&impatient, Callback::new(hook(&receiver), "{}"));
    let answers: Vec<_> = tries.iter().map(|tried| tried.answer.as_ref().map(|answer| answer.status)).collect();
    assert_eq!(answers, [Err(&NoAnswer::TimedOut), Err(&NoAnswer::Cut), Err(&NoAnswer::Cut), Ok(200)]);

    let gone = crate::support::Refusing::new();
    let tries = call_back(&impatient, Callback::new(gone.url(), "{}"));
    assert!(tries.len() == 6 && tries.iter().all(|tried| tried.answer.as_ref().err() == Some(&NoAnswer::Unreachable)));
}

#[test]
fn duplicates_are_sent_on_demand_and_each_has_its_own_tries() {
    let (receiver, sender) = (receiver(&[500]), sender(|_| {}));
    let tries = call_back(&sender, Callback::new(hook(&receiver), "{}").times(4));
    assert_eq!((tries.len(), receiver.count("/hook")), (5, 5));
    assert_eq!(tries.iter().filter(|tried| tried.acknowledged()).count(), 4);
    assert!(tries.iter().all(|tried| tried.callback == 1 && (1..=4).contains(&tried.copy)));
}

#[test]
fn tls_is_spoken_with_the_trusted_authority_only() {
    let (receiver, other) = (start(|options| options.tls = true), start(|options| options.tls = true));
    answer_next(&receiver, &[]);
    let trusting = |ca: &Simulator| {
        let ca = ca.ca_pem().map(str::to_owned);
        sender(|options| (options.callback_ca, options.callback_minute) = (ca, Duration::ZERO))
    };
    let tries = call_back(&trusting(&receiver), Callback::new(hook(&receiver), "{}"));
    assert_eq!(statuses(&tries), [Some(200)]);
    let tries = call_back(&trusting(&other), Callback::new(hook(&receiver), "{}"));
    assert!(tries.len() == 6 && tries.iter().all(|tried| tried.answer.as_ref().err() == Some(&NoAnswer::Untrusted)));
    assert_eq!(receiver.count("/hook"), 1, "the distrustful one sent nothing");
}

#[test]
fn a_created_task_leads_to_the_callbacks_of_its_calls() {
    let receiver = receiver(&[503]);
    let sender = sender(|options| {
        (options.callback_url, options.seal_callbacks) = (Some(hook(&receiver)), true);
        options.call_time = Duration::ZERO;
        options.keep = Keep::Everything;
    });
    let mut client = Client::plain(&sender);
    let token = authorization(&mut client);
    let body = json!({
        "TaskName": "还款提醒", "RepeatNumber": 2, "RepeatInterval": 3,
        "Details": [
            { "CalleeNumber": "+6281200000001", "Name": "Siti" }, { "CalleeNumber": "+6281200000010" },
            { "CalleeNumber": "+6281200000002" }, { "CalleeNumber": "+6281200000020" },
        ],
    });
    let headers = [("Authorization", token.as_str())];
    let answer = client.call("POST /service/cloud/task", &headers, body.to_string().as_bytes());
    let id = answer.json()["data"]["TaskID"].clone();
    wait_until(&sender, "all three are acknowledged", |sender| {
        sender.callbacks().iter().filter(|tried| tried.acknowledged()).count() == 3
    });
    let arrived: Vec<Value> =
        receiver.requests().iter().filter(|request| request.status == Some(200)).map(opened).collect();
    assert!(arrived.iter().all(|told| told["task_id"] == id && told["task_name"] == "还款提醒"), "{arrived:?}");
    let callees = |result: &str| {
        let mut callees: Vec<Vec<&str>> = arrived
            .iter()
            .filter_map(|told| told["details"].as_array())
            .filter(|calls| calls.iter().all(|call| call["result"] == result))
            .map(|calls| calls.iter().filter_map(|call| call["callee"].as_str()).collect())
            .collect();
        callees.sort();
        callees
    };
    assert_eq!(callees("finished"), [["+6281200000001"], ["+6281200000002"]], "each alone");
    assert_eq!(callees("unanswered"), [["+6281200000010", "+6281200000020"]], "together");
    let aggregated = sender.callbacks().iter().filter(|tried| tried.callback == 3).map(|tried| tried.at).min();
    assert!(aggregated >= Some(MINUTE * 6), "after two redials, three minutes apart: {aggregated:?}");
}

#[test]
fn callbacks_are_ordered_and_looked_at_over_http() {
    let receiver = receiver(&[500]);
    let sender = sender(|options| options.callback_url = Some(hook(&receiver)));
    let mut client = Client::plain(&sender);
    let mut order = |body: Value| client.call("POST /_sim/callback", &[], body.to_string().as_bytes()).status;
    assert_eq!(order(json!({ "sample": "agent_status", "sealed": true })), 200);
    wait_until(&sender, "it is acknowledged", |sender| sender.callbacks().len() == 2);
    assert_eq!(order(json!({ "body": { "a": 1 }, "copies": 2 })), 200);
    wait_until(&sender, "both are acknowledged", |sender| sender.callbacks().len() == 4);
    for wrong in [
        json!({}),
        json!({ "sample": "agent_status", "body": 1 }),
        json!({ "sample": "nothing" }),
        json!({ "body": 1, "url": "https://127.0.0.1/" }),
        json!({ "body": 1, "copies": 101 }),
    ] {
        assert_eq!(order(wrong.clone()), 400, "{wrong}");
    }
    let tries = client.call("GET /_sim/callbacks", &[], b"").json()["data"]["tries"].clone();
    let statuses: Vec<_> = tries.as_array().expect("tries").iter().map(|tried| tried["status"].clone()).collect();
    assert_eq!(statuses, [500, 200, 200, 200]);
    assert_eq!(opened(&receiver.requests()[1])["type"], "AgentStatus");
    assert_eq!(receiver.requests()[2].body, r#"{"a":1}"#);
    assert_eq!(client.call("POST /_sim/clear", &[], b"").status, 200);
    assert!(sender.callbacks().is_empty());
}
