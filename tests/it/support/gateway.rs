//! The gateway under test: the real binary, started with a configuration of its own in a folder of its own.
//! Everything it prints is kept, so that a test can search it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airudder_gateway::clock;
use airudder_gateway::simulator::Simulator;

use super::output::Output;
use super::{Answer, Client, Exposition};

/// How long anything that has to happen may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The key of the simulator's default account.
pub(crate) const KEY: &str = "airudderredduria";

/// A configuration to start with; the sections are TOML lines.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Lines of `[outbound]` beside `listen`.
    pub(crate) outbound: String,
    /// Lines of `[admin]` beside `listen`.
    pub(crate) admin: String,
    /// Lines of the first `[[account]]` beside name, upstream and key pair.
    pub(crate) account: String,
    /// Whether the first account seals (aes-ecb-zero with [`KEY`]).
    pub(crate) sealed: bool,
    /// Further sections.
    pub(crate) more: String,
    /// Further environment variables.
    pub(crate) env: Vec<(String, String)>,
    /// Whether it is started by somebody who goes on without it.
    pub(crate) upgradable: bool,
    /// Where the program lies; `None`: where it was built.
    pub(crate) program: Option<PathBuf>,
    /// Most files it may have open; `None`: as many as this test.
    pub(crate) open_files: Option<u64>,
    /// Where its files are; `None`: a folder of its own for each start, gone with it.
    pub(crate) folder: Option<Folder>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            outbound: "threads = 2".into(),
            admin: String::new(),
            account: String::new(),
            sealed: true,
            more: String::new(),
            env: Vec::new(),
            upgradable: true,
            program: None,
            open_files: None,
            folder: None,
        }
    }
}

impl Setup {
    /// One account without encryption.
    pub(crate) fn unsealed() -> Self {
        Self { sealed: false, ..Self::default() }
    }

    /// The text of the configuration for a platform at `upstream`; a CA is written beside it.
    fn text(&self, upstream: &str, ca: bool) -> String {
        let mut text = format!(
            "[outbound]\nlisten = \"127.0.0.1:0\"\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n{}\n\
             [[account]]\nname = \"main\"\nupstream = \"{upstream}\"\n\
             app_key = {{ env = \"APP_KEY\" }}\napp_secret = {{ env = \"APP_SECRET\" }}\n{}\n",
            self.outbound, self.admin, self.account
        );
        if ca {
            text.push_str("ca = \"ca.pem\"\n");
        }
        if self.sealed {
            text.push_str("encryption = { scheme = \"aes-ecb-zero\", key = { env = \"AES_KEY\" } }\n");
        } else if !self.account.contains("encryption") {
            text.push_str("encryption = \"off\"\n");
        }
        let _ = write!(text, "{}", self.more);
        text
    }

    /// Starts the gateway in front of this platform and waits until it listens.
    pub(crate) fn start(&self, platform: &Simulator) -> Gateway {
        self.start_at(&platform.url(), platform.ca_pem())
    }

    /// Starts the gateway in front of whatever is at `upstream`.
    pub(crate) fn start_at(&self, upstream: &str, ca_pem: Option<&str>) -> Gateway {
        self.start_with(self.text(upstream, ca_pem.is_some()), ca_pem)
    }

    /// The same with the configuration as `change` writes it.
    pub(crate) fn start_changed(&self, upstream: &str, change: impl FnOnce(String) -> String) -> Gateway {
        self.start_with(change(self.text(upstream, false)), None)
    }

    fn start_with(&self, text: String, ca_pem: Option<&str>) -> Gateway {
        let folder = self.folder.clone().unwrap_or_else(Folder::new);
        if let Some(pem) = ca_pem {
            std::fs::write(folder.path().join("ca.pem"), pem).expect("the CA is written");
        }
        Gateway::of(self.command("run", &folder, &text), folder)
    }

    /// The program with this configuration, in an environment of its own.
    fn command(&self, subcommand: &str, folder: &Folder, text: &str) -> Command {
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, text).expect("the configuration is written");
        let program = self.program.clone().unwrap_or_else(built);
        let mut command = match self.open_files {
            None => Command::new(&program),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &most.to_string()]).arg(&program);
                shell
            }
        };
        command
            .args([subcommand, "--config"])
            .arg(&config)
            .args((self.upgradable && subcommand == "run").then_some("--upgradable"))
            .env("APP_KEY", "demo-key")
            .env("APP_SECRET", "demo-secret")
            .env("AES_KEY", KEY)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// The gateway that was built with these tests, or the one that `GATEWAY` names: a release build, where it is measured.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
pub(crate) fn built() -> PathBuf {
    std::env::var_os("GATEWAY").map_or_else(|| env!("CARGO_BIN_EXE_airudder-gateway").into(), PathBuf::from)
}

/// A folder, gone when its last handle is dropped. Kept in a setup, it outlives each gateway that starts in it.
#[derive(Clone)]
pub(crate) struct Folder(Arc<Made>);

struct Made(PathBuf);

