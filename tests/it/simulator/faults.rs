//! Each fault, as a client without mercy sees it; and the controls that ask for them over HTTP.

use std::time::Duration;

use airudder_gateway::simulator::{Fault, FaultKind, Page, Rest, Simulator};
use serde_json::json;

use super::client::{Client, Reply, request, seal, sha256};
use super::{KEY, authorization, start};

/// One sealed call on a connection of its own, with a good token; `None` when there was no answer.
fn sealed_call(simulator: &Simulator) -> Option<Reply> {
    sealed_call_on(simulator, &mut Client::plain(simulator))
}

fn sealed_call_on(simulator: &Simulator, client: &mut Client) -> Option<Reply> {
    let authorization = format!("Token {}", simulator.issue_token());
    let (body, signed) = (br#"{"TaskName":"t"}"#, sha256(br#"{"TaskName":"t"}"#));
    let headers = [("Authorization", authorization.as_str()), ("Is-Encrypted", "1"), ("Signed", signed.as_str())];
    client.write(&request("POST /service/cloud/task", &headers, seal(KEY, body).as_bytes()));
    client.reply(false)
}

/// What is waited for here comes at once; this only makes a broken test fail and not hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("what was waited for")
}

#[test]
fn a_status_comes_with_the_page_that_was_asked_for() {
    let simulator = start(|_| {});
    simulator.fault(Fault::status(500).times(2));
    simulator.fault(Fault::page(502, Page::Html));
    simulator.fault(Fault::page(200, Page::Empty));
    simulator.fault(Fault::page(200, Page::Html));
    simulator.fault(Fault::too_many(7));
    simulator.fault(FaultKind::Status { code: 500, page: Page::Json, retry_after: None, sealed: true });
    simulator.fault(Fault::code(500));
    simulator.fault(FaultKind::Redirect { location: "https://other.example/".into() });
    let mut client = Client::plain(&simulator);
    let mut next = || sealed_call_on(&simulator, &mut client).expect("an answer");
    for _ in 0..2 {
        let reply = next();
        assert_eq!((reply.status, &reply.json()["code"], reply.header("signed")), (500, &json!(500), None));
    }
    let reply = next();
    assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html")));
    assert!(reply.text().starts_with("<html>"));
    let reply = next();
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let reply = next();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html")));
    let reply = next();
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    let reply = next();
    assert_eq!((reply.status, &reply.opened(KEY)["code"]), (500, &json!(500)));
    let reply = next();
    assert_eq!((reply.status, &reply.opened(KEY)["code"]), (200, &json!(500)));
    let reply = next();
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://other.example/")));
    assert_eq!(next().status, 200, "the faults are used up");
    assert_eq!(simulator.connections(), 1, "none of them cost the connection");
}

#[test]
fn a_good_token_can_be_refused() {
    let simulator = start(|_| {});
    simulator.fault(FaultKind::Refuse);
    assert_eq!(sealed_call(&simulator).map(|reply| reply.status), Some(401));
    assert_eq!(sealed_call(&simulator).map(|reply| reply.status), Some(200));
}

#[test]
fn faults_strike_whom_they_are_for() {
    let simulator = start(|_| {});
    simulator.fault(Fault::status(503).on_auth());
    simulator.fault(Fault::status(504).on_path("/service/cloud/list").always());
    let mut client = Client::plain(&simulator);
    assert_eq!(client.call("GET /service/cloud/robot", &[], b"").status, 401);
    assert_eq!(client.call("POST /service/cloud/auth", &[], b"{}").status, 503);
    assert_eq!(client.call("POST /service/cloud/auth", &[], b"{}").status, 401);
    for _ in 0..3 {
        assert_eq!(client.call("GET /service/cloud/list", &[], b"").status, 504);
    }
    simulator.clear_faults();
    assert_eq!(client.call("GET /service/cloud/list", &[], b"").status, 401);
}

