//! The Debian package: what is in it, and its life on a machine, from the first installation to the last trace of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::{Root, told};
use super::{bill, unit};
use crate::support::tools::{of_project, with_cargo_tools};
use crate::support::{Folder, Gateway, KEY, platform};

const CONFIG: &str = "/etc/airudder-gateway/gateway.toml";
const STATE: &str = "/var/lib/airudder-gateway";
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/airudder-gateway.service";

/// Packs the gateway that these tests run. The build itself is `make package`'s.
fn pack(folder: &Path, revision: &str) -> PathBuf {
    bill::make();
    let release = folder.join("release");
    std::fs::create_dir_all(&release).expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_airudder-gateway"), release.join("airudder-gateway")).expect("the gateway");
    let package = folder.join(format!("airudder-gateway-{revision}.deb"));
    let mut cargo = with_cargo_tools("cargo");
    cargo.args(["deb", "--no-build", "--fast", "--strip", "--locked", "--deb-revision", revision, "--output"]);
    let (well, printed) = told(&cargo.arg(&package).env("CARGO_TARGET_DIR", folder).output().expect("cargo"));
    assert!(well, "{printed}");
    package
}

/// `dpkg-deb` about a package.
fn ask(package: &Path, question: &str) -> String {
    let (well, printed) = told(&Command::new("dpkg-deb").arg(question).arg(package).output().expect("dpkg-deb runs"));
    assert!(well, "{printed}");
    printed
}

/// The files of a package: mode, and path.
fn files(package: &Path) -> Vec<(String, String)> {
    let listed = ask(package, "--contents");
    let of = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "everything is root's: {line}");
        (words[0].to_owned(), words[5].trim_start_matches('.').to_owned())
    };
    listed.lines().map(of).collect()
}

#[test]
fn a_package_is_installed_serves_is_upgraded_and_goes_without_a_trace() {
    let folder = Folder::new();
    let package = pack(folder.path(), "1");
    let files = files(&package);
    for (mode, path) in [
        ("-rwxr-xr-x", "/usr/bin/airudder-gateway"),
        ("-rw-r-----", CONFIG),
        ("-rw-r--r--", "/usr/lib/systemd/system/airudder-gateway.service"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/airudder-gateway.cdx.json"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/third-party-licenses.txt"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/copyright"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/SECURITY.md"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/docs/operate.md"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/examples/gateway.toml"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/examples/prometheus/airudder-gateway.rules.yml"),
        ("-rw-r--r--", "/usr/share/doc/airudder-gateway/examples/grafana/boards/health.json"),
    ] {
        assert!(files.contains(&(mode.into(), path.into())), "{mode} {path}: {files:?}");
    }
    let history = std::fs::read_to_string(of_project("packaging/debian/changelog")).expect("a history");
    assert!(history.starts_with(concat!("airudder-gateway (", env!("CARGO_PKG_VERSION"), "-1) ")), "{history}");
    let control = ask(&package, "--info");
    for line in [
        " Package: airudder-gateway",
        concat!(" Version: ", env!("CARGO_PKG_VERSION"), "-1"),
        " Depends: adduser, ca-certificates, libc6 (>= ",
    ] {
        assert!(control.contains(line), "{line}: {control}");
    }
    let Some(root) = Root::try_new() else { return };
    live(&root, &package, &pack(folder.path(), "2"));
}

fn live(root: &Root, package: &Path, next: &Path) {
    let own = ["airudder-gateway:airudder-gateway 700"; 2];
    let folders = ["/etc/airudder-gateway/secrets", STATE];
    root.put(package, "/root/package.deb");
    root.do_it(&["dpkg", "--install", "/root/package.deb"]);
    assert_eq!(
        root.owners(&["/etc/airudder-gateway", CONFIG]),
        ["root:airudder-gateway 750", "root:airudder-gateway 640"]
    );
    assert_eq!(root.owners(&folders), own);
    assert_eq!(root.owners(&[WANTED]), ["none"], "it is not enabled before it has secrets");
    let version = root.do_it(&["airudder-gateway", "--version"]);
    assert_eq!(version.trim(), concat!("airudder-gateway ", env!("CARGO_PKG_VERSION")));
    let (well, printed) = root.run(&["systemd-analyze", "verify", "--man=no", "airudder-gateway.service"]);
    assert!(well || printed.contains("No such file or directory"), "{printed}");

    // As it is installed: what is missing is said.
    let check = ["runuser", "-u", "airudder-gateway", "--", "airudder-gateway", "check", "--config", CONFIG];
    let (well, printed) = root.run(&check);
    assert!(!well && printed.contains("app_key names a file that cannot be read"), "{printed}");
    let secrets = format!(
        "umask 077; cd {}; printf demo-key >app_key; printf demo-secret >app_secret; printf {KEY} >aes_key; \
         chown airudder-gateway: *",
        folders[0]
    );
    root.do_it(&["sh", "-c", &secrets]);
    let said = root.do_it(&check);
    assert!(said.contains(": ok (1 account, ") && said.contains(", 0 warnings)"), "{said}");

    let served = serve(root);
    assert_eq!(
        root.owners(&[&format!("{STATE}/inbox.db"), &format!("{STATE}/inbox.db.key")]),
        ["airudder-gateway:airudder-gateway 600"; 2]
    );

    root.put(next, "/root/package.deb");
    // Under systemd the service is started anew, unless somebody forbids it as docs/operate.md has it. Nobody runs here.
    let policy = std::fs::read_to_string(of_project("docs/operate.md")).expect("the page");
    let policy =
        policy.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains("/usr/sbin/policy-rc.d"));
    let [write, allow, remove] = policy.collect::<Vec<_>>()[..] else { panic!("three lines about it") };
    let install = "dpkg --install /root/package.deb";
    let script = format!(
        "mkdir -p /run/systemd/system\n{write}\n{allow}\n{install}\n{remove}\ntest ! -e /usr/sbin/policy-rc.d\n"
    );
    let said = root.do_it(&["sh", "-ec", &script]);
    assert!(said.contains("returned 101, not running 'try-restart airudder-gateway.service'"), "{said}");
    assert_eq!(
        root.do_it(&["dpkg-query", "--show", "--showformat=${Version}", "airudder-gateway"]),
        concat!(env!("CARGO_PKG_VERSION"), "-2")
    );
    assert_eq!(root.do_it(&["cat", CONFIG]), served, "what an operator wrote stays");
    assert_eq!(root.owners(&[CONFIG]), ["root:airudder-gateway 640"]);
    assert_eq!(root.owners(&folders), own);

    root.do_it(&["dpkg", "--remove", "airudder-gateway"]);
    assert_eq!(root.owners(&["/usr/bin/airudder-gateway"]), ["none"]);
    assert_eq!(root.do_it(&["cat", CONFIG]), served);
    assert_eq!(
        root.owners(&[&format!("{STATE}/inbox.db")]),
        ["airudder-gateway:airudder-gateway 600"],
        "nothing is lost"
    );

    root.do_it(&["dpkg", "--purge", "airudder-gateway"]);
    assert_eq!(root.owners(&["/etc/airudder-gateway", STATE, "/usr/share/doc/airudder-gateway"]), ["none"; 3]);
}

