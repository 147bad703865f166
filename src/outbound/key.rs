//! Reading an `Idempotency-Key`: a string as RFC 8941 section 3.3.3 writes it, as the draft of the header asks for, or bare,
//! as most clients send it.
//!
//! The key is the program's own text. It is kept nowhere but in the memory of its call.

use std::borrow::Cow;

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// Not a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadKey;

/// The key that a value writes.
pub(super) fn parse(value: &[u8]) -> Result<Cow<'_, [u8]>, BadKey> {
    let key = match value.trim_ascii() {
        [b'"', rest @ ..] => quoted(rest)?.into(),
        bare => Cow::Borrowed(bare),
    };
    let is_key = (1..=LONGEST).contains(&key.len()) && !key.iter().any(u8::is_ascii_control);
    is_key.then_some(key).ok_or(BadKey)
}

/// What stands before the closing quote, which has to be the end.
fn quoted(rest: &[u8]) -> Result<Vec<u8>, BadKey> {
    let (mut key, mut bytes) = (Vec::new(), rest.iter());
    loop {
        match bytes.next().ok_or(BadKey)? {
            b'"' => return if bytes.next().is_none() { Ok(key) } else { Err(BadKey) },
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\')) => key.push(*escaped),
                _ => return Err(BadKey),
            },
            byte @ 0x20..=0x7e => key.push(*byte),
            _ => return Err(BadKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_bare_and_in_quotes() {
        let longest = "k".repeat(255);
        for (value, key) in [
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", Some("8e03978e-40d5-43e8-bc93-6894a57f9324")),
            ("\"8e03978e\"", Some("8e03978e")),
            ("  a b  ", Some("a b")),
            ("\"a \\\"b\\\\ \"", Some("a \"b\\ ")),
            ("a\"b", Some("a\"b")),
            ("ключ", Some("ключ")),
            (&longest, Some(&longest)),
            (&format!("\"{longest}\""), Some(&longest)),
            (&format!("{longest}k"), None),
            ("", None),
            ("  ", None),
            ("\"\"", None),
            ("\"", None),
            ("\"a", None),
            ("\"a\";b=1", None),
            ("\"a\"b", None),
            ("\"a\\n\"", None),
            ("\"ключ\"", None),
            ("a\tb", None),
            ("a\u{7f}", None),
        ] {
            let read = parse(value.as_bytes());
            assert_eq!(read.as_deref().ok(), key.map(str::as_bytes), "{value:?}");
        }
    }
}
