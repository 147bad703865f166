//! Logins at the simulated platform, and what becomes of their tokens.

use airudder_gateway::simulator::{RefusalStyle, Simulator};
use serde_json::json;

use super::client::Client;
use super::{KEY, LOGIN, authorization, start};

#[test]
fn a_login_shows_the_pair_as_json_or_as_a_form() {
    let simulator = start(|options| options.key_pair = ("k&=".into(), "s+s".into()));
    let mut client = Client::plain(&simulator);
    for (body, status) in [
        (r#"{"APPKey":"k&=","APPSecret":"s+s"}"#, 200),
        ("APPKey=k%26%3D&APPSecret=s%2Bs", 200),
        ("APPKey=k%26%3D&APPSecret=s+s", 401),
        (r#"{"APPKey":"k&=","APPSecret":"other"}"#, 401),
        (r#"{"APPKey":"k&="}"#, 401),
        ("{", 401),
    ] {
        let reply = client.call("POST /service/cloud/auth", &[], body.as_bytes());
        assert_eq!((reply.status, &reply.json()["code"]), (status, &json!(status)), "{body}");
        let token = reply.json()["data"]["token"].as_str().map(str::len);
        assert_eq!(token, (status == 200).then_some(64), "{body}");
    }
    assert_eq!(simulator.logins(), 6);
    assert_eq!(simulator.tokens().len(), 2);
}

#[test]
fn a_call_needs_a_living_token() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let first = authorization(&mut client);
    let second = authorization(&mut client);
    let bearer = first.replace("Token", "Bearer");
    let mut status = |headers: &[(&str, &str)]| client.call("GET /service/cloud/list", headers, b"").status;
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("Authorization", "Token nonsense")]), 401);
    for good in [&first, &second, &bearer] {
        assert_eq!(status(&[("Authorization", good)]), 200);
    }
    let issued = format!("Token {}", simulator.issue_token());
    assert_eq!(status(&[("Authorization", &issued)]), 200);
    simulator.revoke_tokens();
    for dead in [&first, &second, &bearer, &issued] {
        assert_eq!(status(&[("Authorization", dead)]), 401);
    }
    assert_eq!(simulator.count("/service/cloud/list"), 10);
}

#[test]
fn a_dead_token_is_refused_in_the_chosen_style() {
    for (style, status, sealed) in [
        (RefusalStyle::Http401, 401, false),
        (RefusalStyle::Ok200, 200, false),
        (RefusalStyle::Sealed200, 200, true),
        (RefusalStyle::Sealed401, 401, true),
    ] {
        let simulator = start(|options| options.refusal = style);
        let reply = Client::plain(&simulator).call("GET /service/cloud/robot", &[], b"");
        assert_eq!(reply.status, status);
        let answer = if sealed { reply.opened(KEY) } else { reply.json() };
        assert_eq!(answer["code"], 401, "{style:?}");
    }
}

#[test]
fn the_call_centre_has_its_own_tokens_and_codes() {
    let simulator = start(|options| options.token_life = std::time::Duration::ZERO);
    let mut client = Client::plain(&simulator);
    let mut code = |authorization: &str| {
        let headers = [("Authorization", authorization)];
        let reply = client.call("POST /service/callcenter/call/predict/createtask", &headers, b"{}");
        assert_eq!(reply.status, 200, "always");
        reply.json()["code"].as_i64()
    };
    let cloud = format!("Token {}", simulator.issue_token());
    assert_eq!((code(""), code("Token x"), code(&cloud)), (Some(10810), Some(10811), Some(10812)));
    let login = |simulator: &Simulator| {
        let mut client = Client::plain(simulator);
        let reply = client.call("POST /service/callcenter/call/predict/auth", &[], LOGIN.as_bytes());
        assert_eq!(reply.json()["code"], 0);
        format!("Token {}", reply.json()["body"]["token"].as_str().expect("a token"))
    };
    assert_eq!(code(&login(&simulator)), Some(10813), "it lived for no time at all");

    let simulator = start(|_| {});
    let (token, mut client) = (login(&simulator), Client::plain(&simulator));
    let call = "POST /service/callcenter/call/predict/createtask";
    let reply = client.call(call, &[("Authorization", &token)], br#"{"taskName":"t"}"#);
    assert_eq!((&reply.json()["code"], &reply.json()["body"]["taskName"]), (&json!(0), &json!("t")));
}

#[test]
fn one_operation_has_headers_of_its_own_in_place_of_a_token() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let mut call = |headers: &[(&str, &str)]| {
        let body = br#"{"header":{"payloadVersion":0,"traceId":"t1"},"payload":{"procInstId":"","taskKey":""}}"#;
        client.call("POST /api/v1/process/queryTaskQian", headers, body)
    };
    assert_eq!(call(&[("token", "any")]).status, 401);
    let reply = call(&[("token", "any"), ("tenantId", "one")]);
    let expected = json!({ "data": { "read": [], "unRead": [] }, "msg": "", "retcode": 0, "traceId": "t1" });
    assert_eq!((reply.status, reply.json()), (200, expected));
}
