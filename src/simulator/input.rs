//! What a program asked for, read from wherever it put it: the query, a JSON body or a form.
//! A field that is missing or of another type reads as missing; nothing is refused here.

use serde_json::{Map, Value};

/// The fields of a request. A field of the body comes before one of the query.
pub(super) struct Input(Map<String, Value>);

impl Input {
    pub(super) fn new(query: Option<&[u8]>, body: &[u8]) -> Self {
        let mut fields = Map::new();
        read_form(query.unwrap_or_default(), &mut fields);
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => fields.extend(object),
            // The scalars that a form could be taken for ("17") hold no field either.
            _ => read_form(body, &mut fields),
        }
        Self(fields)
    }

    /// A field, `null` when there is none.
    pub(super) fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// A field that is text and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).as_str().filter(|text| !text.is_empty())
    }

    /// A field that is a list; empty when it is not.
    pub(super) fn list(&self, name: &str) -> &[Value] {
        self.value(name).as_array().map_or(&[], Vec::as_slice)
    }
}

fn read_form(form: &[u8], fields: &mut Map<String, Value>) {
    for pair in form.split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        fields.insert(form_text(name), Value::String(form_text(value)));
    }
}

/// `%XX` and `+` as forms have them: a literal `+` reads as a space, which is what phone numbers trip over.
fn form_text(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_query_json_and_form() {
        let from = |query: &str, body: &str, name: &str| {
            Input::new(Some(query.as_bytes()), body.as_bytes()).text(name).map(str::to_owned)
        };
        assert_eq!(from("a=1&Callee=%2B62%20x", "", "Callee").as_deref(), Some("+62 x"));
        assert_eq!(from("Callee=+62", "", "Callee").as_deref(), Some(" 62"));
        assert_eq!(from("a=1", r#"{"a":"2"}"#, "a").as_deref(), Some("2"));
        assert_eq!(from("", "APPKey=k%3D&APPSecret=s", "APPKey").as_deref(), Some("k="));
        assert_eq!(from("a=%zz%4", "", "a").as_deref(), Some("%zz%4"));
        assert_eq!(from("a", "17", "a"), None);
    }
}
