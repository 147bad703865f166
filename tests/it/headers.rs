//! Headers: what of a program's reaches the platform, what of the gateway's nothing can remove, and one operation
//! with headers of its own in place of a token.

use airudder_gateway::simulator::{Fault, Received};

use crate::support::{Setup, arrived_at, platform};

const ECHO: &str = "/_sim/echo";
const QUERY_READ: &str = "/api/v1/process/queryTaskQian";

#[test]
fn no_connection_header_removes_what_the_gateway_adds() {
    for sealed in [true, false] {
        let platform = platform();
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        for listed in [
            "authorization",
            "Authorization, close",
            "keep-alive, AUTHORIZATION",
            "is-encrypted, signed, content-length",
            "content-type, host, user-agent, transfer-encoding",
            "close, is-encrypted\r\nConnection: signed\r\nConnection: authorization",
        ] {
            platform.clear();
            let body = r#"{"Callee":"+6281200000001"}"#;
            let answer = gateway.client().post_with(ECHO, &format!("Connection: {listed}\r\n"), body);
            assert_eq!(answer.status, 200, "{listed}: {answer:?}");
            let arrived = &arrived_at(&platform, ECHO)[0];
            assert_eq!(
                only(arrived, "authorization"),
                Some(format!("Token {}", platform.tokens()[0]).as_str()),
                "{listed}"
            );
            assert_eq!(only(arrived, "host"), Some(platform.address().to_string().as_str()), "{listed}");
            assert_eq!(only(arrived, "content-length"), Some(arrived.body.len().to_string().as_str()), "{listed}");
            assert_eq!(only(arrived, "is-encrypted"), sealed.then_some("1"), "{listed}");
            assert_eq!(only(arrived, "signed").map(str::len), sealed.then_some(64), "{listed}");
            assert_eq!(arrived.opened.as_deref().unwrap_or(&arrived.body), body.as_bytes(), "{listed}");
        }
    }
}