/// Starts what was installed as the unit would, has a call answered before and after an upgrade in its place, and stops it. The configuration that it served with.
fn serve(root: &Root) -> String {
    let platform = platform();
    let installed = std::fs::read_to_string(root.changed(CONFIG)).expect("the configuration");
    let text = installed
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9464", "127.0.0.1:0")
        .replace("name = \"main\"\n", &format!("name = \"main\"\nupstream = \"{}\"\n", platform.url()));
    std::fs::write(root.changed(CONFIG), &text).expect("it is written");
    let start = unit::words("ExecStart");
    let user = unit::values("User").concat();
    let (reuid, regid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let mut words = vec!["setpriv", &reuid, &regid, "--init-groups", "--no-new-privs", "--bounding-set=-all"];
    words.extend(["--inh-caps=-all", "--"].into_iter().chain(start.iter().map(String::as_str)));
    // Where the unit's Type=notify has systemd told who goes on, the test goes on without being told.
    words.push("--upgradable");
    let mut command = root.command("ro", &words);
    let traces = Command::new("strace").arg("true").output().is_ok_and(|done| done.status.success());
    if traces {
        // Beside it, so that the process keeps its number.
        command.env("TRACER", "strace --daemonize=grandchild --follow-forks --quiet=all --output=trace");
    } else {
        println!("SKIPPED: strace is missing or may not trace, so nobody saw which system calls the gateway makes");
    }
    let mut gateway = Gateway::of(command, Folder::new()).ready();
    let answer = gateway.client().get("/service/cloud/detail?TaskID=69f531a01a9df58aa6de2487be610abb");
    assert_eq!((answer.status, &answer.json()["code"]), (200, &200.into()), "{answer:?}");
    // The unit's walls stand around the process that takes over, too.
    gateway.upgrade();
    let task = gateway.client().post_with("/service/cloud/task", "Idempotency-Key: one\r\n", "{\"TaskName\":\"one\"}");
    assert_eq!(task.status, 200, "{task:?}");
    gateway.stop_serving();
    assert!(gateway.wait().success(), "{}", gateway.printed_whole());
    if traces {
        unit::check_trace(&root.trace());
    }
    text
}
