//! What these stories share: a gateway that takes callbacks, and callbacks in every form.

use std::sync::Arc;
use std::time::Duration;

use airudder_gateway::config::{self, InboxKey, Iv, Scheme};
use airudder_gateway::envelope::Cipher;
use airudder_gateway::inbox::{Filter, Inbox, Shown};
use airudder_gateway::metrics::Metrics;
use airudder_gateway::secret::Secret;

use crate::support::gateway::Folder;
use crate::support::{Answer, Client, Gateway, KEY, Refusing, Setup};

/// The path of the first source.
pub(crate) const PATH: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";

/// The samples of the platform's documentation.
pub(crate) const SAMPLES: [(&str, &str); 4] = [
    ("call", include_str!("../../data/callbacks/call-finished.json")),
    ("calls_unanswered", include_str!("../../data/callbacks/calls-unanswered.json")),
    ("waba", include_str!("../../data/callbacks/workflow-waba-status.json")),
    ("predict.agent", include_str!("../../data/callbacks/predict-agent-status.json")),
];

/// A gateway whose account does not matter and whose sources and receivers do.
pub(crate) struct Setting {
    /// Lines of `[inbound]` beside `listen`.
    pub(crate) inbound: String,
    /// Lines of the first `[[source]]` beside name and path.
    pub(crate) source: String,
    /// Further sections.
    pub(crate) more: String,
    /// How its account seals, as `encryption = …` has it.
    pub(crate) encryption: &'static str,
}

/// The schemes, as the configuration has them and as the test uses them.
pub(crate) fn schemes() -> [(&'static str, Scheme); 3] {
    let key = "key = { env = \"AES_KEY\" }";
    let leak = |text: String| -> &'static str { text.leak() };
    [
        (leak(format!("{{ scheme = \"aes-ecb-zero\", {key} }}")), Scheme::EcbZero),
        (leak(format!("{{ scheme = \"aes-cbc-pkcs7\", {key}, iv = \"prefix\" }}")), Scheme::CbcPkcs7(Iv::Prefix)),
        (
            leak(format!("{{ scheme = \"aes-cbc-pkcs7\", {key}, iv = {{ fixed = \"0123456789abcdef\" }} }}")),
            Scheme::CbcPkcs7(Iv::Fixed(*b"0123456789abcdef")),
        ),
    ]
}

/// With the platform's key.
pub(crate) fn cipher(scheme: &Scheme) -> Cipher {
    Cipher::try_new(scheme, &Secret::new(KEY)).expect("a key")
}

impl Default for Setting {
    fn default() -> Self {
        Self { inbound: String::new(), source: String::new(), more: String::new(), encryption: schemes()[0].0 }
    }
}

impl Setting {
    /// Nobody receives what is stored unless the test says so.
    pub(crate) fn setup(&self) -> Setup {
        let Self { inbound, source, more, encryption } = self;
        Setup {
            sealed: false,
            account: format!("encryption = {encryption}"),
            more: format!(
                "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n{inbound}\n\
                 [[source]]\nname = \"calls\"\npath = \"{PATH}\"\n{source}\n[inbox]\n{more}\n"
            ),
            ..Setup::default()
        }
    }

    /// Starts it in a folder that outlives it.
    pub(crate) fn start_in(&self, folder: &Folder) -> Gateway {
        Setup { folder: Some(folder.clone()), ..self.setup() }.start_at(&Refusing::new().url(), None)
    }

    /// Starts it without a platform to log in at: callbacks are taken all the same.
    pub(crate) fn start(&self) -> Gateway {
        self.setup().start_at(&Refusing::new().url(), None)
    }
}

/// A connection of the platform.
pub(crate) fn platform(gateway: &Gateway) -> Client {
    Client::connect(gateway.inbound.expect("callbacks are configured"))
}

/// The header lines and the body of a sealed callback.
pub(crate) fn sealed(cipher: &Cipher, plain: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    let sealed = cipher.seal(plain.as_ref());
    (format!("Is-Encrypted: 1\r\nSigned: {}\r\n", sealed.signed.as_str()), sealed.text.to_vec())
}

/// Sends one to the first source.
pub(crate) fn call_back(client: &mut Client, (headers, body): &(String, Vec<u8>)) -> Answer {
    client.post_with(PATH, headers, body)
}

/// Checks that it is acknowledged.
#[track_caller]
pub(crate) fn assert_acknowledged(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
}

/// How many callbacks of the first source ended so.
pub(crate) fn ended(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("callbacks_total{{outcome=\"{outcome}\",source=\"calls\"}}"))
}

/// What a gateway that has stopped left in this folder.
pub(crate) fn kept<T>(folder: &Folder, ask: impl AsyncFnOnce(&Inbox) -> T) -> T {
    let path = folder.path().join("data/inbox.db");
    let rules = config::Inbox {
        key: InboxKey::File(folder.path().join("data/inbox.db.key")),
        path,
        retain: Duration::from_secs(86_400),
        keep_answers: Duration::from_secs(86_400),
        max_bytes: 1 << 30,
        ledger: Duration::from_secs(7 * 24 * 3600),
        ledger_max_bytes: 64 << 20,
        old_keys: Vec::new(),
    };
    let metrics = Arc::new(Metrics::try_new().expect("no two declarations clash"));
    let inbox = Inbox::open(&rules, &[], metrics).expect("it opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answer = runtime.block_on(ask(&inbox));
    inbox.close();
    answer
}

/// Stops it in good order and asks what it kept.
pub(crate) fn stop_and_ask<T>(mut gateway: Gateway, folder: &Folder, ask: impl AsyncFnOnce(&Inbox) -> T) -> T {
    gateway.terminate();
    assert!(gateway.wait().success(), "{}", gateway.printed());
    kept(folder, ask)
}

/// Everything that fits, with bodies, oldest first.
pub(crate) async fn shown(inbox: &Inbox, filter: Filter) -> Vec<Shown> {
    let mut all = Vec::new();
    for listed in inbox.list(filter, None, 1000).await.expect("it lists") {
        all.push(inbox.show(listed.id).await.expect("it shows").expect("it is there"));
    }
    all.sort_by_key(|shown| shown.listed.id);
    all
}