#[test]
fn what_ends_at_the_gateway_never_arrives() {
    const ENDS_HERE: [(&str, &str); 22] = [
        ("Authorization", "Token of-the-program"),
        ("authorization", "Basic b2Y6dGhlLXByb2dyYW0="),
        ("Proxy-Authorization", "Basic b2Y6dGhlLXByb2dyYW0="),
        ("X-Gateway-Account", "main"),
        ("X-Gateway-Key", "of-the-program"),
        ("X-Gateway-Anything", "of-the-program"),
        ("X-Forwarded-For", "10.0.0.7"),
        ("X-Forwarded-Host", "inside.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Anything", "of-the-program"),
        ("Forwarded", "for=10.0.0.7"),
        ("X-Real-IP", "10.0.0.7"),
        ("Via", "1.1 inside"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "inside=1"),
        ("baggage", "user=inside"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Upgrade", "h2c"),
        ("X-Listed", "inside"),
    ];
    for sealed in [true, false] {
        let platform = platform();
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        let mut lines = "Connection: x-listed\r\n".to_owned();
        for (name, value) in ENDS_HERE {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        assert_eq!(gateway.client().post_with(ECHO, &lines, "{}").status, 200);
        let arrived = &arrived_at(&platform, ECHO)[0];
        for (name, value) in ENDS_HERE {
            assert!(arrived.headers_named(name).all(|other| other != value), "{name} arrived");
            let ours = name.eq_ignore_ascii_case("authorization");
            assert_eq!(arrived.headers_named(name).count(), usize::from(ours), "{name}");
        }
    }
}

#[test]
fn every_other_header_arrives_as_it_was_sent() {
    const PASSES: [(&str, &str); 9] = [
        ("User-Agent", "books/1.0"),
        ("Accept", "application/json"),
        ("Accept-Language", "zh-CN, id;q=0.5"),
        ("Cookie", "a=b; c=d"),
        ("X-Custom", "one"),
        ("X-Custom", "two"),
        ("x-lower-case", "kept"),
        ("X-Empty", ""),
        ("If-None-Match", "\"tag\""),
    ];
    for sealed in [true, false] {
        let platform = platform();
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        let mut lines = String::new();
        for (name, value) in PASSES {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        assert_eq!(gateway.client().post_with(ECHO, &lines, "{}").status, 200);
        let arrived = &arrived_at(&platform, ECHO)[0];
        let ours: Vec<_> =
            arrived.headers.iter().filter(|(name, _)| PASSES.iter().any(|(sent, _)| sent == name)).collect();
        let sent: Vec<_> = PASSES.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(ours, sent.iter().collect::<Vec<_>>(), "names, values, order and number");
        assert_eq!(only(arrived, "content-type"), Some("application/json"));
    }
}

#[test]
fn a_program_without_a_user_agent_speaks_in_the_platforms_way() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    assert_eq!(gateway.client().get(ECHO).status, 200);
    assert_eq!(only(&arrived_at(&platform, ECHO)[0], "user-agent"), Some("Airudder"));
}

#[test]
fn one_operation_has_the_programs_own_headers_in_place_of_a_token() {
    for sealed in [true, false] {
        let platform = platform();
        let gateway = Setup { sealed, ..Setup::default() }.start(&platform).ready();
        let own = "token: of-the-program\r\ntenantId: tenant-7\r\nAuthorization: Token of-the-program\r\n";
        let answer = gateway.client().post_with(QUERY_READ, own, r#"{"header":{"traceId":"t1"}}"#);
        assert_eq!((answer.status, &answer.json()["retcode"]), (200, &0.into()), "{answer:?}");
        assert_eq!(answer.json()["traceId"], "t1");
        let arrived = &arrived_at(&platform, QUERY_READ)[0];
        assert_eq!((only(arrived, "token"), only(arrived, "tenantId")), (Some("of-the-program"), Some("tenant-7")));
        assert_eq!(only(arrived, "authorization"), None);
        assert_eq!(arrived.sealed(), sealed);
    }
}

#[test]
fn configured_headers_replace_the_programs_own() {
    let platform = platform();
    let headers = "[[operation]]\nname = \"process.query_read\"\n\
                   headers = { token = { env = \"PROCESS_TOKEN\" }, tenantId = { env = \"PROCESS_TENANT\" } }\n";
    let env = [("PROCESS_TOKEN", "configured-token"), ("PROCESS_TENANT", "tenant-1")];
    let setup = Setup {
        more: headers.into(),
        env: env.map(|(name, value)| (name.into(), value.into())).into(),
        ..Setup::default()
    };
    let gateway = setup.start(&platform).ready();
    let own = "Token: of-the-program\r\ntenantid: tenant-7\r\nTENANTID: tenant-8\r\n";
    for lines in [own, &format!("{own}Connection: token, tenantid\r\n"), "Connection: token\r\n", ""] {
        platform.clear();
        let answer = gateway.client().post_with(QUERY_READ, lines, "{}");
        assert_eq!((answer.status, &answer.json()["retcode"]), (200, &0.into()), "{answer:?}");
        let arrived = &arrived_at(&platform, QUERY_READ)[0];
        assert_eq!((only(arrived, "token"), only(arrived, "tenantId")), (Some("configured-token"), Some("tenant-1")));
        assert_eq!(only(arrived, "authorization"), None);
        assert!(!String::from_utf8_lossy(&answer.body).contains("configured-token"));
    }
}

#[test]
fn a_refusal_of_those_headers_is_the_programs_to_read() {
    let platform = platform();
    let gateway = Setup::default().start(&platform).ready();
    let answer = gateway.client().post(QUERY_READ, "{}");
    assert_eq!((answer.status, answer.word(), &answer.json()["retcode"]), (401, None, &401.into()));
    platform.fault(Fault::code(401));
    let answer = gateway.client().post_with(QUERY_READ, "token: a\r\ntenantId: b\r\n", "{}");
    assert_eq!((answer.status, answer.word(), &answer.json()["code"]), (200, None, &401.into()));
    assert_eq!((platform.logins(), platform.count(QUERY_READ)), (1, 2), "no login, no replay");
}

/// The value of a header that stands once at most.
#[track_caller]
fn only<'a>(request: &'a Received, name: &str) -> Option<&'a str> {
    assert!(request.headers_named(name).count() <= 1, "{name} arrived more than once");
    request.header(name)
}
