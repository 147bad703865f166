//! Whether a receiver takes a callback: what stands at one place of the opened JSON.
//!
//! The text is walked to that place and compared there, so nothing of it is built in memory. A place that is not
//! there is no match, and neither is anything that cannot be read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::config;

/// A receiver's `when`, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// The steps of the pointer, unescaped.
    steps: Vec<String>,
    equals: Value,
}

impl Condition {
    /// Takes the pointer apart (RFC 6901 section 4).
    pub(crate) fn new(when: &config::When) -> Self {
        let steps = when.pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        Self { steps, equals: when.equals.clone() }
    }

    /// Whether the text has it there.
    pub(super) fn holds(&self, text: &str) -> bool {
        let mut json = serde_json::Deserializer::from_str(text);
        Walk { steps: &self.steps, equals: &self.equals }.deserialize(&mut json).unwrap_or(false)
    }
}

/// On the way to the place; with no step left, at it.
#[derive(Clone, Copy)]
struct Walk<'a> {
    steps: &'a [String],
    equals: &'a Value,
}

impl Walk<'_> {
    /// Compares where it has arrived; on the way, a single value is a dead end.
    fn is(self, matches: impl FnOnce(&Value) -> bool) -> bool {
        self.steps.is_empty() && matches(self.equals)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(self.is(Value::is_null))
    }

    fn visit_bool<E: Error>(self, found: bool) -> Result<bool, E> {
        Ok(self.is(|value| value.as_bool() == Some(found)))
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<bool, E> {
        Ok(self.is(|value| value.as_str() == Some(found)))
    }

    fn visit_u64<E: Error>(self, found: u64) -> Result<bool, E> {
        Ok(self.is(|value| value.as_u64() == Some(found) || value.is_f64() && value.as_f64() == Some(found as f64)))
    }

    fn visit_i64<E: Error>(self, found: i64) -> Result<bool, E> {
        Ok(self.is(|value| value.as_i64() == Some(found) || value.is_f64() && value.as_f64() == Some(found as f64)))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<bool, E> {
        Ok(self.is(|value| value.as_f64() == Some(found)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let mut holds = true;
        let Some((step, steps)) = self.steps.split_first() else {
            // At the place: as long as the list that is asked for, and equal item by item.
            let expected = self.equals.as_array().map(Vec::as_slice);
            let mut items = expected.unwrap_or_default().iter();
            for equals in &mut items {
                match list.next_element_seed(Walk { steps: &[], equals })? {
                    Some(equal) => holds &= equal,
                    None => holds = false,
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {
                holds = false;
            }
            return Ok(holds && expected.is_some());
        };
        let index = index(step);
        let (mut at, mut holds) = (0, false);
        loop {
            let item = if Some(at) == index {
                list.next_element_seed(Walk { steps, equals: self.equals })?
            } else {
                list.next_element::<IgnoredAny>()?.map(|_| false)
            };
            match item {
                Some(found) => holds |= found,
                None => return Ok(holds),
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Some((step, steps)) = self.steps.split_first() else {
            // At the place: the same names, each with an equal value.
            let expected = self.equals.as_object();
            let (mut found, mut holds) = (0, expected.is_some());
            while let Some(name) = map.next_key::<String>()? {
                match expected.and_then(|expected| expected.get(&name)) {
                    Some(equals) => holds &= map.next_value_seed(Walk { steps: &[], equals })?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                        holds = false;
                    }
                }
                found += 1;
            }
            return Ok(holds && expected.is_some_and(|expected| expected.len() == found));
        };
        let mut holds = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == *step {
                // Of a name that stands twice the last value counts, as for most readers of JSON.
                holds = map.next_value_seed(Walk { steps, equals: self.equals })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(holds)
    }
}

/// A step that names an item of a list: digits without leading zeros.
fn index(step: &str) -> Option<usize> {
    let digits = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (step == "0" || !step.starts_with('0')) { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_at_a_place_decides() {
        let text = r#"{"status":"finished","n":3,"f":1.0,"neg":-2,"no":null,"yes":true,"a/b":{"m~n":"x"},"":"empty",
            "details":[{"result":"busy"},{"result":"answered","tags":["a",{"b":[]}]}],"esc\u0061pe":"\u0078",
            "twice":1,"twice":2}"#;
        for (pointer, equals, expected) in [
            ("/status", json!("finished"), true),
            ("/status", json!("Finished"), false),
            ("/status/0", json!("f"), false),
            ("/missing", json!(null), false),
            ("/no", json!(null), true),
            ("/yes", json!(true), true),
            ("/yes", json!("true"), false),
            ("/n", json!(3), true),
            ("/n", json!(3.0), true),
            ("/n", json!("3"), false),
            ("/f", json!(1), true),
            ("/neg", json!(-2), true),
            ("/neg", json!(2), false),
            ("/a~1b/m~0n", json!("x"), true),
            ("/", json!("empty"), true),
            ("/escape", json!("x"), true),
            ("/twice", json!(1), false),
            ("/twice", json!(2), true),
            ("/details/0/result", json!("busy"), true),
            ("/details/1/result", json!("answered"), true),
            ("/details/01/result", json!("answered"), false),
            ("/details/-/result", json!("answered"), false),
            ("/details/2/result", json!("answered"), false),
            ("/details/1/tags", json!(["a", {"b": []}]), true),
            ("/details/1/tags", json!(["a"]), false),
            ("/details/1/tags", json!(["a", {"b": []}, 1]), false),
            ("/details/1/tags/1", json!({"b": []}), true),
            ("/details/1/tags/1", json!({"b": [], "c": 1}), false),
            ("/details/1/tags/1", json!({}), false),
            ("/details/0", json!({"result": "busy"}), true),
            ("", json!({}), false),
        ] {
            let condition = Condition::new(&config::When { pointer: pointer.into(), equals: equals.clone() });
            assert_eq!(condition.holds(text), expected, "{pointer} {equals}");
        }
        let whole =
            |text: &str| Condition::new(&config::When { pointer: String::new(), equals: json!([1]) }).holds(text);
        assert!(whole("[1]") && !whole("1") && !whole("[1") && !whole("[1,2]"));
    }
}
