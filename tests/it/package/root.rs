//! A root to install into: this machine's own files below, and a layer over them that takes every change and is thrown away.
//! So a package is installed by the real dpkg, with its real scripts, and the machine notices nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::Folder;
use crate::support::mounted::Mounted;

/// In a mount namespace of its own, so that nothing of it is seen outside and all of it ends with the command. `$1` is the
/// folder, `$2` how the root may be written: `rw`, or `ro` but for the gateway's state, as the unit has it (ProtectSystem=strict).
const INSIDE: &str = r#"
set -e
cd "$1"; writable=$2; shift 2
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount --rbind /dev root/dev
mount -t proc -o hidepid=invisible proc root/proc
mount -t tmpfs tmpfs root/run
if [ "$writable" = ro ]; then
    umask 077
    mount --bind root/var/lib/airudder-gateway root/var/lib/airudder-gateway
    mount -o remount,bind,ro root
fi
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec $TRACER chroot root "$@"
"#;

/// One root. What was installed in it is gone with it.
pub(super) struct Root {
    at: PathBuf,
    _layer: Mounted,
    _folder: Folder,
}

impl Root {
    /// A new one; `None` when this user may not mount, or the kernel has no such layers. That is printed.
    pub(super) fn try_new() -> Option<Self> {
        let folder = Folder::new();
        let at = folder.path().join("layer");
        let layer = Mounted::try_new(at.clone(), "512m")?;
        for part in ["upper", "work", "root"] {
            std::fs::create_dir(at.join(part)).expect("a folder");
        }
        let root = Self { at, _layer: layer, _folder: folder };
        if !root.command("rw", &["true"]).output().is_ok_and(|done| done.status.success()) {
            println!("SKIPPED: a root to throw away needs overlay mounts");
            return None;
        }
        Some(root)
    }

    /// A command inside. The process that is started becomes that command.
    pub(super) fn command(&self, writable: &str, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh"]);
        command.arg(&self.at).arg(writable).args(args);
        command
    }

    /// Runs it to its end, as root.
    pub(super) fn run(&self, args: &[&str]) -> (bool, String) {
        told(&self.command("rw", args).output().expect("it runs"))
    }

    /// The same; it has to go well. What it printed.
    #[track_caller]
    pub(super) fn do_it(&self, args: &[&str]) -> String {
        let (well, printed) = self.run(args);
        assert!(well, "{args:?}: {printed}");
        printed
    }

    /// Where a file of it is that was made or changed inside. Nothing may run inside while it is written.
    pub(super) fn changed(&self, path: &str) -> PathBuf {
        self.at.join("upper").join(path.trim_start_matches('/'))
    }

    /// Puts a file into it.
    pub(super) fn put(&self, from: &Path, path: &str) {
        let to = self.changed(path);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("it is made");
        std::fs::copy(from, to).expect("it is copied");
    }

    /// What a tracer wrote beside it.
    pub(super) fn trace(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.at.join("trace")).expect("a trace")).into_owned()
    }

    /// Owner, group and mode of files and folders, or that there is none.
    pub(super) fn owners(&self, paths: &[&str]) -> Vec<String> {
        let one = |path: &&str| {
            let (found, printed) = self.run(&["stat", "--format=%U:%G %a", path]);
            if found { printed.trim().to_owned() } else { "none".to_owned() }
        };
        paths.iter().map(one).collect()
    }
}

/// Whether it went well, and all it printed.
pub(super) fn told(done: &Output) -> (bool, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout) + &text(&done.stderr))
}