#[test]
fn the_seal_is_spoilt_in_every_way() {
    let simulator = start(|_| {});
    let good = sealed_call(&simulator).expect("an answer");
    let digest = |reply: &Reply| reply.header("signed").map(str::to_owned);
    assert_eq!(good.opened(KEY)["code"], 200);

    simulator.fault(FaultKind::Unsealed);
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!((reply.header("is-encrypted"), digest(&reply)), (None, None));
    assert_eq!(reply.json()["code"], 200);

    simulator.fault(FaultKind::NoDigest);
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!((reply.header("is-encrypted"), digest(&reply)), (Some("1"), None));

    simulator.fault(FaultKind::WrongDigest);
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!(digest(&reply), Some(sha256(b"something else")));
    assert!(reply.body.len() == good.body.len() && !reply.body.contains(&b'*'));

    simulator.fault(FaultKind::BadBase64);
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!(reply.body.iter().filter(|byte| **byte == b'*').count(), 1);

    simulator.fault(FaultKind::Shortened { to: 20 });
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!((reply.body.len(), reply.whole), (20, true), "the length is that of what is left");

    // Two answers to the same question, so that only the key is left to differ.
    let token = format!("Token {}", simulator.issue_token());
    let robots = |simulator: &Simulator| {
        let signed = sha256(b"a=b");
        let headers = [("Authorization", token.as_str()), ("Is-Encrypted", "1"), ("Signed", signed.as_str())];
        let target = format!("GET /service/cloud/robot?{}", seal(KEY, b"a=b"));
        Client::plain(simulator).call(&target, &headers, b"")
    };
    let good = robots(&simulator);
    simulator.fault(FaultKind::OtherKey);
    let other = robots(&simulator);
    assert_eq!((digest(&good), good.body.len()), (digest(&other), other.body.len()));
    assert_ne!(good.body, other.body);
}

#[test]
fn a_connection_is_cut_before_any_answer() {
    let simulator = start(|_| {});
    for reset in [false, true] {
        simulator.fault(FaultKind::CutBeforeAnswer { reset });
        assert!(sealed_call(&simulator).is_none());
        let arrived = simulator.requests().pop().expect("it arrived");
        assert_eq!((arrived.complete, arrived.status), (true, None));
        assert!(!arrived.body.is_empty(), "it was read whole");

        simulator.fault(FaultKind::CutBeforeBody { reset });
        let mut client = Client::plain(&simulator);
        client.write(&request("POST /service/cloud/task", &[("Content-Length", "10")], b""));
        assert!(client.reply(false).is_none());
        let arrived = simulator.requests().pop().expect("its header arrived");
        assert_eq!((arrived.complete, arrived.body_len, arrived.status), (false, 0, None));
    }
    assert_eq!(simulator.count("/service/cloud/task"), 4);
}

#[test]
fn an_answer_is_cut_in_the_middle() {
    let simulator = start(|options| options.recording_size = 1_000_000);
    simulator.fault(FaultKind::CutMidAnswer { after: 20, reset: false });
    let reply = sealed_call(&simulator).expect("its header");
    assert_eq!((reply.status, reply.body.len(), reply.whole), (200, 20, false));
    assert!(
        reply.header("content-length").and_then(|length| length.parse().ok()).is_some_and(|length: u32| length > 20)
    );

    simulator.fault(FaultKind::CutMidAnswer { after: 300_000, reset: false });
    let reply = Client::plain(&simulator).call("GET /recordings/a.mp3", &[], b"");
    assert_eq!((reply.header("content-length"), reply.body.len()), (Some("1000000"), 300_000));

    simulator.fault(FaultKind::CutMidAnswer { after: 1_000_000_000, reset: false });
    let reply = Client::plain(&simulator).call("GET /recordings/a.mp3", &[], b"");
    assert_eq!((reply.body.len(), reply.whole), (999_999, false), "never all of it");

    simulator.fault(FaultKind::CutMidAnswer { after: 0, reset: true });
    assert!(sealed_call(&simulator).is_none_or(|reply| !reply.whole && reply.body.is_empty()));
}

