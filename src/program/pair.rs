//! The pair that a login shows: `APPKey` and `APPSecret`, as JSON or as a form. Pure.
//!
//! Existing clients send either, some with the wrong `Content-Type`, so the text itself decides. It never says what was
//! wrong with a text: that could tell something of a secret.

use std::borrow::Cow;

use serde::Deserialize;

use crate::secret::Secret;

/// A key pair as somebody showed it.
pub struct Pair {
    pub(super) key: Secret,
    pub(super) secret: Secret,
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(rename = "APPKey", borrow)]
    key: Cow<'a, str>,
    #[serde(rename = "APPSecret", borrow)]
    secret: Cow<'a, str>,
}

impl Pair {
    /// A pair that is there already.
    pub fn new(key: Secret, secret: Secret) -> Self {
        Self { key, secret }
    }

    /// Reads the body of a login. `None`: each of the two is not there exactly once, as text.
    pub fn read(body: &[u8]) -> Option<Self> {
        let body = body.trim_ascii();
        // An object only: serde would fill the fields from an array as well.
        if body.starts_with(b"{") {
            let Json { key, secret } = serde_json::from_slice(body).ok()?;
            return Some(Self { key: owned(key), secret: owned(secret) });
        }
        let (mut key, mut secret) = (None, None);
        for (name, value) in form_urlencoded::parse(body) {
            let place = match name.as_ref() {
                "APPKey" => &mut key,
                "APPSecret" => &mut secret,
                _ => continue,
            };
            if place.replace(owned(value)).is_some() {
                return None;
            }
        }
        Some(Self { key: key?, secret: secret? })
    }
}

fn owned(text: Cow<'_, str>) -> Secret {
    Secret::new(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(String, String)> {
        let text = |secret: &Secret| secret.expose_str().expect("text").to_owned();
        Pair::read(body.as_bytes()).map(|pair| (text(&pair.key), text(&pair.secret)))
    }

    #[test]
    fn a_pair_is_read_from_json_and_from_a_form() {
        for (body, key, secret) in [
            (r#"{"APPKey":"k","APPSecret":"s"}"#, "k", "s"),
            (" \r\n{\"APPSecret\" : \"s\", \"other\" : [1], \"APPKey\" : \"k\"}\n", "k", "s"),
            (r#"{"APPKey":"k\/é","APPSecret":"a\"b\\"}"#, "k/é", "a\"b\\"),
            ("APPKey=k&APPSecret=s", "k", "s"),
            ("x=1&APPSecret=a%2Bb+c%3D&&APPKey=%C3%A9", "é", "a+b c="),
            ("APPKey=k&APPSecret=s\r\n", "k", "s"),
            ("APPKey=&APPSecret=", "", ""),
        ] {
            assert_eq!(read(body), Some((key.to_owned(), secret.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_pair_that_is_not_there_once_is_none() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"["k","s"]"#,
            r#"{"APPKey":"k"}"#,
            r#"{"APPKey":"k","APPSecret":1}"#,
            r#"{"APPKey":"k","APPSecret":null}"#,
            r#"{"APPKey":"k","APPSecret":"s","APPKey":"k"}"#,
            r#"{"APPKey":"k","APPSecret":"s"} x"#,
            r#"{"appkey":"k","appsecret":"s"}"#,
            "APPKey=k",
            "APPKey=k&APPKey=k&APPSecret=s",
            "APPKey=k&APPSecret=s&APPSecret=s",
            "appkey=k&appsecret=s",
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }
}
