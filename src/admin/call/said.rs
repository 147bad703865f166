//! What a callback says about a call, in a few plain words.
//!
//! Only from the documented fields whose values are words of the platform, and only where they look like such words. Of a
//! number it shows the last two digits, so that two calls can be told apart and nobody can be called.

use serde_json::Value;

/// Most calls of one callback that are told.
const MOST: usize = 3;

/// Longest word of the platform, in bytes; the documented ones have about ten.
const LONGEST_WORD: usize = 24;

/// Longest call that is one, in seconds.
const LONGEST_CALL: u64 = 86_400;

/// The words of each call, of those that have this id; when none has, of the first ones.
pub(super) fn of(body: &[u8], id: &str) -> Vec<String> {
    let Ok(callback) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let details: Vec<_> = match callback.get("details") {
        Some(Value::Array(details)) if !details.is_empty() => details.iter().collect(),
        _ => vec![callback.get("body").unwrap_or(&callback)],
    };
    let is_asked =
        |detail: &&&Value| ["call_id", "callid"].iter().any(|name| detail.get(name).is_some_and(|of| *of == id));
    let asked: Vec<_> = details.iter().filter(is_asked).copied().collect();
    let told = if asked.is_empty() { details } else { asked };
    let more = told.len().saturating_sub(MOST);
    let mut said: Vec<_> = told.into_iter().take(MOST).map(words).filter(|said| !said.is_empty()).collect();
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said
}

fn words(detail: &Value) -> String {
    let word = |name: &str| detail.get(name).and_then(Value::as_str).filter(|word| is_word(word)).map(str::to_owned);
    let result = word("result").or_else(|| word("status"));
    let hangup = word("hangup_type").map(|how| format!("hung up {how}"));
    let seconds = detail.get("duration").and_then(Value::as_u64).filter(|seconds| *seconds <= LONGEST_CALL);
    let callee = detail.get("callee").and_then(Value::as_str).and_then(masked);
    let all = [result, hangup, seconds.map(|seconds| format!("{seconds} s")), callee];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Letters, and what stands between them in the platform's words. No digits, so no number.
fn is_word(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b' ');
    (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(is_of_word)
}

/// The last two digits of a number, which has more than four.
fn masked(number: &str) -> Option<String> {
    let digits: Vec<_> = number.chars().filter(char::is_ascii_digit).collect();
    (digits.len() > 4).then(|| format!("number ending in {}", digits[digits.len() - 2..].iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_callbacks_are_told_without_numbers() {
        let finished = include_bytes!("../../../tests/data/callbacks/call-finished.json");
        let told = ["finished, hung up ByCallee, 41 s, number ending in 01"];
        assert_eq!(of(finished, "c0ffee5b9e7d4a1fa2b3c4d5e6f70812"), told);
        let unanswered = of(include_bytes!("../../../tests/data/callbacks/calls-unanswered.json"), "a task");
        assert_eq!(unanswered.len(), 3);
        for sample in [
            &include_bytes!("../../../tests/data/callbacks/workflow-waba-status.json")[..],
            include_bytes!("../../../tests/data/callbacks/predict-agent-status.json"),
        ] {
            let told = of(sample, "x").join(" ");
            assert!(!told.contains("6281") && !told.is_empty(), "{told}");
        }
    }

    #[test]
    fn only_words_are_told_as_words() {
        for (body, told) in [
            (r#"{"status":"finished"}"#, &["finished"][..]),
            (r#"{"status":"6281377700042"}"#, &[]),
            (r#"{"status":"<script>"}"#, &[]),
            (r#"{"status":"a word that is far too long to be one"}"#, &[]),
            (r#"{"status":{"x":1},"duration":-1,"callee":"1234"}"#, &[]),
            (r#"{"callee":"+62 813-777-000-42","duration":99999}"#, &["number ending in 42"]),
            (r#"{"details":[{"call_id":"a","result":"busy"},{"call_id":"b","result":"finished"}]}"#, &["finished"]),
            (
                r#"{"details":[{"result":"x"},{"result":"x"},{"result":"x"},{"result":"x"}]}"#,
                &["x", "x", "x", "and 1 more"],
            ),
            ("not json", &[]),
        ] {
            assert_eq!(of(body.as_bytes(), "b"), told, "{body}");
        }
    }
}