#[test]
fn an_answer_is_cut_over_tls_too() {
    let simulator = start(|options| options.tls = true);
    let ca = simulator.ca_pem().expect("an authority");
    for kind in [
        FaultKind::CutMidAnswer { after: 20, reset: false },
        FaultKind::CutBeforeAnswer { reset: false },
        FaultKind::CutBeforeAnswer { reset: true },
        FaultKind::CloseAfter,
    ] {
        simulator.fault(kind.clone());
        let mut client = Client::tls(&simulator, ca, "localhost").expect("a handshake");
        let reply = sealed_call_on(&simulator, &mut client);
        match kind {
            FaultKind::CloseAfter => assert_eq!(reply.expect("an answer").opened(KEY)["code"], 200),
            FaultKind::CutMidAnswer { .. } => {
                let reply = reply.expect("a header");
                assert_eq!((reply.body.len(), reply.whole), (20, false));
            }
            _ => assert!(reply.is_none(), "{kind:?}"),
        }
        assert!(client.is_ended(), "{kind:?}");
    }
}

#[test]
fn a_connection_closes_after_an_answer_that_did_not_say_so() {
    let simulator = start(|_| {});
    simulator.fault(FaultKind::CloseAfter);
    let mut client = Client::plain(&simulator);
    let reply = sealed_call_on(&simulator, &mut client).expect("an answer");
    assert_eq!(reply.opened(KEY)["code"], 200);
    assert_eq!((reply.whole, reply.header("connection")), (true, None));
    assert!(reply.header("content-length").is_some());
    assert!(client.is_ended());
}

#[tokio::test]
async fn an_early_answer_comes_before_the_body() {
    let simulator = start(|_| {});
    let head = request("POST /service/cloud/task", &[("Content-Length", "10")], b"");
    simulator.fault(FaultKind::Early { rest: Rest::Close });
    let mut client = Client::plain(&simulator);
    client.write(&head);
    let reply = client.reply(false).expect("an answer");
    assert_eq!((reply.status, reply.header("connection")), (413, Some("close")));
    assert!(client.is_ended());

    simulator.fault(FaultKind::Early { rest: Rest::KeepReading });
    let mut client = Client::plain(&simulator);
    client.write(&head);
    assert_eq!(client.reply(false).map(|reply| reply.status), Some(413));
    client.write(b"0123456789");
    soon(simulator.until(|simulator| simulator.requests().pop().is_some_and(|early| early.complete))).await;
    assert_eq!(client.call("GET /next", &[], b"").status, 401, "the connection stayed");
    let requests = simulator.requests();
    let [.., early, next] = requests.as_slice() else { panic!("three requests") };
    assert_eq!((&early.body[..], early.complete), (b"0123456789".as_slice(), true));
    assert_eq!((early.connection, next.connection), (2, 2));
}

#[test]
fn an_answer_trickles_or_never_ends() {
    let simulator = start(|_| {});
    simulator.fault(FaultKind::Trickle { ms: 0 });
    let reply = sealed_call(&simulator).expect("an answer");
    assert_eq!((reply.whole, &reply.opened(KEY)["code"]), (true, &json!(200)));

    simulator.fault(FaultKind::Endless);
    let mut client = Client::plain(&simulator);
    client.write(&request("GET /service/cloud/list", &[("Authorization", "Token x")], b""));
    assert!(client.read_at_least(3_000_000));
}

#[tokio::test]
async fn a_hanging_call_has_arrived_and_has_no_answer() {
    let simulator = Simulator::start(Default::default()).await.expect("starting");
    simulator.fault(Fault::hang());
    simulator.fault(FaultKind::Hang { ms: Some(1) });
    let hanging = {
        let simulator = simulator.clone();
        tokio::task::spawn_blocking(move || sealed_call(&simulator))
    };
    soon(simulator.arrived("/service/cloud/task", 1)).await;
    soon(simulator.until(|simulator| simulator.requests()[0].complete)).await;
    assert_eq!(simulator.requests()[0].status, None);
    let late = {
        let simulator = simulator.clone();
        tokio::task::spawn_blocking(move || sealed_call(&simulator)).await.expect("no panic")
    };
    assert_eq!(late.map(|reply| reply.status), Some(200), "it hung for a while only");
    simulator.stop().await;
    assert!(hanging.await.expect("no panic").is_none(), "it ended without an answer");
}

