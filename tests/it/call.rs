//! A call, end to end: plain in, sealed on the wire, plain out.

use airudder_gateway::simulator::{Options, Simulator};

use crate::support::Setup;

#[test]
fn a_get_is_sealed_by_its_query_and_its_answer_comes_back_plain() {
    let platform = Simulator::start_in_thread(Options::default()).expect("a platform");
    let gateway = Setup::default().start(&platform);

    let answer = gateway.client().get("/service/cloud/detail?TaskID=69f531a01a9df58aa6de2487be610abb");

    assert_eq!(answer.status, 200, "{}", gateway.printed());
    assert_eq!(answer.json()["code"], 200);
    assert_eq!(answer.header("is-encrypted"), None);
    assert_eq!(answer.header("signed"), None);
    let arrived =
        platform.requests().into_iter().find(|request| request.path == "/service/cloud/detail").expect("it arrived");
    // The platform's own published vector, literally on the wire.
    assert_eq!(arrived.query.as_deref(), Some("qbj8cnqKnqR66qDS49ib9ymU1mpMCyp8Dm0gS1VvmnEqTxPGSBzruAU1sapP+cye"));
    assert_eq!(arrived.header("signed"), Some("6956d7af4c89b89f19f9ae0a8be4bcf12abe7c6ed893691733f3480ad3f3aabc"));
    assert_eq!(arrived.header("is-encrypted"), Some("1"));
}

#[test]
fn a_post_is_sealed_byte_for_byte() {
    let platform = Simulator::start_in_thread(Options::default()).expect("a platform");
    let gateway = Setup::default().start(&platform);
    let body = r#"{ "TaskName" : "陈小明",  "Details":[{"Callee":"+6281200000001"}] }"#;

    let answer = gateway.client().post("/service/cloud/task", body);

    assert_eq!(answer.status, 200, "{}", gateway.printed());
    assert_eq!(answer.json()["code"], 200);
    let arrived =
        platform.requests().into_iter().find(|request| request.path == "/service/cloud/task").expect("it arrived");
    assert_eq!(arrived.opened.as_deref(), Some(body.as_bytes()));
    assert_ne!(arrived.body, body.as_bytes());
    assert_eq!(arrived.header("content-type"), Some("application/json"));
}
