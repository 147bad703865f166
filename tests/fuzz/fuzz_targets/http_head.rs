//! Whatever arrives on a connection: in whatever pieces, the same requests and answers are read; and what was read, written
//! again in one plain way, is read as the same, so that nothing in it can be taken for something else by whoever is behind.
#![no_main]

use airudder_gateway::fuzzing::{Answered, Asked, answer, requests};
use airudder_gateway_fuzz::{Input, block_on, leaves_timers};
use libfuzzer_sys::fuzz_target;

/// Headers that say how a message is framed, or belong to one connection.
const FRAMING: [&str; 6] = ["content-length", "transfer-encoding", "connection", "expect", "host", "keep-alive"];

fn is_framing(name: &[u8]) -> bool {
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing.as_bytes()))
}

fn chunked(body: &[u8], out: &mut Vec<u8>) {
    for chunk in body.chunks(3) {
        out.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nTrailer: dropped\r\n\r\n");
}

fn fields(all: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in all.iter().filter(|(name, _)| !is_framing(name)) {
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic), "{name:?}");
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{value:?}");
        out.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
}

fn check_requests(sent: &[u8], fragment: usize) {
    let (read, end) = block_on(requests(sent, usize::MAX >> 1));
    assert_eq!(block_on(requests(sent, fragment)), (read.clone(), end));
    let whole: Vec<&Asked> = read.iter().filter(|asked| asked.body.is_some() && asked.path.starts_with('/')).collect();
    let mut again = Vec::new();
    for asked in &whole {
        let query = asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", asked.path);
        assert!(!target.contains(|c: char| c.is_ascii_control() || c == ' ' || c == '#'), "{target:?}");
        again.extend_from_slice(format!("{} {target} HTTP/1.1\r\nHost: again\r\n", asked.method).as_bytes());
        fields(&asked.fields, &mut again);
        let body = asked.body.as_deref().unwrap_or_default();
        if body.is_empty() {
            again.extend_from_slice(b"\r\n");
        } else {
            again.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            chunked(body, &mut again);
        }
    }
    let (read_again, _) = block_on(requests(&again, 1000));
    assert_eq!(read_again.len(), whole.len(), "{}", String::from_utf8_lossy(&again));
    let apart = |asked: &Asked| {
        let fields: Vec<_> = asked.fields.iter().filter(|(name, _)| !is_framing(name)).cloned().collect();
        Asked { fields, ..asked.clone() }
    };
    for (before, after) in whole.iter().zip(&read_again) {
        assert_eq!(apart(before), apart(after));
    }
}

fn check_answer(sent: &[u8], fragment: usize, bodyless: bool) {
    let read = block_on(answer(sent, usize::MAX >> 1, bodyless));
    let in_pieces = block_on(answer(sent, fragment, bodyless));
    // What follows the end of an answer may not have arrived when the end is seen. Whoever takes the connection again looks.
    // A head that breaks off may have been looked at or not, so both are only no answer.
    let without_rest = |read: &Result<Answered, _>| read.clone().map(|read| Answered { reusable: true, ..read }).ok();
    assert_eq!(without_rest(&in_pieces), without_rest(&read));
    let is_reusable = |read: &Result<Answered, _>| read.as_ref().is_ok_and(|read| read.reusable);
    assert!(is_reusable(&in_pieces) || !is_reusable(&read));
    let Ok(Answered { status, fields: all, body, .. }) = read else { return };
    assert!((200..=999).contains(&status) && (!bodyless || body.is_empty()));
    let mut again = format!("HTTP/1.1 {status} Again\r\n").into_bytes();
    fields(&all, &mut again);
    if bodyless || matches!(status, 204 | 304) {
        again.extend_from_slice(b"\r\n");
    } else {
        again.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        chunked(&body, &mut again);
    }
    let again = block_on(answer(&again, 1000, bodyless)).expect("an answer");
    let apart =
        |all: &[(Vec<u8>, Vec<u8>)]| all.iter().filter(|(name, _)| !is_framing(name)).cloned().collect::<Vec<_>>();
    assert_eq!((again.status, &again.body, again.reusable), (status, &body, true));
    assert_eq!(apart(&again.fields), apart(&all));
}

fuzz_target!(|data: &[u8]| {
    leaves_timers(|| {
        let mut input = Input(data);
        let (mode, fragment) = (input.below(3), input.fragment());
        match mode {
            0 => check_requests(input.0, fragment),
            _ => check_answer(input.0, fragment, mode == 2),
        }
    });
});
