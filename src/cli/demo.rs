//! `demo`: a simulated platform, the gateway in front of it, and a program that makes four calls.
//!
//! Everything is real but the platform: TLS, tokens, AES, the listener. It shows what the program sent, what
//! went over the wire, and what came back. It prints only what it made up itself.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::ask::ask;
use crate::app::Gateway;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::simulator::{Options, Simulator};

const CONFIG: &str = include_str!("../../conf/demo.toml");

/// The platform's published key; a real one comes from the operator.
const KEY: &str = "airudderredduria";

/// Runs the demo. With `stay` it listens on the ports of `conf/demo.toml` and goes on until a signal.
pub(crate) fn demo(stay: bool) -> ExitCode {
    match show(stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(stay: bool) -> io::Result<()> {
    let platform = Simulator::start_in_thread(Options { tls: true, recording_size: 2 << 20, ..Options::default() })?;
    let folder = Folder::new()?;
    let (key, secret) = Options::default().key_pair;
    folder.write("ca.pem", platform.ca_pem().unwrap_or_default())?;
    folder.write("app_key", &key)?;
    folder.write("app_secret", &secret)?;
    folder.write("aes_key", KEY)?;
    let mut text = CONFIG.replace("https://127.0.0.1:8443", &platform.url());
    if !stay {
        text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9464", "127.0.0.1:0");
    }
    let config = Config::parse(&text, &folder.0, |_| None).map_err(io::Error::other)?;
    let metrics = Arc::new(Metrics::try_new().map_err(io::Error::other)?);
    let gateway = Gateway::try_new(&config, metrics).map_err(io::Error::other)?;
    let (outbound, admin, _) = gateway.addresses()?;
    let running = thread::Builder::new().name("gateway".into()).spawn(move || gateway.run())?;
    wait_until_ready(admin)?;

    println!("A simulated platform listens on {} (TLS, tokens, AES).", platform.url());
    println!("The gateway listens on http://{outbound} and logged in by itself. Four calls of a program:\n");

    let mut story = Story { platform: &platform, outbound, step: 0 };
    story.call("ask for a task", "GET", "/service/cloud/detail?TaskID=69f531a01a9df58aa6de2487be610abb", "")?;
    story.call(
        "create a task",
        "POST",
        "/service/cloud/task",
        r#"{"TaskName":"催收-陈小明","RobotID":"5d3f0a9c","Details":[{"Callee":"+6281200000001","Name":"陈小明"}]}"#,
    )?;
    let case =
        story.call("find a recording", "GET", "/service/cloud/case?TaskID=7c1e5b0f&Callee=+6281200000001", "")?;
    let link = serde_json::from_slice::<serde_json::Value>(&case).map_err(io::Error::other)?;
    let link = link["data"]["link"].as_str().ok_or_else(|| io::Error::other("the answer holds no link"))?.to_owned();
    let path = link.splitn(4, '/').nth(3).unwrap_or_default();
    story.call("download it", "GET", &format!("/{path}"), "")?;

    println!(
        "Metrics are at http://{admin}/metrics (Prometheus), readiness at http://{admin}/readyz. Some of them now:"
    );
    let (_, page) = ask(admin, "GET", "/metrics", None, "")?;
    let page = String::from_utf8_lossy(&page).into_owned();
    let shown = ["calls_total{", "token_refreshes_total{", "upstream_connections_total{", "call_seconds_count"];
    for line in page.lines().filter(|line| {
        line.strip_prefix("airudder_gateway_").is_some_and(|series| shown.iter().any(|name| series.starts_with(name)))
    }) {
        println!("  {line}");
    }
    if stay {
        println!(
            "\nStill running. Try it: curl -s 'http://{outbound}/service/cloud/detail?TaskID=1'   (Ctrl-C ends it)"
        );
        let _ = running.join();
    } else {
        println!("\nThat was all. `airudder-gateway demo --stay` keeps both running for your own curl.");
    }
    Ok(())
}

/// The calls, one after another.
struct Story<'a> {
    platform: &'a Simulator,
    outbound: SocketAddr,
    step: usize,
}

impl Story<'_> {
    /// Makes one call, prints its three views, returns the answer's body.
    fn call(&mut self, what: &str, method: &str, target: &str, body: &str) -> io::Result<Vec<u8>> {
        self.step += 1;
        self.platform.clear();
        println!("{}. {what}", self.step);
        println!("   program sent     {method} {target} {}", shorten(body.as_bytes()));
        let (status, answer) = ask(self.outbound, method, target, None, body)?;
        for arrived in self.platform.requests() {
            let query =
                arrived.query.as_deref().map(|query| format!("?{}", shorten(query.as_bytes()))).unwrap_or_default();
            println!("   on the wire      {} {}{query} {}", arrived.method, arrived.path, shorten(&arrived.body));
            let header = |name: &str| arrived.header(name).map(|value| shorten(value.as_bytes())).unwrap_or("-".into());
            println!(
                "                    Authorization: {}  Is-Encrypted: {}  Signed: {}",
                header("authorization").split(' ').next().map_or("-".to_owned(), |scheme| format!("{scheme} …")),
                header("is-encrypted"),
                header("signed")
            );
        }
        println!("   program received {status} {}\n", shorten(&answer));
        if status != 200 {
            return Err(io::Error::other(format!("the call was answered with {status}")));
        }
        Ok(answer)
    }
}

/// Text as it is, up to a line's length; bytes by their number.
fn shorten(bytes: &[u8]) -> String {
    const LINE: usize = 100;
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().count() <= LINE => text.to_owned(),
        Ok(text) if !text.contains('\0') => {
            format!("{}… ({} bytes)", text.chars().take(LINE).collect::<String>(), bytes.len())
        }
        _ => format!("({} bytes)", bytes.len()),
    }
}

fn wait_until_ready(admin: SocketAddr) -> io::Result<()> {
    for _ in 0..200 {
        if ask(admin, "GET", "/readyz", None, "").is_ok_and(|(status, _)| status == 200) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(25));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the gateway did not get a token"))
}

/// The demo's files; removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let number = getrandom::u64().map_err(io::Error::other)?;
        let folder = Path::new("/tmp").join(format!("airudder-gateway-demo-{number:016x}"));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let path: &Path = &self.0.join(name);
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
