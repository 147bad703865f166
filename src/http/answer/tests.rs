//! Answers as bytes on the other end of a pipe: what is read of them, where they end, and what is no answer.
//! Nothing here knows a client or a pool.

use tokio::io::AsyncWriteExt;

use super::*;
use crate::clock;
use crate::http::line::Line;

const LONG: Duration = Duration::from_secs(3600);

/// Status, body, and whether the connection can be used again; in fragments of every size.
async fn check(sent: &str, bodyless: bool, expected: Result<(u16, &str, bool), SendCause>) {
    for fragment in [1, 2, 3, 7, sent.len().max(1)] {
        let (near, mut far) = tokio::io::duplex(fragment);
        let bytes = sent.as_bytes().to_vec();
        let platform = async move {
            let _ = far.write_all(&bytes).await;
        };
        let program = async {
            let mut answer =
                Answer::read(Box::new(Wire::upstream(Line::Other(Box::new(near)))), LONG, bodyless, false).await?;
            let mut body = Vec::new();
            while let Some(piece) = answer.piece().await? {
                assert!(!piece.is_empty());
                body.extend_from_slice(piece);
            }
            let status = answer.head().status().as_u16();
            Ok((status, String::from_utf8(body).expect("text"), answer.into_reusable().is_some()))
        };
        let ((), read) = tokio::join!(platform, program);
        let expected = expected.map(|(status, body, reusable)| (status, body.to_owned(), reusable));
        assert_eq!(read, expected, "{sent:?} in fragments of {fragment}");
    }
}

#[tokio::test]
async fn a_body_ends_where_its_framing_says() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (rest, body, reusable) in [
        ("Content-Length: 5\r\n\r\nhello", "hello", true),
        ("content-length: 0\r\n\r\n", "", true),
        ("Content-Length: 5, 5\r\n\r\nhello", "hello", true),
        ("Content-Length: 5\r\nConnection: close\r\n\r\nhello", "hello", false),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", true),
        ("Transfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n", "hello", true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", false),
        ("\r\nhello", "hello", false),
    ] {
        check(&format!("{ok}{rest}"), false, Ok((200, body, reusable))).await;
    }
    check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false, Ok((200, "hi", false))).await;
    check("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", false, Ok((200, "hi", true)))
        .await;
}

#[tokio::test]
async fn some_answers_have_no_body_whatever_they_declare() {
    check("HTTP/1.1 204 No Content\r\n\r\n", false, Ok((204, "", true))).await;
    check("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", false, Ok((204, "", false))).await;
    check("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, Ok((304, "", true))).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, Ok((200, "", true))).await;
}

#[tokio::test]
async fn a_connection_that_says_more_than_it_announced_is_not_used_again() {
    let (near, mut far) = tokio::io::duplex(1024);
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, and more").await.expect("sent");
    let wire = Box::new(Wire::upstream(Line::Other(Box::new(near))));
    let mut answer = Answer::read(wire, LONG, false, false).await.expect("an answer");
    assert_eq!(answer.piece().await, Ok(Some(&b"hi"[..])));
    assert_eq!(answer.piece().await, Ok(None));
    assert!(answer.into_reusable().is_none());
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    check(&format!("{interim}HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx"), false, Ok((201, "x", true))).await;
}

/// Says this, and then this again and again: how reading ends, and after how many seconds.
async fn trickle(begin: &str, again: &str, every: Duration) -> (Result<usize, SendCause>, u64) {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(begin.as_bytes()).await.expect("sent");
    let again = again.to_owned();
    let saying = tokio::spawn(async move {
        while far.write_all(again.as_bytes()).await.is_ok() {
            match every.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(every).await,
            }
        }
    });
    let begun = clock::now();
    let read = async {
        let wire = Box::new(Wire::upstream(Line::Other(Box::new(near))));
        let mut answer = Answer::read(wire, Duration::from_secs(10), false, false).await?;
        let mut bytes = 0;
        while let Some(piece) = answer.piece().await? {
            bytes += piece.len();
        }
        Ok(bytes)
    };
    let read = read.await;
    saying.abort();
    (read, (clock::now() - begun).as_secs())
}

#[tokio::test(start_paused = true)]
async fn what_trickles_ends() {
    let (second, chunked) = (Duration::from_secs(1), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let ok = "HTTP/1.1 200 OK\r\nX: ";
    // A head has the time of a silence, however many of those it makes.
    assert_eq!(trickle(ok, "x", second).await, (Err(SendCause::Timeout), 10));
    assert_eq!(trickle("", "HTTP/1.1 100 Continue\r\n\r\n", second).await, (Err(SendCause::Timeout), 10));
    // A body has four times that, and what it brings is worth a little more.
    assert_eq!(trickle("HTTP/1.1 200 OK\r\n\r\n", "x", second).await, (Err(SendCause::Timeout), 40));
    assert_eq!(trickle(chunked, "1;y=z\r\nx\r\n", second).await, (Err(SendCause::Timeout), 40));
    assert_eq!(trickle(chunked, "0", second).await, (Err(SendCause::Timeout), 40));
    assert_eq!(trickle(&format!("{chunked}0\r\n"), "X: y\r\n", second).await, (Err(SendCause::Timeout), 40));
    // One that comes as fast as it has to passes, however long it takes.
    let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    let (read, took) = trickle(&length, &"x".repeat(2048), 2 * second).await;
    assert_eq!((read, took > 1000), (Ok(1 << 20), true), "{took}");
}

#[tokio::test]
async fn a_head_without_end_is_no_answer() {
    for (begin, again) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("HTTP/1.1 200 OK\r\nX: ", "y"),
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: ", "y"),
        ("", "\r\n"),
        ("", "x"),
    ] {
        let (read, _) = trickle(begin, &again.repeat(100), Duration::ZERO).await;
        assert_eq!(read, Err(SendCause::Malformed), "{begin:?} {again:?}");
    }
}

#[tokio::test]
async fn what_ends_early_or_can_be_read_in_two_ways_is_an_error() {
    for (sent, cause) in [
        ("", SendCause::Closed),
        ("HTTP/1.1 200 OK\r\nContent-Le", SendCause::Closed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", SendCause::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", SendCause::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", SendCause::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\r\n\r\n", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", SendCause::Malformed),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", SendCause::Malformed),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", SendCause::Malformed),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", SendCause::Malformed),
        ("SSH-2.0-OpenSSH\r\n", SendCause::Malformed),
    ] {
        check(sent, false, Err(cause)).await;
    }
}
