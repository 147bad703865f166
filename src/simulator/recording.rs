//! Recordings: files of any size that are never held whole, with ranges and validators (RFC 9110, 13 and 14).
//! Their bytes depend on the offset only, so that a test can check any part of one.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer::{Answer, Payload};
use super::noise::mix;

/// A prime, so that a part that is moved by any power of two shows.
const PATTERN: usize = 65_521;

static PATTERN_BYTES: LazyLock<Bytes> =
    LazyLock::new(|| (0..PATTERN as u64).map(|at| mix(at).to_le_bytes()[0]).collect());

/// The bytes that every recording has at these offsets.
pub fn recording_bytes(range: Range<u64>) -> Vec<u8> {
    let mut range = range;
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(&mut range) {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// The next bytes of a range, taken off it; `None` at its end.
pub(super) fn next_piece(range: &mut Range<u64>) -> Option<Bytes> {
    let left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    if left == 0 {
        return None;
    }
    let at = (range.start % PATTERN as u64) as usize;
    let piece = PATTERN_BYTES.slice(at..at.saturating_add(left).min(PATTERN));
    range.start += piece.len() as u64;
    Some(piece)
}

/// Whether this path is a recording.
pub(super) fn is_recording(path: &str) -> bool {
    path.strip_prefix("/recordings/")
        .and_then(|name| name.strip_suffix(".mp3"))
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Answers GET and HEAD of a recording of `size` bytes.
pub(super) fn answer(method: &Method, path: &str, headers: &HeaderMap, size: u64) -> Answer {
    if method != Method::GET && method != Method::HEAD {
        return Answer::failed(StatusCode::METHOD_NOT_ALLOWED, "a recording can only be read");
    }
    let id = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".mp3");
    let tag = format!("\"{id}-{size}\"");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut answer = Answer::new(StatusCode::OK, "audio/mpeg", Payload::Recording(0..size));
    answer.headers.push((ACCEPT_RANGES, HeaderValue::from_static("bytes")));
    answer.headers.extend(HeaderValue::try_from(&tag).ok().map(|tag| (ETAG, tag)));
    let listed = |list: &str| list.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == tag);
    if text(IF_NONE_MATCH).is_some_and(listed) {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.payload = Payload::Nothing;
        return answer;
    }
    // A range of an older file is a request for all of the new one.
    let whole = text(IF_RANGE).is_some_and(|known| known != tag);
    let asked = if whole || method != Method::GET { Asked::All } else { asked(text(RANGE), size) };
    let content_range = match asked {
        Asked::All => return answer,
        Asked::Part(range) => {
            answer.status = StatusCode::PARTIAL_CONTENT;
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            answer.payload = Payload::Recording(range);
            shown
        }
        Asked::Beyond => {
            answer = Answer::failed(StatusCode::RANGE_NOT_SATISFIABLE, "the recording is shorter");
            format!("bytes */{size}")
        }
    };
    answer.headers.extend(HeaderValue::try_from(content_range).ok().map(|value| (CONTENT_RANGE, value)));
    answer
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Part(Range<u64>),
    Beyond,
}

/// What a `Range` header asks for. Several ranges, other units and nonsense ask for all of it.
fn asked(range: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")).and_then(|one| one.split_once('-'))
    else {
        return Asked::All;
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Asked::All,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (range, expected) in [
            (None, Asked::All),
            (Some("bytes=0-0"), Asked::Part(0..1)),
            (Some("bytes=5-"), Asked::Part(5..100)),
            (Some("bytes=-7"), Asked::Part(93..100)),
            (Some("bytes=-700"), Asked::Part(0..100)),
            (Some("bytes=90-1000"), Asked::Part(90..100)),
            (Some("bytes=100-"), Asked::Beyond),
            (Some("bytes=-0"), Asked::Beyond),
            (Some("bytes=9-3"), Asked::All),
            (Some("bytes=0-1,4-5"), Asked::All),
            (Some("lines=0-1"), Asked::All),
            (Some("bytes=0-18446744073709551615"), Asked::Part(0..100)),
        ] {
            assert_eq!(asked(range, 100), expected, "{range:?}");
        }
    }

    #[test]
    fn a_part_of_a_recording_is_a_part_of_the_whole() {
        let whole = recording_bytes(0..200_000);
        assert_eq!(whole.len(), 200_000);
        for (start, end) in [(0_usize, 1_usize), (65_520, 65_522), (65_521, 131_042), (1, 199_999), (7, 7)] {
            assert_eq!(recording_bytes(start as u64..end as u64), whole[start..end], "{start}..{end}");
        }
        assert_ne!(whole[..4096], whole[4096..8192], "every place is its own");
    }
}
