//! Doors for fuzz targets: a query that is repaired and sealed, and an answer's text that is unpacked and read.
//!
//! Compiled with the feature `fuzzing` only. It decides nothing, and sends nothing.

use std::borrow::Cow;

use http::{HeaderValue, Method};

use super::account::Sealing;
use super::unpack::{SealedText, Spoilt};
use super::{body, code, query};
use crate::config::{EmptyQuery, Scheme};
use crate::envelope::Cipher;
use crate::http::request::RequestHeadWriter;

/// An account that seals the queries of its calls.
pub struct SealsQueries(Sealing);

/// A request line, and the signature beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The line as it leaves, its end included.
    pub line: Vec<u8>,
    /// The value of `Signed`.
    pub signed: Option<String>,
}

impl SealsQueries {
    /// With this cipher, which is of this scheme.
    pub fn new(scheme: Scheme, cipher: Cipher, empty_query: EmptyQuery) -> Self {
        let content_type = HeaderValue::from_static("text/plain");
        Self(Sealing { cipher, scheme, content_type, empty_query })
    }

    /// What leaves for a call with this query; `None`: the target is refused.
    pub fn line(&self, method: &Method, path: &str, query: Option<&str>) -> Option<Leaving> {
        let (sealed, signed) = body::seal_query(&self.0, query, method);
        let head = RequestHeadWriter::try_new(method, path.as_bytes(), sealed.as_deref()).ok()?.finish();
        Some(Leaving { line: head.as_bytes().to_vec(), signed: signed.map(|signed| signed.as_str().to_owned()) })
    }
}

/// The query with the `+` of phone numbers repaired.
pub fn repair_plus(query: &str) -> Cow<'_, str> {
    query::repair_plus(query)
}

/// The code at the top of a body.
pub fn code_of(body: &[u8]) -> Option<i64> {
    code::find(body)
}

/// Opens a sealed text that arrives in pieces of `fragment` bytes, in gzip or not, and may have up to `limit` bytes.
///
/// # Errors
/// A stable word.
pub fn unpack(
    cipher: &Cipher,
    text: &[u8],
    signed: &[u8],
    fragment: usize,
    limit: usize,
    packed: bool,
) -> Result<Vec<u8>, &'static str> {
    let word = |spoilt| match spoilt {
        Spoilt::TooLarge => "too_large",
        Spoilt::Unreadable(word) => word,
    };
    let mut sealed = SealedText::new(cipher.opener(None), limit, packed);
    for piece in text.chunks(fragment.max(1)) {
        sealed.push(piece).map_err(word)?;
    }
    sealed.finish(signed).map_err(word)
}
