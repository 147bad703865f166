//! The simulated platform through its front door: bytes in, bytes out.

mod callbacks;
mod client;
mod faults;
mod tokens;

use airudder_gateway::simulator::{Keep, Options, SealAnswers, Simulator, recording_bytes};
use serde_json::{Value, json};

use client::{Client, request, seal, sha256};

const KEY: &str = "airudderredduria";
const LOGIN: &str = r#"{"APPKey":"demo-key","APPSecret":"demo-secret"}"#;

fn start(change: impl FnOnce(&mut Options)) -> Simulator {
    let mut options = Options::default();
    change(&mut options);
    Simulator::start_in_thread(options).expect("starting")
}

/// `Token …`, from a login of the `/service/cloud` family.
fn authorization(client: &mut Client) -> String {
    let reply = client.call("POST /service/cloud/auth", &[], LOGIN.as_bytes());
    assert_eq!((reply.status, &reply.json()["code"], &reply.json()["status"]), (200, &json!(200), &json!("OK")));
    format!("Token {}", reply.json()["data"]["token"].as_str().expect("a token"))
}

#[test]
fn the_published_vector_is_opened_and_its_answer_is_sealed() {
    let vectors: Value = serde_json::from_str(include_str!("../../data/vectors.json")).expect("vectors");
    let vector = &vectors["aes_ecb_zero"][0];
    let text = |name: &str| vector[name].as_str().expect("text");
    assert_eq!((text("source"), text("key")), ("platform", KEY));

    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let authorization = authorization(&mut client);
    let target = format!("GET /service/cloud/detail?{}", text("ciphertext_base64"));
    let headers = [("Authorization", authorization.as_str()), ("Is-Encrypted", "1"), ("Signed", text("signed"))];
    let reply = client.call(&target, &headers, b"");
    assert_eq!(reply.status, 200);
    let answer = reply.opened(KEY);
    assert_eq!(answer["code"], 200);
    assert_eq!(answer["data"]["TaskID"], "69f531a01a9df58aa6de2487be610abb");

    let arrived = simulator.requests().pop().expect("it arrived");
    assert_eq!(arrived.query.as_deref(), Some(text("ciphertext_base64")), "as on the wire");
    assert_eq!(arrived.opened.as_deref(), Some(text("plaintext").as_bytes()));
    assert_eq!((arrived.status, arrived.connection, arrived.sealed()), (Some(200), 1, true));
}

#[test]
fn a_sealed_task_with_a_chinese_name_is_understood() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let authorization = authorization(&mut client);
    let body = json!({
        "TaskName": "还款提醒",
        "Details": [{ "CalleeNumber": "+6281234567890" }, "not a detail"],
    })
    .to_string();
    let (text, signed) = (seal(KEY, body.as_bytes()), sha256(body.as_bytes()));
    let headers = [("Authorization", authorization.as_str()), ("Is-Encrypted", "1"), ("Signed", &signed)];
    let answer = client.call("POST /service/cloud/task", &headers, text.as_bytes()).opened(KEY);
    let id = answer["data"]["TaskID"].as_str().expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(answer["data"]["detail_error_list"].as_array().map(Vec::len), Some(1), "it succeeded partly");

    let detail = client.call(&format!("GET /service/cloud/detail?TaskID={id}"), &headers[..1], b"");
    assert_eq!(detail.header("is-encrypted"), None, "a plain call has a plain answer");
    assert_eq!(detail.json()["data"]["TaskName"], "还款提醒");

    let arrived = &simulator.requests()[1];
    assert_eq!(arrived.body, text.as_bytes(), "as on the wire");
    assert_eq!(arrived.opened.as_deref(), Some(body.as_bytes()));
    assert_eq!(simulator.connections(), 1);
}

