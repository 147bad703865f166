//! An answer as HTTP has it: shaped, with its headers, for the HTTP library or as bytes that go past it.
//! It changes nothing of what is said, and writes to no connection.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};

use super::answer::{Answer, Payload, Shape};
use super::body::{Content, Outgoing};
use super::wire::Busy;

pub(super) const IS_ENCRYPTED: HeaderName = HeaderName::from_static("is-encrypted");
pub(super) const SIGNED: HeaderName = HeaderName::from_static("signed");

/// Bytes of a chunk in answers that come in pieces.
const PIECE: usize = 1000;

/// The answer as HTTP, its bytes in the shape that it asks for.
pub(super) fn sent(answer: Answer, more: Vec<(HeaderName, HeaderValue)>, busy: Busy) -> Response<Outgoing> {
    let mut gzipped = false;
    let content = match answer.payload {
        Payload::Nothing => Content::Whole(Bytes::new()),
        Payload::Recording(range) => Content::Recording(range),
        Payload::Bytes(bytes) => match answer.shape {
            Shape::Whole | Shape::CloseDelimited => Content::Whole(bytes),
            Shape::Gzip => match gzip(&bytes) {
                Ok(compressed) => {
                    gzipped = true;
                    Content::Whole(compressed)
                }
                Err(_) => Content::Whole(bytes),
            },
            Shape::Chunked => Content::Pieces(bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect()),
        },
    };
    let mut response = Response::new(Outgoing::new(content, busy));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.extend(answer.headers.into_iter().chain(more));
    if gzipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(bytes: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

/// The answer as bytes, with a Content-Length or without, whole or only so many bytes of the body and never all.
pub(super) fn written(response: Response<Outgoing>, with_length: bool, cut_after: Option<usize>) -> Bytes {
    let (head, body) = response.into_parts();
    let size = body.size();
    let mut text = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    let mut line = |name: &HeaderName, value: &HeaderValue| {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    };
    head.headers.iter().for_each(|(name, value)| line(name, value));
    match size {
        Some(size) if with_length => line(&CONTENT_LENGTH, &HeaderValue::from(size)),
        _ => line(&CONNECTION, &HeaderValue::from_static("close")),
    }
    text.extend_from_slice(b"\r\n");
    let all = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    let most = cut_after.map_or(all, |after| after.min(all.saturating_sub(1)));
    text.extend_from_slice(&body.first(most));
    text.into()
}
