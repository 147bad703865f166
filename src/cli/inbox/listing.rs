//! Listing: page after page of what a gateway lists, a line for each.
//!
//! It knows where a page stands and how it goes on, and nothing of what is listed.

use std::io::Write;

use form_urlencoded::Serializer;
use serde_json::Value;

use super::peer::{Failure, Peer};
use super::text::printable;

/// Most things of one answer of the gateway.
const STEP: usize = 1000;

/// What is listed.
pub(in crate::cli) struct Listing<'a> {
    /// Where: `/inbox`, say.
    pub(in crate::cli) path: &'a str,
    /// What a page calls its things.
    pub(in crate::cli) field: &'a str,
    /// Those that fit these.
    pub(in crate::cli) words: Vec<(&'a str, &'a str)>,
    /// At most so many.
    pub(in crate::cli) limit: usize,
    /// Those after this one.
    pub(in crate::cli) after: Option<String>,
    /// JSON: one object a line.
    pub(in crate::cli) json: bool,
}

impl Listing<'_> {
    /// Prints what fits.
    pub(in crate::cli) fn print(
        self,
        gateway: &Peer,
        line: impl Fn(&Value) -> String,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let Self { path, field, words, limit, mut after, json } = self;
        let mut left = limit;
        while left > 0 {
            let mut query = Serializer::new(String::new());
            query.extend_pairs(&words).append_pair("limit", &left.min(STEP).to_string());
            if let Some(after) = &after {
                query.append_pair("after", after);
            }
            let page: Value = gateway.json("GET", &format!("{path}?{}", query.finish()), "")?;
            let listed = page[field].as_array().map_or(&[][..], Vec::as_slice);
            for one in listed {
                let line = if json { one.to_string() } else { line(one) };
                writeln!(out, "{}", printable(&line))?;
            }
            left -= listed.len().min(left);
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                return Ok(());
            }
        }
        if let Some(after) = after.filter(|_| !json) {
            eprintln!("there may be more: --after {after}");
        }
        Ok(())
    }
}
