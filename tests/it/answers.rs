//! Answers: opened by their own header, passed on as they are when they are not sealed, and never guessed at.

use airudder_gateway::config::{Iv, Scheme};
use airudder_gateway::secret::Secret;
use airudder_gateway::simulator::{Fault, FaultKind, Options, Page, SealAnswers, Simulator};

use crate::support::gateway::KEY;
use crate::support::{Answer, Gateway, Setup, platform, platform_with};

const ECHO: &str = "/_sim/echo";
const TASK: &str = "/service/cloud/task";

#[test]
fn an_answer_that_does_not_open_is_one_error_whatever_the_reason() {
    let (platform, gateway) = with("");
    let spoiled = [
        ("digest", FaultKind::OtherKey),
        ("digest", FaultKind::WrongDigest),
        ("unsigned", FaultKind::NoDigest),
        ("base64", FaultKind::BadBase64),
        ("length", FaultKind::Shortened { to: 0 }),
        ("length", FaultKind::Shortened { to: 20 }),
        ("base64", FaultKind::Shortened { to: 21 }),
        ("digest", FaultKind::Shortened { to: 64 }),
    ];
    let mut told = vec![];
    for (reason, fault) in spoiled {
        for method in ["POST", "GET"] {
            platform.clear();
            platform.fault(fault.clone());
            let counter = format!("crypto_failures_total{{account=\"main\",reason=\"{reason}\"}}");
            let before = gateway.metric(&counter);

            let answer = call(&gateway, method, TASK, r#"{"TaskName":"MARKED"}"#);

            assert_unreadable(&answer, &format!("{method} {fault:?}"));
            assert_eq!(platform.count(TASK), 1, "{method} {fault:?}: it arrived, so it does not go again");
            assert_eq!(gateway.metric(&counter), before + 1.0, "{method} {fault:?}");
            let id = answer.header("x-request-id").expect("an id").to_owned();
            assert_eq!(gateway.log_line(|line| line["request_id"] == id)["reason"], reason, "{method} {fault:?}");
            told.push(without_id(&answer));
        }
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "the reasons are for the log and the metrics only");
    assert!(!gateway.printed().contains("MARKED"));
    assert_eq!(call(&gateway, "POST", TASK, "{}").status, 200, "and the next answer opens");
}

#[test]
fn a_cbc_answer_with_another_key_is_the_same_error() {
    for (iv, written) in
        [(Iv::Prefix, "\"prefix\""), (Iv::Fixed(*b"0102030405060708"), "{ fixed = \"0102030405060708\" }")]
    {
        let options = Options { cipher: Some((Scheme::CbcPkcs7(iv), Secret::new(KEY))), ..Options::default() };
        let platform = platform_with(options);
        let account =
            format!("encryption = {{ scheme = \"aes-cbc-pkcs7\", key = {{ env = \"AES_KEY\" }}, iv = {written} }}");
        let gateway = Setup { account, sealed: false, ..Setup::default() }.start(&platform).ready();
        assert_eq!(call(&gateway, "POST", TASK, r#"{"TaskName":"陈小明"}"#).json()["data"]["TaskName"], "陈小明");
        for fault in [FaultKind::OtherKey, FaultKind::WrongDigest, FaultKind::Shortened { to: 64 }] {
            platform.fault(fault.clone());
            assert_unreadable(&call(&gateway, "POST", TASK, "{}"), &format!("{fault:?}"));
        }
        let padding = gateway.metric("crypto_failures_total{account=\"main\",reason=\"padding\"}");
        let digest = gateway.metric("crypto_failures_total{account=\"main\",reason=\"digest\"}");
        assert_eq!(padding + digest, 3.0);
    }
}

#[test]
fn a_sealed_answer_without_a_key_to_open_it_is_the_same_error() {
    let platform = platform_with(Options { seal_answers: SealAnswers::Always, ..Options::default() });
    let gateway = Setup::unsealed().start(&platform).ready();
    assert_unreadable(&call(&gateway, "POST", TASK, "{}"), "no key");
    assert_eq!(gateway.metric("crypto_failures_total{account=\"main\",reason=\"no_key\"}"), 1.0);
}

#[test]
fn an_error_of_the_platform_is_opened_like_any_answer() {
    let (platform, gateway) = with("");
    for status in [400, 403, 404, 500, 503] {
        for sealed in [true, false] {
            platform.fault(FaultKind::Status { code: status, page: Page::Json, retry_after: Some(7), sealed });
            let answer = call(&gateway, "POST", ECHO, "{}");
            assert_eq!((answer.status, answer.word()), (status, None), "sealed {sealed}: {answer:?}");
            assert_eq!((&answer.json()["code"], answer.header("retry-after")), (&status.into(), Some("7")));
            assert_opened(&answer);
        }
    }
    platform.fault(Fault::code(1234));
    let answer = call(&gateway, "POST", ECHO, "{}");
    assert_eq!((answer.status, &answer.json()["code"]), (200, &1234.into()), "a failing code is the program's to read");
}

#[test]
fn what_is_not_sealed_passes_as_it_is_though_it_was_asked_sealed() {
    let (platform, gateway) = with("");
    for method in ["POST", "GET"] {
        platform.fault(FaultKind::Unsealed);
        let answer = call(&gateway, method, ECHO, "{}");
        assert_eq!((answer.status, &answer.json()["code"]), (200, &200.into()), "{answer:?}");

        platform.fault(Fault::page(200, Page::Html));
        let answer = call(&gateway, method, TASK, "{}");
        assert_eq!((answer.status, answer.header("content-type"), answer.word()), (200, Some("text/html"), None));
        let page = "<html><head><title>200 OK</title></head><body><h1>200 OK</h1></body></html>\r\n";
        assert_eq!(String::from_utf8_lossy(&answer.body), page);

        platform.fault(Fault::page(502, Page::Html));
        let answer = call(&gateway, method, TASK, "{}");
        assert_eq!((answer.status, answer.word(), answer.body.starts_with(b"<html>")), (502, None, true));

        platform.fault(Fault::page(200, Page::Empty));
        let answer = call(&gateway, method, TASK, "{}");
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("0"), 0));
    }
    platform.fault(FaultKind::Redirect { location: "https://elsewhere.example/".into() });
    let answer = call(&gateway, "GET", TASK, "");
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://elsewhere.example/")), "not followed");
}

#[test]
fn a_sealed_answer_opens_however_it_is_framed() {
    let (_platform, gateway) = with("");
    for path in ["/_sim/echo", "/_sim/gzip", "/_sim/chunked", "/_sim/close"] {
        for method in ["POST", "GET"] {
            let answer = call(&gateway, method, path, r#"{"Callee":"+6281200000001"}"#);
            assert_eq!((answer.status, &answer.json()["data"]["path"]), (200, &path.into()), "{method} {answer:?}");
            assert_opened(&answer);
        }
    }
    for size in [44, 1024, 70 * 1024, 5 * 1024 * 1024] {
        let answer = gateway.client().get(&format!("/_sim/answer/{size}?a=b"));
        assert_eq!((answer.status, answer.body.len()), (200, size));
        assert_opened(&answer);
    }
}

#[test]
fn a_head_of_a_sealed_answer_promises_no_ciphertext() {
    let (_platform, gateway) = with("");
    let mut program = gateway.client();
    let answer = program.send("HEAD /_sim/answer/1000?a=b HTTP/1.1\r\nHost: gateway\r\n\r\n").answer_to_head();
    assert_eq!(answer.status, 200);
    for name in ["is-encrypted", "signed", "content-length"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(program.get(ECHO).status, 200, "the connection goes on");
}

#[test]
fn a_sealed_answer_over_the_limit_is_too_large_and_a_plain_one_streams() {
    let (platform, gateway) = with("max_answer = \"64KiB\"");
    let answer = gateway.client().get("/_sim/answer/40000?a=b");
    assert_eq!((answer.status, answer.body.len()), (200, 40_000), "its text fits");
    let endless = || platform.fault(FaultKind::Endless);
    let declared = gateway.client().get("/_sim/answer/60000?a=b");
    endless();
    let without_end = gateway.client().get("/_sim/echo?a=b");
    endless();
    let posted = call(&gateway, "POST", ECHO, "{}");
    // Repetitions shrink, so that this one is over the limit only when it is unpacked.
    let long = format!("X-Long: {}\r\n", "x".repeat(30_000));
    let half = call_with(&gateway, "POST", "/_sim/gzip", &long, "{}");
    let unpacked = call_with(&gateway, "POST", "/_sim/gzip", &long.repeat(2), "{}");
    assert_eq!(half.status, 200, "{half:?}");
    for (what, answer) in [("declared", declared), ("endless", without_end), ("posted", posted), ("unpacked", unpacked)]
    {
        assert_eq!((answer.status, answer.word()), (502, Some("answer_too_large")), "{what}: {answer:?}");
        assert_eq!(answer.json()["sent"], "yes", "{what}");
    }
    platform.fault(FaultKind::Unsealed);
    let answer = gateway.client().get("/_sim/answer/1000000?a=b");
    assert_eq!((answer.status, answer.body.len()), (200, 1_000_000), "what is not opened is not held");
}

#[test]
fn what_the_platform_says_in_the_gateways_name_or_of_the_connection_does_not_pass() {
    let (platform, gateway) = with("");
    let text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\
                X-Gateway-Error: outcome_unknown\r\nx-gateway-anything: 1\r\nX-Hop: 1\r\nConnection: x-hop\r\n\
                Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nSigned: 00\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
                X-Trace: kept\r\n\r\n{\"code\":200}";
    platform.fault(FaultKind::Raw { text: text.into() });
    let answer = call(&gateway, "POST", ECHO, "{}");
    assert_eq!((answer.status, &answer.json()["code"]), (200, &200.into()), "{answer:?}");
    for name in ["x-gateway-error", "x-gateway-anything", "x-hop", "keep-alive", "upgrade", "signed"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let cookies: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!((cookies.len(), answer.header("x-trace")), (2, Some("kept")));
}

#[test]
fn a_refusal_of_a_token_is_only_what_stands_at_the_top_of_an_answer() {
    let (platform, gateway) = with("");
    let say = |body: &str| {
        platform.clear();
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
        platform.fault(FaultKind::Raw { text: format!("{head} {length}\r\n\r\n{body}") });
    };
    for body in [
        r#"{"data":{"code":401},"status":"OK","code":200}"#,
        r#"{"data":"\"code\":401","status":"OK","code":200}"#,
        r#"[{"code":401}]"#,
        r#"{"code":4010}"#,
        r#"{"code":"no number"}"#,
        r#"{"data":{"code":401}}"#,
    ] {
        say(body);
        let answer = call(&gateway, "POST", ECHO, "{}");
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (200, body));
        assert_eq!((platform.count(ECHO), platform.logins()), (1, 0), "{body}");
    }
    for body in [r#"{"code":401}"#, r#" { "status" : "x" , "code" : 401 } "#, r#"{"code":"401","data":{"code":200}}"#] {
        say(body);
        assert_eq!(call(&gateway, "POST", ECHO, "{}").status, 200, "{body}");
        assert_eq!((platform.count(ECHO), platform.logins()), (2, 1), "{body}: replayed with a fresh token");
    }
}

/// A platform, and a gateway with these lines in its `[outbound]`.
fn with(outbound: &str) -> (Simulator, Gateway) {
    let platform = platform();
    let account = "login = { burst = 1000, every = \"10ms\" }".into();
    let outbound = format!("threads = 2\nmax_header = \"128KiB\"\n{outbound}");
    let gateway = Setup { outbound, account, ..Setup::default() }.start(&platform).ready();
    (platform, gateway)
}

fn call(gateway: &Gateway, method: &str, path: &str, body: &str) -> Answer {
    call_with(gateway, method, path, "", body)
}

/// A GET asks with a query in place of a body, so that it is sealed too.
fn call_with(gateway: &Gateway, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    if method == "GET" {
        return gateway.client().get(&format!("{path}?a=b"));
    }
    gateway.client().post_with(path, lines, body)
}

/// Nothing of sealing is left, and the length is that of the plaintext.
#[track_caller]
fn assert_opened(answer: &Answer) {
    for name in ["is-encrypted", "signed", "content-encoding", "transfer-encoding"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(answer.complete);
}

#[track_caller]
fn assert_unreadable(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.word()), (502, Some("answer_unreadable")), "{what}: {answer:?}");
    assert_eq!(answer.json()["sent"], "yes", "{what}");
}

/// What a program is told, less what names the call and the time.
fn without_id(answer: &Answer) -> String {
    let mut body = answer.json();
    body["request_id"] = serde_json::Value::Null;
    let named = |name: &str| ["x-request-id", "date"].iter().any(|other| name.eq_ignore_ascii_case(other));
    let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| !named(name)).collect();
    format!("{} {headers:?} {body}", answer.status_line)
}