#[tokio::test]
async fn a_held_call_goes_on_when_it_is_released() {
    let simulator = start(|_| {});
    simulator.fault(Fault::new(FaultKind::Hold).times(2));
    for over_http in [false, true] {
        let held = {
            let simulator = simulator.clone();
            tokio::task::spawn_blocking(move || sealed_call(&simulator))
        };
        soon(simulator.arrived("/service/cloud/task", 1 + usize::from(over_http))).await;
        assert_eq!(simulator.requests().pop().and_then(|held| held.status), None);
        if over_http {
            Client::plain(&simulator).call("POST /_sim/release", &[], b"");
        } else {
            simulator.release();
        }
        let reply = soon(held).await.expect("no panic").expect("an answer");
        assert_eq!(reply.opened(KEY)["code"], 200);
    }
}

#[test]
fn an_answer_can_be_any_bytes() {
    let simulator = start(|_| {});
    simulator.fault(FaultKind::Raw { text: "HTTP/1.1 299 Odd\r\nContent-Length: 9\r\n\r\nshort".into() });
    let mut client = Client::plain(&simulator);
    let reply = sealed_call_on(&simulator, &mut client).expect("a header");
    assert_eq!((reply.status, reply.text(), reply.whole), (299, "short", false));
    assert!(client.is_ended());
}

#[tokio::test]
async fn idle_connections_close_on_demand_and_busy_ones_do_not() {
    let simulator = start(|_| {});
    simulator.fault(Fault::hang().on_path("/hang"));
    let (mut idle, mut busy) = (Client::plain(&simulator), Client::plain(&simulator));
    idle.call("GET /a", &[], b"");
    busy.write(&request("GET /hang", &[], b""));
    soon(simulator.arrived("/hang", 1)).await;
    assert_eq!(soon(simulator.close_idle()).await, 1);
    assert_eq!(simulator.open_connections(), 1);
    assert!(idle.is_ended());
    assert_eq!((soon(simulator.close_idle()).await, simulator.connections()), (0, 2));
}

#[test]
fn people_ask_for_faults_over_http() {
    let simulator = start(|_| {});
    let mut people = Client::plain(&simulator);
    let mut program = Client::plain(&simulator);
    let token = authorization(&mut program);
    let headers = [("Authorization", token.as_str())];

    let fault = br#"{"kind":"status","code":503,"on":"/service/cloud/list","times":2}"#;
    assert_eq!(people.call("POST /_sim/fault", &[], fault).json()["code"], 200);
    for status in [503, 503, 200] {
        assert_eq!(program.call("GET /service/cloud/list?n=1", &headers, b"").status, status);
    }
    let wrong = people.call("POST /_sim/fault", &[], br#"{"kind":"flood"}"#);
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["status"].as_str().is_some_and(|status| status.contains("expected one of")), "{wrong:?}");
    assert_eq!(people.call("POST /_sim/revoke", &[], b"").status, 200);
    assert_eq!(program.call("GET /service/cloud/list", &headers, b"").status, 401);
    assert_eq!(people.call("GET /_sim/revoke", &[], b"").status, 405);

    let seen = people.call("GET /_sim/requests", &[], b"");
    let data = &seen.json()["data"];
    assert_eq!((&data["logins"], &data["connections"]), (&json!(1), &json!(2)));
    let requests = data["requests"].as_array().expect("a list");
    assert_eq!(requests.len(), 5, "controls are not recorded");
    assert_eq!((&requests[1]["query"], &requests[1]["status"]), (&json!("n=1"), &json!(503)));
    for hidden in [&token[6..], "demo-secret"] {
        assert!(!seen.text().contains(hidden), "neither tokens nor pairs are shown");
    }

    assert_eq!(people.call("POST /_sim/close-idle", &[], b"").json()["data"]["closed"], 1);
    assert!(program.is_ended());
    people.call("POST /_sim/clear", &[], b"");
    assert_eq!(people.call("GET /_sim/requests", &[], b"").json()["data"]["requests"], json!([]));
}