#[test]
fn what_does_not_open_is_refused() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let authorization = authorization(&mut client);
    let plain = br#"{"TaskName":"t"}"#;
    let (text, signed) = (seal(KEY, plain), sha256(plain));
    let other = seal("airudderreddurib", plain);
    let spoilt = text.replacen(&text[4..5], "*", 1);
    for (what, text, signed) in [
        ("wrong digest", text.as_str(), sha256(b"other").as_str()),
        ("no digest", &text, ""),
        ("other key", &other, &signed),
        ("bad base64", &spoilt, &signed),
        ("half a block", &text[..text.len() - 4], &signed),
        ("plain text", "{}", &signed),
    ] {
        let mut headers = vec![("Authorization", authorization.as_str()), ("Is-Encrypted", "1")];
        if !signed.is_empty() {
            headers.push(("Signed", signed));
        }
        let reply = client.call("POST /service/cloud/task", &headers, text.as_bytes());
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!(400)), "{what}");
        assert_eq!(simulator.requests().pop().and_then(|arrived| arrived.opened), None, "{what}");
    }
    let headers = [("Authorization", authorization.as_str()), ("Is-Encrypted", "1"), ("Signed", &signed)];
    assert_eq!(client.call("POST /service/cloud/task", &headers, text.as_bytes()).status, 200, "the good one");
    let nothing = sha256(b"");
    let marked = [headers[0], headers[1], ("Signed", nothing.as_str())];
    assert_eq!(client.call("GET /service/cloud/list", &marked, b"").status, 200, "marked, with nothing to seal");
    assert_eq!(client.call("GET /service/cloud/list", &headers, b"").status, 400, "nothing, with another digest");
}

#[test]
fn a_refused_call_is_opened_all_the_same_so_that_replays_can_be_compared() {
    let simulator = start(|_| {});
    let (text, signed) = (seal(KEY, b"{}"), sha256(b"{}"));
    let headers = [("Is-Encrypted", "1"), ("Signed", signed.as_str())];
    let reply = Client::plain(&simulator).call("POST /service/cloud/task", &headers, text.as_bytes());
    assert_eq!(reply.status, 401);
    assert_eq!(simulator.requests()[0].opened.as_deref(), Some(b"{}".as_slice()));
}

#[test]
fn answers_are_sealed_as_the_options_say() {
    for (seal_answers, after_plain, after_sealed) in
        [(SealAnswers::AsAsked, false, true), (SealAnswers::Always, true, true), (SealAnswers::Never, false, false)]
    {
        let simulator = start(|options| options.seal_answers = seal_answers);
        let mut client = Client::plain(&simulator);
        let authorization = authorization(&mut client);
        let signed = sha256(b"a=b");
        let headers = [("Authorization", authorization.as_str()), ("Is-Encrypted", "1"), ("Signed", &signed)];
        let mut sealed =
            |target: &str, headers: &[(&str, &str)]| client.call(target, headers, b"").header("is-encrypted").is_some();
        assert_eq!(sealed("GET /service/cloud/list", &headers[..1]), after_plain, "{seal_answers:?}");
        let target = format!("GET /service/cloud/list?{}", seal(KEY, b"a=b"));
        assert_eq!(sealed(&target, &headers), after_sealed, "{seal_answers:?}");
    }
    let simulator = start(|options| options.require_sealed = true);
    let mut client = Client::plain(&simulator);
    let authorization = authorization(&mut client);
    assert_eq!(client.call("GET /service/cloud/list", &[("Authorization", &authorization)], b"").status, 400);
}

