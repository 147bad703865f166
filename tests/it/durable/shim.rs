//! Starting the gateway under `tests/powercut/shim.c`, which keeps a journal of what it does to its files.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::disk::Journal;
use super::scene::Scene;
use crate::support::{Folder, Gateway};

/// A gateway whose files are watched.
pub(super) struct Watched {
    pub(super) gateway: Gateway,
    journal: PathBuf,
    /// While a file of this name exists, the next sync fails.
    pub(super) fault: PathBuf,
}

impl Watched {
    /// Starts it in the folder of a scene. With `swallow`, its syncs do nothing and say that all is well.
    pub(super) fn start(scene: &Scene, swallow: bool) -> Self {
        Self::start_in(&scene.folder, swallow, |env| scene.start_with(env))
    }

    /// The same for any gateway: `start` starts it in this folder with these environment variables.
    pub(super) fn start_in(
        folder: &Folder,
        swallow: bool,
        start: impl FnOnce(Vec<(String, String)>) -> Gateway,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = folder.path().canonicalize().expect("the folder is there");
        let run = folder.with_extension(format!("run-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let (journal, fault) = (run.with_extension("journal"), run.with_extension("fault"));
        let mut env = vec![
            ("LD_PRELOAD".to_owned(), shim().display().to_string()),
            ("POWERCUT_FOLDER".to_owned(), folder.display().to_string()),
            ("POWERCUT_JOURNAL".to_owned(), journal.display().to_string()),
            ("POWERCUT_FAULT".to_owned(), fault.display().to_string()),
        ];
        if swallow {
            env.push(("POWERCUT_SWALLOW".to_owned(), "1".to_owned()));
        }
        // Before the start: whatever happens then, the files are gone with this.
        let gateway = start(env);
        Self { gateway, journal, fault }
    }

    /// Lets the next sync fail.
    pub(super) fn fail_next_sync(&self) {
        std::fs::write(&self.fault, "").expect("the order is given");
    }

    /// Whether that has happened.
    pub(super) fn has_failed(&self) -> bool {
        self.fault.with_extension("fault.taken").exists()
    }

    /// Kills it, and reads what it did until then.
    pub(super) fn kill(mut self) -> Journal {
        self.gateway.kill();
        self.journal()
    }

    /// What it did so far.
    pub(super) fn journal(&self) -> Journal {
        Journal::read(&self.journal)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for file in [&self.journal, &self.fault, &self.fault.with_extension("fault.taken")] {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// The shim, built once for each run of the tests.
fn shim() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("powercut-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/powercut/shim.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&built)
            .args([source, "-ldl", "-lpthread"])
            .status();
        assert!(status.expect("cc is there: Rust links with it").success(), "the shim does not build");
        built
    })
}
