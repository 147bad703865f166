//! The spans of calls, read as a collector reads them: by the protocol's own definitions.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::gateway::KEY;
use crate::support::platform::arrived_at;
use crate::support::{Setup, platform};

const TASK: &str = "/service/cloud/task";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that takes everything: its URL, and the spans in the order in which they come.
fn collector() -> (String, mpsc::Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    let (tell, spans) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut more = [0; 4096];
                loop {
                    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
                    let text = head.map(|end| String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase());
                    let length: Option<usize> = text
                        .as_ref()
                        .and_then(|head| head.split_once("content-length: ")?.1.lines().next()?.parse().ok());
                    if let (Some(end), Some(length)) = (head, length)
                        && bytes.len() >= end + 4 + length
                    {
                        let export =
                            ExportTraceServiceRequest::decode(&bytes[end + 4..end + 4 + length]).expect("protobuf");
                        bytes.drain(..end + 4 + length);
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                        let scopes = export.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                        scopes.flat_map(|scope| scope.spans).for_each(|span| drop(tell.send(span)));
                        continue;
                    }
                    match stream.read(&mut more) {
                        Ok(0) | Err(_) => return,
                        Ok(read) => bytes.extend_from_slice(&more[..read]),
                    }
                }
            });
        }
    });
    (url, spans)
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    if let Some(Value::StringValue(text)) = &value.value { Some(text) } else { None }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_call_whose_program_records_its_trace_becomes_a_span_of_it() {
    let (url, spans) = collector();
    let platform = platform();
    let mut gateway =
        Setup { more: format!("[log]\ntraces = \"{url}\"\n"), ..Setup::default() }.start(&platform).ready();
    let mut client = gateway.client();
    let mut call = |line: &str| {
        client.post_with(TASK, &format!("X-Gateway-Key: books-key\r\n{line}"), r#"{"Callee":"+8613800138000"}"#)
    };
    // Of these three only the last is recorded by its program.
    assert_eq!(call("").status, 200);
    assert_eq!(call(&format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-00\r\n")).status, 200);
    let answer = call(&format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n"));
    let line = gateway.line_of(&answer);
    // The last ones leave when the gateway stops.
    gateway.terminate();
    assert!(gateway.wait().success());
    let span = spans.recv_timeout(Duration::from_secs(30)).expect("a span");
    assert!(spans.try_recv().is_err(), "one span");

    assert_eq!(
        (hexadecimal(&span.trace_id), hexadecimal(&span.parent_span_id)),
        (TRACE.into(), "00f067aa0ba902b7".into())
    );
    assert!(span.span_id.iter().any(|byte| *byte != 0) && span.span_id != span.parent_span_id);
    assert_eq!(span.name, "task.create");
    for (key, field) in
        [("airudder.request_id", "request_id"), ("airudder.outcome", "outcome"), ("airudder.account", "account")]
    {
        assert_eq!(text(&span, key), line[field].as_str(), "{key}");
    }
    let took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1000;
    assert_eq!(Some(took), line["total_us"].as_u64());
    // Nothing of its body, of its program's key, of the account's keys or of the platform's token.
    let told = format!("{span:?}");
    let token = &arrived_at(&platform, TASK)[0];
    let token = token.headers_named("authorization").next().expect("a token").trim_start_matches("Token ").to_owned();
    for secret in ["13800138000", "Callee", "books-key", KEY, &token] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}