impl Folder {
    /// A new one, empty.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gateway-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the gateway");
        Self(Arc::new(Made(folder)))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0.0
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A subcommand that ends by itself: what it printed, and how it ended.
pub(crate) struct Finished {
    /// The exit status.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Finished {
    /// Runs a subcommand with a setup's configuration, as `change` writes it.
    pub(crate) fn of(subcommand: &str, setup: &Setup, change: impl FnOnce(String) -> String) -> Self {
        let folder = Folder::new();
        let text = change(setup.text("http://127.0.0.1:9", false));
        let output = setup.command(subcommand, &folder, &text).output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// An address that refuses connections for as long as this lives: its port is taken by a connection, so nobody
/// listens there and nobody else can be given it.
pub(crate) struct Refusing {
    taken: TcpStream,
    _peer: TcpListener,
}

impl Refusing {
    /// Takes a port.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        Self { taken, _peer: listener }
    }

    /// As an upstream.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.taken.local_addr().expect("an address"))
    }
}

/// A running gateway. It is killed when dropped.
pub(crate) struct Gateway {
    /// Where programs call.
    pub(crate) outbound: SocketAddr,
    /// Where operators look.
    pub(crate) admin: SocketAddr,
    /// Where the platform calls back, when it does.
    pub(crate) inbound: Option<SocketAddr>,
    pub(super) output: Output,
    child: Child,
    folder: Folder,
}

impl Gateway {
    /// What a command becomes that runs the gateway with a configuration of `folder`, once it listens.
    pub(crate) fn of(mut command: Command, folder: Folder) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the gateway starts");
        let output = Output::default();
        output.follow(child.stdout.take().expect("its output is ours"));
        output.follow(child.stderr.take().expect("its errors are ours"));
        let (outbound, admin, inbound) = output.listening();
        Self { outbound, admin, inbound, child, output, folder }
    }

    /// A new connection of a program.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.outbound)
    }

    /// The configuration that it was started with.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// A page of the admin listener: status and body.
    pub(crate) fn admin_page(&self, path: &str) -> (u16, String) {
        let answer = Client::connect(self.admin).get(path);
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }

    /// Waits until the gateway holds a token for every account.
    pub(crate) fn ready(self) -> Self {
        self.has_token();
        self
    }

    /// Waits until it holds a token: no login is under way then, and its connection is closed.
    pub(crate) fn has_token(&self) {
        self.until(|gateway| gateway.admin_page("/readyz/outbound").0 == 200);
    }

    /// Waits until something is so that only asking shows.
    pub(crate) fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let end = clock::now() + PATIENCE;
        while !is_so(self) {
            assert!(clock::now() < end, "it never came: {}", self.printed());
            std::thread::yield_now();
        }
    }

    /// The metrics page, checked against its format.
    pub(crate) fn metrics(&self) -> Exposition {
        Exposition::parse(&self.admin_page("/metrics").1)
    }

    /// The value of one series, 0 when it does not exist (yet), as [`Exposition::value`] names it.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        self.metrics().value(series)
    }

    /// The first log line that fits, waiting for it.
    pub(crate) fn log_line(&self, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.output.first(|line| serde_json::from_str(line).ok().filter(&fits))
    }

    /// The log line of the call that got this answer. Its metrics were counted before it was written.
    pub(crate) fn line_of(&self, answer: &Answer) -> serde_json::Value {
        let id = answer.header("x-request-id").expect("every answer has an id");
        self.log_line(|line| line["request_id"] == id)
    }

    /// Everything it has printed so far, on both outputs.
    pub(crate) fn printed(&self) -> String {
        self.output.text()
    }

    /// Process id, for signals and for reading its memory.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it has used so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Everything it printed, once it has ended.
    pub(crate) fn printed_whole(&self) -> String {
        self.output.whole()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Writes another configuration into the file that it was started with.
    pub(crate) fn rewrite(&self, setup: &Setup, upstream: &str) {
        let beside = self.folder.path().join("next.toml");
        std::fs::write(&beside, setup.text(upstream, false)).expect("the configuration is written");
        // Whole at once, because it may be read at any moment.
        std::fs::rename(beside, self.config()).expect("it takes the other's place");
    }

    /// Has the file read again: the status of the answer, and its page.
    pub(crate) fn reload(&self) -> (u16, serde_json::Value) {
        let mut operator = Client::connect(self.admin);
        operator.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nX-Gateway-Admin: 1\r\nContent-Length: 0\r\n\r\n");
        let answer = operator.answer();
        (answer.status, answer.json())
    }

    /// The words of what the status page finds not to be well.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut operator = Client::connect(self.admin);
        let status = operator.send("GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().json();
        let troubles = status["troubles"].as_array().expect("a list").iter();
        troubles.map(|trouble| trouble["word"].as_str().expect("a word").to_owned()).collect()
    }

    /// Reloads another configuration, which has to serve afterwards.
    #[track_caller]
    pub(crate) fn reload_as(&self, setup: &Setup, upstream: &str) {
        self.rewrite(setup, upstream);
        let (status, page) = self.reload();
        assert_eq!((status, &page["reloaded"]), (200, &true.into()), "{page}");
    }

    /// Ends it as a crash does: SIGKILL, which no program sees coming.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it was started here");
        self.wait();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = clock::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it was started here") {
                return status;
            }
            assert!(clock::now() < end, "it never ends: {}", self.printed());
            std::thread::yield_now();
        }
    }
}

/// Sends a signal to a process that was started here.
pub(crate) fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").arg(name).arg(pid.to_string()).status().expect("kill runs");
    assert!(sent.success());
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.kill_successors();
    }
}
