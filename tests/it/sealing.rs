//! Sealing under faults: whatever fails, what leaves is ciphertext.

use airudder_gateway::config::Scheme;
use airudder_gateway::envelope::Cipher;
use airudder_gateway::secret::Secret;
use airudder_gateway::simulator::{Fault, FaultKind, Simulator};

use crate::support::gateway::KEY;
use crate::support::{Setup, arrived_at, platform};

const TASK: &str = "/service/cloud/task";
const CASE: &str = "/service/cloud/case";
const BODY: &str = r#"{"TaskName":"催收-陈小明","Details":[{"Callee":"+6281200000001","Name":"MARKED-NAME"}]}"#;
const QUERY: &str = "TaskID=MARKED-TASK&Callee=%2B6281200000001&Name=%E9%99%88%E5%B0%8F%E6%98%8E";

/// The bodies and queries above, in every spelling in which they could show.
const MARKS: [&str; 9] = [
    "MARKED-",
    "6281200000001",
    "催收",
    "陈小明",
    "%E9%99%88",
    "TaskName",
    "Callee",
    // The number as it stands in base64 of the plain body and of the plain query.
    "NjI4MTIwMDAw",
    "2MjgxMjAwMDAw",
];

#[test]
fn what_arrives_under_three_failures_in_a_row_is_ciphertext_each_time() {
    for failure in failures() {
        let platform = platform();
        let gateway = unpaced().start(&platform).ready();
        for path in [TASK, CASE] {
            platform.fault(failure.clone().on_path(path).times(3));
        }
        for _ in 0..3 {
            gateway.client().post(TASK, BODY);
            gateway.client().get(&format!("{CASE}?{QUERY}"));
        }
        for path in [TASK, CASE] {
            assert!(arrived_at(&platform, path).len() >= 3, "{failure:?}");
        }
        assert_sealed(&platform, &format!("{failure:?}"));
    }
}

#[test]
fn what_arrives_while_failures_follow_each_other_is_ciphertext_each_time() {
    let platform = platform();
    let gateway = unpaced().start(&platform).ready();
    for round in 0..3 {
        for failure in failures() {
            platform.fault(failure);
        }
        platform.fault(Fault::status(500).on_auth());
        for _ in 0..4 {
            gateway.client().post(TASK, BODY);
            gateway.client().get(&format!("{CASE}?{QUERY}"));
            platform.revoke_tokens();
        }
        assert_sealed(&platform, &format!("round {round}"));
    }
    platform.clear_faults();
    assert_eq!(gateway.client().post(TASK, BODY).status, 200);
}

fn unpaced() -> Setup {
    Setup { account: "login = { burst = 1000, every = \"10ms\" }".into(), ..Setup::default() }
}

/// Failures that a program or a gateway could be tempted to answer by another try.
fn failures() -> Vec<Fault> {
    vec![
        Fault::status(500),
        Fault::status(400),
        Fault::code(500),
        Fault::cut(),
        Fault::new(FaultKind::CutBeforeAnswer { reset: true }),
        Fault::new(FaultKind::CutMidAnswer { after: 5, reset: false }),
        Fault::new(FaultKind::Refuse),
        Fault::new(FaultKind::Unsealed),
        Fault::new(FaultKind::OtherKey),
    ]
}

/// Every call that arrived was sealed, opens to what was sent, and shows none of it.
#[track_caller]
fn assert_sealed(platform: &Simulator, what: &str) {
    let cipher = Cipher::try_new(&Scheme::EcbZero, &Secret::new(KEY)).expect("the key of the account");
    for request in platform.requests().iter().filter(|request| !request.path.ends_with("/auth")) {
        assert!(request.sealed(), "{what}: {request:?}");
        let (text, sent) = match request.path.as_str() {
            TASK => (&*request.body, BODY),
            _ => (request.query.as_deref().unwrap_or_default().as_bytes(), QUERY),
        };
        let opened = cipher.open(text, request.header("signed").unwrap_or_default().as_bytes());
        assert!(opened.is_ok_and(|opened| opened == sent.as_bytes()), "{what}: {request:?}");
        let mut shown = format!("{} {}", request.path, request.query.as_deref().unwrap_or_default());
        shown.push_str(&String::from_utf8_lossy(&request.body));
        for (name, value) in &request.headers {
            shown.push_str(&format!(" {name}: {value}"));
        }
        for mark in MARKS {
            assert!(!shown.contains(mark), "{what}: {mark} arrived plain in {request:?}");
        }
    }
}
