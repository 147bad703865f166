//! What people and metrics are told about a token that is not there.
//! Each has a word and a sentence of its own, and none a byte of an answer.

use std::collections::HashSet;

use super::*;

fn errors() -> Vec<LoginError> {
    let (status, code) = (500, Some(10_812));
    vec![
        LoginError::Unreachable,
        LoginError::Untrusted,
        LoginError::TimedOut,
        LoginError::Cut,
        LoginError::Throttled { retry_after: None },
        LoginError::Refused { status, code },
        LoginError::Failing { status, code },
        LoginError::Empty,
        LoginError::Html,
        LoginError::NotJson,
        LoginError::NoToken,
        LoginError::BadToken,
        LoginError::KeyNotText,
        LoginError::Abandoned,
    ]
}

#[test]
fn each_reason_has_a_word_and_a_sentence_of_its_own() {
    let reasons: Vec<_> = errors().into_iter().map(Reason::Login).chain([Reason::Throttled, Reason::Paced]).collect();
    let unavailable = |reason| Unavailable { reason, retry_after: Duration::ZERO };
    let said: HashSet<_> = reasons.iter().map(|reason| unavailable(*reason).to_string()).collect();
    assert_eq!(said.len(), reasons.len());
    assert!(said.iter().all(|sentence| sentence.starts_with("no token: ") && sentence.len() > 30), "{said:?}");
    let absent: Vec<_> =
        errors().into_iter().map(Absent::Failing).chain([Absent::NotAsked, Absent::Refused, Absent::Lapsed]).collect();
    let said: HashSet<_> = absent.iter().map(ToString::to_string).collect();
    let words: HashSet<_> = absent.iter().map(|absent| absent.reason()).collect();
    assert_eq!((said.len(), words.len()), (absent.len(), absent.len()));
    assert!(words.iter().all(|word| word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')), "{words:?}");
    let code = "status 500, code 10812";
    assert!(LoginError::Failing { status: 500, code: Some(10_812) }.to_string().contains(code));
}

#[test]
fn each_family_logs_in_where_the_platform_says() {
    assert_eq!(Family::Cloud.login_path(), "/service/cloud/auth");
    assert_eq!(Family::CallCentre.login_path(), "/service/callcenter/call/predict/auth");
}
