//! A gateway that takes callbacks in a folder that outlives it, and the question what that folder holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airudder_gateway::config::{self, InboxKey};
use airudder_gateway::inbox::{Filter, Inbox};
use airudder_gateway::metrics::Metrics;

use super::load::PATH;
use crate::support::{Folder, Gateway, Refusing, Setup};

/// A folder, and how a gateway is started in it.
pub(super) struct Scene {
    pub(super) folder: Folder,
    setup: Setup,
}

impl Scene {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let more = format!(
            "[inbound]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n\
             [[source]]\nname = \"calls\"\npath = \"{PATH}\"\n[inbox]\npath = \"data/inbox.db\"\n"
        );
        Self { setup: Setup { more, folder: Some(folder.clone()), ..Setup::default() }, folder }
    }

    /// Starts the gateway. It cannot log in anywhere, and takes callbacks all the same.
    pub(super) fn start(&self) -> Gateway {
        self.start_with(Vec::new())
    }

    /// The same with further environment variables.
    pub(super) fn start_with(&self, env: Vec<(String, String)>) -> Gateway {
        Setup { env, ..self.setup.clone() }.start_at(&Refusing::new().url(), None)
    }

    /// Where the database and its key are.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How often each call is kept. Nobody else may have the inbox open.
    ///
    /// # Errors
    /// The inbox cannot be opened or read.
    pub(super) fn kept(&self) -> Result<BTreeMap<String, usize>, String> {
        let path = self.data().join("inbox.db");
        let rules = config::Inbox {
            key: InboxKey::File(self.data().join("inbox.db.key")),
            path,
            retain: Duration::from_secs(14 * 24 * 3600),
            max_bytes: 1 << 30,
            old_keys: Vec::new(),
        };
        let metrics = Arc::new(Metrics::try_new().expect("metrics"));
        let inbox = Inbox::open(&rules, &[], metrics).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let kept = runtime.block_on(calls(&inbox));
        inbox.close();
        kept
    }

    /// Checks that every one of these calls is kept, and once.
    pub(super) fn assert_kept(&self, acknowledged: &[String], when: &str) {
        let kept = self.kept().unwrap_or_else(|error| panic!("{when}: {error}"));
        let lost: Vec<_> = acknowledged.iter().filter(|call| !kept.contains_key(*call)).collect();
        assert!(lost.is_empty(), "{when}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        let twice: Vec<_> = kept.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{when}: stored more than once: {twice:?}");
    }
}

async fn calls(inbox: &Inbox) -> Result<BTreeMap<String, usize>, String> {
    let (mut kept, mut after) = (BTreeMap::new(), None);
    loop {
        let page = inbox.list(Filter::default(), after, 500).await.map_err(|error| error.word().to_owned())?;
        let Some(last) = page.last() else { return Ok(kept) };
        after = Some(last.id);
        for listed in page {
            let shown = inbox.show(listed.id).await.map_err(|error| error.word().to_owned())?;
            let body = shown.and_then(|shown| shown.body).ok_or("an entry has no body")?;
            let callback: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            let call = callback["details"][0]["call_id"].as_str().ok_or("an entry has another body")?;
            *kept.entry(call.to_owned()).or_default() += 1;
        }
    }
}
