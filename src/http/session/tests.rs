//! One connection against bytes on the other end of a pipe: what is read, what leaves, and when it is kept.
//! Nothing here knows an app or a listener; the stories of those are told through the front door.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::clock;

const LONG: Duration = Duration::from_secs(3600);

fn session(room: usize, write_timeout: Duration) -> (Session, DuplexStream) {
    let (near, far) = tokio::io::duplex(room);
    (Session::new(Line::Other(Box::new(near)), write_timeout), far)
}

/// A session on which this was sent, and its first request's head was read.
async fn asked(sent: &str) -> (Session, Request, DuplexStream) {
    let (mut session, mut far) = session(64 * 1024, LONG);
    far.write_all(sent.as_bytes()).await.expect("sent");
    let mut request = Request::new();
    assert!(session.await_request(LONG).await);
    session.read_request(&mut request, 1024, LONG).await.expect("a request");
    (session, request, far)
}

/// What arrives until the session is dropped, without `Date`.
async fn arrived(session: Session, mut far: DuplexStream) -> String {
    drop(session);
    let mut all = String::new();
    far.read_to_string(&mut all).await.expect("text");
    all.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

async fn body(session: &mut Session) -> Result<String, BodyFault> {
    let mut body = Vec::new();
    while let Some(piece) = session.read_body().await? {
        assert!(!piece.is_empty());
        body.extend_from_slice(piece);
    }
    Ok(String::from_utf8(body).expect("text"))
}

#[tokio::test]
async fn requests_are_read_one_after_another_and_answered_in_order() {
    let (mut session, mut request, far) = asked(
        "POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\nabc\
         \r\nPOST /b HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: g\r\n\r\n",
    )
    .await;
    for (path, sent) in [("/a", "abc"), ("/b", "de"), ("/c", "")] {
        assert_eq!((request.path(), body(&mut session).await.as_deref()), (path, Ok(sent)));
        session.answer(ResponseHead::new(StatusCode::OK), path.as_bytes()).await.expect("written");
        assert!(session.next(), "{path}");
        if path != "/c" {
            assert!(session.await_request(LONG).await);
            session.read_request(&mut request, 1024, LONG).await.expect("a request");
        }
    }
    let expected = ["/a", "/b", "/c"]
        .map(|path| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{path}"));
    assert_eq!(arrived(session, far).await, expected.concat());
}

#[tokio::test]
async fn an_answer_ends_as_its_program_can_read_it() {
    let get = |version| format!("GET / HTTP/{version}\r\nHost: g\r\n");
    let head = "HEAD / HTTP/1.1\r\nHost: g\r\n".to_owned();
    for (request, status, length, expected) in [
        (get("1.1"), 200, Some(2), "Content-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"),
        (get("1.1"), 200, None, "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        (get("1.1") + "Connection: close\r\n", 200, Some(2), "Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
        (get("1.0"), 200, Some(2), "Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
        (get("1.0") + "Connection: keep-alive\r\n", 200, None, "Connection: close\r\n\r\nhi"),
        (get("1.1"), 204, Some(2), "Connection: keep-alive\r\n\r\n"),
        (get("1.1"), 304, Some(2), "Content-Length: 2\r\nConnection: keep-alive\r\n\r\n"),
        (head.clone(), 200, Some(2), "Content-Length: 2\r\nConnection: keep-alive\r\n\r\n"),
        (head, 200, None, "Connection: keep-alive\r\n\r\n"),
    ] {
        let what = format!("{request:?} {status} {length:?}");
        let (mut session, _, far) = asked(&format!("{request}\r\n")).await;
        session.begin(ResponseHead::with_reason(StatusCode::from_u16(status).expect("a status"), ""), length);
        session.write(b"").await.expect("says nothing");
        session.write(b"hi").await.expect("written");
        session.finish().await.expect("finished");
        assert_eq!(session.next(), expected.contains("keep-alive"), "{what}");
        assert_eq!(arrived(session, far).await, format!("HTTP/1.1 {status} \r\n{expected}"), "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_what_its_head_said_is_an_error_and_the_last_one() {
    for written in ["h", "hi!"] {
        let (mut session, ..) = asked("GET / HTTP/1.1\r\nHost: g\r\n\r\n").await;
        session.begin(ResponseHead::new(StatusCode::OK), Some(2));
        let whole = session.write(written.as_bytes()).await.is_ok() && session.finish().await.is_ok();
        assert!(!whole && !session.next(), "{written}");
    }
}

#[tokio::test]
async fn a_connection_with_half_a_request_on_it_is_not_kept() {
    let unread = "POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\nabc";
    let (mut session, _, far) = asked(unread).await;
    assert!(!session.discard_body(8, LONG).await, "too long");
    assert!(!session.discard_body(9, Duration::from_millis(1)).await, "too slow");
    session.answer(ResponseHead::new(StatusCode::OK), b"").await.expect("written");
    assert!(!session.next());
    assert!(arrived(session, far).await.contains("Connection: close"));

    let (mut session, _, mut far) = asked(unread).await;
    far.write_all(b"defghi").await.expect("sent");
    assert!(session.discard_body(9, LONG).await);
    session.answer(ResponseHead::new(StatusCode::OK), b"").await.expect("written");
    assert!(session.next());
}

#[tokio::test]
async fn who_waits_to_be_told_is_told_once_and_may_not_send_at_all() {
    let waits = "POST / HTTP/1.1\r\nHost: g\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let (mut session, ..) = asked(waits).await;
    assert!(!session.discard_body(1024, LONG).await);

    let (mut session, _, mut far) = asked(waits).await;
    for _ in 0..2 {
        session.invite(LONG).await.expect("written");
    }
    far.write_all(b"hi").await.expect("sent");
    assert_eq!(body(&mut session).await.as_deref(), Ok("hi"));
    assert_eq!(arrived(session, far).await, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test]
async fn why_a_body_cannot_be_read_on_is_told_apart() {
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n");
    for (sent, ends, fault) in [
        (post("Content-Length: 9") + "abc", true, BodyFault::Incomplete),
        (post("Content-Length: 9") + "abc", false, BodyFault::TooSlow(Bound::Silence)),
        (post("Transfer-Encoding: chunked") + "3\r\nab", true, BodyFault::Incomplete),
        (post("Transfer-Encoding: chunked") + "3\r\nab", false, BodyFault::TooSlow(Bound::Silence)),
        (post("Transfer-Encoding: chunked") + "3\r\nabcd", false, BodyFault::Incomplete),
    ] {
        let (mut session, _, far) = asked(&sent).await;
        let _far = (!ends).then_some(far);
        session.invite(Duration::from_millis(1)).await.expect("nothing to write");
        assert_eq!(body(&mut session).await, Err(fault), "{sent:?}, ends: {ends}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_refused() {
    for (sent, ends, expected) in [
        ("GET / HTTP/1.1\r\nHost:", true, NoRequest::Gone),
        ("GET / HTTP/1.1\r\nHost:", false, HeaderFault::TooSlow.into()),
        (&format!("GET /{}", "a".repeat(1024)), false, HeaderFault::TooLarge.into()),
    ] {
        let (mut session, mut far) = session(64 * 1024, LONG);
        far.write_all(sent.as_bytes()).await.expect("sent");
        let _far = (!ends).then_some(far);
        assert!(session.await_request(LONG).await);
        let read = session.read_request(&mut Request::new(), 1024, Duration::from_millis(1)).await;
        assert_eq!(read, Err(expected), "{}", &sent[..20]);
    }
}

#[tokio::test]
async fn a_program_that_takes_nothing_is_given_up() {
    let (mut session, _far) = session(16, Duration::from_millis(1));
    let written = session.answer(ResponseHead::new(StatusCode::OK), &[b'x'; 1024]).await;
    assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    assert!(!session.next());
}

/// Sends a byte a second for as long as somebody reads.
fn trickle(mut far: DuplexStream, byte: &'static [u8]) {
    tokio::spawn(async move {
        while far.write_all(byte).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_has_eight_seconds() {
    for (framing, byte) in [
        ("Content-Length: 1000000", &b"x"[..]),
        ("Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        ("Transfer-Encoding: chunked", b"0"),
    ] {
        let (mut session, _, far) = asked(&format!("POST / HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n")).await;
        session.invite(LONG).await.expect("there");
        trickle(far, byte);
        let begun = clock::now();
        assert_eq!(body(&mut session).await, Err(BodyFault::TooSlow(Bound::All)), "{framing}");
        assert_eq!((clock::now() - begun).as_secs(), 8, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_nobody_waited_for_a_body_is_not_its_own() {
    let (mut session, _, mut far) = asked("POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\n").await;
    session.invite(LONG).await.expect("there");
    for _ in 0..3 {
        far.write_all(b"x").await.expect("sent");
        assert_eq!(session.read_body().await, Ok(Some(&b"x"[..])));
        // Whoever takes the body is busy.
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(session.read_body().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_waited_for_no_longer_than_tls_has_left() {
    let (session, _far) = session(1024, LONG);
    let mut session = session.welcome(Some(clock::now() + Duration::from_secs(10)), None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let begun = clock::now();
    assert!(!session.await_request(Duration::from_secs(10)).await);
    assert_eq!((clock::now() - begun).as_secs(), 6);
}