#[test]
fn every_known_operation_answers_and_no_other() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let token = authorization(&mut client);
    let headers = [("Authorization", token.as_str())];
    for (start, body, field, expected) in [
        ("POST /service/cloud/v2/task", r#"{"TaskName":"a"}"#, "/data/TaskName", json!("a")),
        ("POST /service/cloud/operation", r#"{"TaskID":"t"}"#, "/data/TaskID", json!("t")),
        ("POST /service/cloud/cancelphonecall", r#"{"TaskID":"t","CalleeNumber":"1"}"#, "/data/TaskID", json!("t")),
        ("GET /service/cloud/list", "", "/data/List/0/TaskName", json!("a")),
        ("POST /service/cloud/detail?TaskID=t", "", "/data/TaskID", json!("t")),
        ("GET /service/cloud/robot", "", "/data/0/RobotName", json!("Reminder")),
        ("GET /service/cloud/case?TaskID=t&Callee=%2B62", "", "/data/Callee", json!("+62")),
        ("GET /service/cloud/case?TaskID=t&Callee=+62", "", "/code", json!(400)),
        ("GET /service/cloud/detail", "", "/code", json!(400)),
        ("POST /service/cloud/workflow/createinstance", r#"{"name":"w"}"#, "/data/name", json!("w")),
        ("POST /service/cloud/workflow/uploaddetails", r#"{"details":[{},{}]}"#, "/data/accepted", json!(2)),
        ("POST /service/cloud/workflow/taskdetail", r#"{"workflow_id":"w"}"#, "/data/workflow_id", json!("w")),
        ("POST /service/cloud/workflow/detailinstances", r#"{"callee":"c"}"#, "/data/rows/0/callee", json!("c")),
        ("POST /service/sms/message/v2/send", r#"{"to":["1","2"]}"#, "/body/accepted", json!(2)),
    ] {
        let reply = client.call(start, &headers, body.as_bytes());
        assert_eq!((reply.status, reply.json().pointer(field)), (200, Some(&expected)), "{start}");
    }
    let archive = client.call("GET /service/cloud/recording", &headers, b"");
    assert_eq!((archive.header("content-type"), &archive.body[..2]), (Some("application/zip"), b"PK".as_slice()));
    for unknown in ["GET /service/cloud/plan", "GET /", "GET /_sim/nothing", "POST /service/callcenter/x"] {
        let reply = client.call(unknown, &headers, b"");
        let expected = if unknown.contains("callcenter") { (200, json!(10812)) } else { (404, json!(404)) };
        assert_eq!((reply.status, reply.json()["code"].clone()), expected, "{unknown}");
    }
}

#[test]
fn a_recording_comes_whole_in_ranges_and_not_at_all() {
    let size = 5_000_000;
    let simulator = start(|options| options.recording_size = size);
    let mut client = Client::plain(&simulator);
    let token = authorization(&mut client);
    let call = "GET /service/cloud/case?TaskID=t&Callee=62";
    let link = client.call(call, &[("Authorization", &token)], b"").json()["data"]["link"].clone();
    let path = link.as_str().and_then(|link| link.strip_prefix(&simulator.url())).expect("a link to here").to_owned();

    let whole = client.call(&format!("GET {path}"), &[], b"");
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("audio/mpeg")));
    assert!(whole.body == recording_bytes(0..size), "the bytes are those of a recording");
    let tag = whole.header("etag").expect("a tag").to_owned();

    let part = client.call(&format!("GET {path}"), &[("Range", "bytes=4096-70000")], b"");
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 4096-70000/5000000")));
    assert!(part.body == whole.body[4096..70_001]);
    let old = client.call(&format!("GET {path}"), &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")], b"");
    assert_eq!((old.status, old.body.len()), (200, 5_000_000));
    let beyond = client.call(&format!("GET {path}"), &[("Range", "bytes=5000000-")], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */5000000")));

    let head = client.call(&format!("HEAD {path}"), &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5000000")));
    let known = client.call(&format!("GET {path}"), &[("If-None-Match", &tag)], b"");
    assert_eq!((known.status, known.header("etag")), (304, Some(tag.as_str())));
    assert_eq!(client.call(&format!("POST {path}"), &[], b"x").status, 405);
}

#[test]
fn probes_answer_in_every_shape() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    let token = authorization(&mut client);
    let headers = [("Authorization", token.as_str()), ("X-One", "1")];
    let echo = client.call("PUT /_sim/echo?a=b%20c", &headers, b"body");
    let data = &echo.json()["data"];
    assert_eq!(
        (&data["method"], &data["path"], &data["query"]),
        (&json!("PUT"), &json!("/_sim/echo"), &json!("a=b%20c"))
    );
    assert_eq!(data["body"], json!({ "length": 4, "sha256": sha256(b"body") }));
    assert!(data["headers"].as_array().expect("headers").contains(&json!(["x-one", "1"])));
    assert!(!echo.text().contains(&token[6..]), "a token is never echoed");

    let gzipped = client.call("GET /_sim/gzip", &headers, b"");
    assert_eq!((gzipped.header("content-encoding"), &gzipped.body[..2]), (Some("gzip"), b"\x1f\x8b".as_slice()));
    let chunked = client.call("GET /_sim/chunked", &headers, b"");
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert_eq!(chunked.json()["data"]["path"], "/_sim/chunked");
    for size in [44, 1000, 1 << 20] {
        assert_eq!(client.call(&format!("GET /_sim/answer/{size}"), &headers, b"").body.len(), size);
    }
    for status in [204, 304, 418, 503] {
        let reply = client.call(&format!("GET /_sim/status/{status}"), &headers, b"");
        assert_eq!((reply.status, reply.body.is_empty()), (status, status < 400));
    }
    assert_eq!(simulator.connections(), 1, "all of them kept the connection");
    let closed = client.call("GET /_sim/close", &headers, b"");
    assert_eq!((closed.header("content-length"), closed.header("connection")), (None, Some("close")));
    assert_eq!(closed.json()["data"]["path"], "/_sim/close");
    assert!(client.is_ended());

    let mut client = Client::plain(&simulator);
    let signed = sha256(b"q=1");
    let sealed = [headers[0], ("Is-Encrypted", "1"), ("Signed", signed.as_str())];
    for probe in ["echo", "chunked", "close"] {
        let reply = client.call(&format!("GET /_sim/{probe}?{}", seal(KEY, b"q=1")), &sealed, b"");
        assert_eq!(reply.opened(KEY)["data"]["opened"], json!({ "length": 3, "sha256": signed }), "{probe}");
    }
}

#[test]
fn requests_are_remembered_as_they_came() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    client.call("POST /service/cloud/task?a", &[("x-ODD", " v "), ("X-Odd", "w"), ("Is-Encrypted", "0")], b"body");
    client
        .write(b"POST /a HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_eq!(client.reply(false).map(|reply| reply.status), Some(401));
    let [first, second] = simulator.requests().try_into().expect("two requests");
    let names: Vec<_> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "x-ODD", "X-Odd", "Is-Encrypted", "Content-Length"]);
    assert_eq!(first.headers_named("x-odd").collect::<Vec<_>>(), ["v", "w"]);
    assert_eq!(
        (first.method.as_str(), first.query.as_deref(), &first.body[..]),
        ("POST", Some("a"), b"body".as_slice())
    );
    assert_eq!(second.headers[1], ("Transfer-Encoding".into(), "chunked".into()), "on a connection in use too");
    assert_eq!((second.path.as_str(), &second.body[..], second.body_len), ("/a", b"abcdefg".as_slice(), 7));
    assert_eq!((second.complete, second.status, second.connection), (true, Some(401), 1));
    let printed = format!("{first:?}");
    assert!(printed.contains("POST") && !printed.contains("body\""), "{printed}");

    simulator.clear();
    assert_eq!((simulator.requests().len(), simulator.count("/a"), simulator.connections()), (0, 0, 0));
    client.call("GET /a", &[], b"");
    assert_eq!((simulator.requests().len(), simulator.count("/a")), (1, 1));
}

#[test]
fn memory_is_bounded() {
    let simulator = start(|options| {
        options.keep_body = 1000;
        options.keep_requests = 3;
    });
    let mut client = Client::plain(&simulator);
    for size in [1000, 1001, 300_000] {
        let reply = client.call("POST /_sim/echo", &[], &vec![b'x'; size]);
        assert_eq!(reply.status, if size > 1000 { 413 } else { 401 }, "{size}");
        let arrived = simulator.requests().pop().expect("it arrived");
        let kept = if size > 1000 { 0 } else { size };
        assert_eq!((arrived.body.len(), arrived.body_len, arrived.complete), (kept, size as u64, true));
    }
    client.call("GET /last", &[], b"");
    let paths: Vec<_> = simulator.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/_sim/echo", "/_sim/echo", "/last"]);

    let simulator = start(|options| options.keep = Keep::Counters);
    let mut client = Client::plain(&simulator);
    client.call("POST /a", &[], b"body");
    client.call("POST /service/cloud/auth", &[], LOGIN.as_bytes());
    assert_eq!((simulator.requests().len(), simulator.count("/a"), simulator.logins()), (0, 1, 1));
}

#[test]
fn a_program_may_ask_before_it_sends_a_body() {
    let simulator = start(|_| {});
    let mut client = Client::plain(&simulator);
    client.write(&request("POST /a", &[("Expect", "100-continue"), ("Content-Length", "4")], b""));
    assert_eq!(client.reply(false).map(|reply| reply.status), Some(100));
    client.write(b"body");
    assert_eq!(client.reply(false).map(|reply| reply.status), Some(401));
    assert_eq!(&simulator.requests()[0].body[..], b"body");
}

#[test]
fn tls_is_trusted_by_its_authority_and_for_its_names_only() {
    let simulator = start(|options| options.tls = true);
    let ca = simulator.ca_pem().expect("an authority").to_owned();
    assert!(simulator.url().starts_with("https://127.0.0.1:"), "{}", simulator.url());
    for name in ["127.0.0.1", "localhost"] {
        let mut client = Client::tls(&simulator, &ca, name).expect("a handshake");
        authorization(&mut client);
    }
    assert!(Client::tls(&simulator, &ca, "platform.example").is_err(), "another name");
    let other = start(|options| options.tls = true);
    assert!(Client::tls(&simulator, other.ca_pem().expect("an authority"), "localhost").is_err(), "another authority");
    let named = start(|options| {
        options.tls = true;
        options.tls_names = vec!["platform.example".into()];
    });
    let ca = named.ca_pem().expect("an authority");
    assert!(Client::tls(&named, ca, "platform.example").is_ok());
    assert!(Client::tls(&named, ca, "localhost").is_err());
}

#[test]
fn a_key_that_does_not_fit_and_an_address_in_use_are_errors() {
    let taken = start(|_| {});
    let options = Options { listen: taken.address(), ..Options::default() };
    assert!(Simulator::start_in_thread(options).is_err());
    let short = airudder_gateway::secret::Secret::new("canary-short");
    let cipher = Some((airudder_gateway::config::Scheme::EcbZero, short));
    let error = Simulator::start_in_thread(Options { cipher, ..Options::default() }).err().expect("refused");
    assert!(error.to_string().contains("12 bytes") && !error.to_string().contains("canary"), "{error}");
}

#[tokio::test]
async fn it_stops_when_told_to_and_when_forgotten() {
    let refused = async |address| tokio::net::TcpStream::connect(address).await.is_err();
    let simulator = Simulator::start(Options::default()).await.expect("starting");
    let address = simulator.address();
    let open = tokio::net::TcpStream::connect(address).await.expect("connecting");
    simulator.until(|simulator| simulator.open_connections() == 1).await;
    let other = simulator.clone();
    simulator.stop().await;
    assert!(refused(address).await, "nobody listens");
    assert_eq!(other.open_connections(), 0, "what was open is cut");
    drop(open);

    let threaded = start(|_| {});
    let address = threaded.address();
    threaded.stop().await;
    assert!(refused(address).await);

    let forgotten = start(|_| {});
    let address = forgotten.address();
    drop(forgotten);
    while !refused(address).await {
        tokio::task::yield_now().await;
    }
}
