//! Whatever the query: only the `+` of a phone number is repaired, what is sealed opens to the same query, and a target that
//! could be read as two things is refused each time.
#![no_main]

use std::sync::LazyLock;

use airudder_gateway::config::{EmptyQuery, Iv, Scheme};
use airudder_gateway::envelope::{Cipher, Signed};
use airudder_gateway::fuzzing::{SealsQueries, repair_plus};
use airudder_gateway::secret::Secret;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use http::Method;
use libfuzzer_sys::fuzz_target;

struct Account {
    cipher: Cipher,
    empty: EmptyQuery,
    seals: SealsQueries,
}

static ACCOUNTS: LazyLock<Vec<Account>> = LazyLock::new(|| {
    let schemes = [Scheme::EcbZero, Scheme::CbcPkcs7(Iv::Fixed([7; 16])), Scheme::CbcPkcs7(Iv::Prefix)];
    let emptiness = [EmptyQuery::Plain, EmptyQuery::Mark, EmptyQuery::Seal];
    let all = schemes.iter().flat_map(|scheme| emptiness.map(|empty| (scheme.clone(), empty)));
    all.map(|(scheme, empty)| {
        let cipher = Cipher::try_new(&scheme, &Secret::new("airudderredduria")).expect("a key");
        Account { seals: SealsQueries::new(scheme, cipher.clone(), empty), cipher, empty }
    })
    .collect()
});

/// What is repaired is `%2B` in the place of `+`, before digits, and nothing else.
fn check_repair(query: &str) {
    let repaired = repair_plus(query);
    assert_eq!(repair_plus(&repaired), repaired);
    let (mut left, mut rest) = (query.as_bytes(), repaired.as_bytes());
    while let [first, after @ ..] = left {
        if *first == b'+' && rest.first() != Some(&b'+') {
            assert!(after.len() >= 5 && after[..5].iter().all(u8::is_ascii_digit));
            rest = rest.strip_prefix(b"%2B").expect("a plus that is written otherwise");
        } else {
            rest = rest.strip_prefix(&[*first]).expect("the same byte");
        }
        left = after;
    }
    assert!(rest.is_empty());
}

fn check_line(account: &Account, method: &Method, path: &str, query: Option<&str>) {
    let leaving = account.seals.line(method, path, query);
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    assert_eq!(leaving.is_none(), path.is_empty() || path.as_bytes().iter().any(bad));
    let Some(leaving) = leaving else {
        assert_eq!(account.seals.line(method, path, query), None);
        return;
    };
    let line = leaving.line.strip_prefix(format!("{method} {path}").as_bytes()).expect("method and path");
    let text = line.strip_suffix(b" HTTP/1.1\r\n").expect("the end of a request line");
    let plain = query.unwrap_or_default();
    match text.strip_prefix(b"?") {
        Some(text) => {
            assert!(!plain.is_empty() || account.empty == EmptyQuery::Seal);
            assert!(text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)));
            let signed = leaving.signed.expect("a signature");
            // See envelope_open: zeros at the end of what is padded with zeros.
            if !plain.ends_with('\0') {
                assert_eq!(account.cipher.open_text(text, signed.as_bytes()).as_deref(), Ok(plain));
            }
            assert!(Signed::of(plain.as_bytes()).matches(signed.as_bytes()));
        }
        None => {
            assert!(plain.is_empty() && text.is_empty());
            assert_eq!(leaving.signed.is_some(), account.empty == EmptyQuery::Mark);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        let mut input = Input(data);
        let account = &ACCOUNTS[input.below(ACCOUNTS.len())];
        let method = [Method::GET, Method::HEAD, Method::POST, Method::DELETE][input.below(4)].clone();
        let (has_query, path) = (input.byte() & 1 == 0, input.some());
        let (Ok(path), Ok(query)) = (str::from_utf8(path), str::from_utf8(input.0)) else { return };
        check_repair(query);
        let repaired = repair_plus(query);
        check_line(account, &method, path, has_query.then_some(&*repaired));
    });
});
