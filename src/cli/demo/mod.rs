//! `demo`: a simulated platform, the gateway in front of it, a program that makes four calls, and the callback that comes
//! of one of them, delivered to a program that refuses it at first.
//!
//! Everything is real but the platform: TLS, tokens, AES, the listeners, the inbox on disk. It shows what was sent, what
//! went over the wire, and what came back. It prints only what it made up itself.

mod circle;
mod folder;
mod program;
mod receiver;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use circle::Events;
use folder::Folder;
use program::Story;

use super::ask::ask;
use crate::app::Gateway;
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::simulator::{Options, Simulator};

const CONFIG: &str = include_str!("../../../conf/demo.toml");

/// The platform's published key; a real one comes from the operator.
const KEY: &str = "airudderredduria";

/// What `conf/demo.toml` listens on, for programs, operators and the platform, and where the receiver does.
const LISTENS: [&str; 4] = ["127.0.0.1:8080", "127.0.0.1:9464", "127.0.0.1:8081", "127.0.0.1:9000"];

/// The path of its source.
const CALLBACKS: &str = "/callbacks/4f0c8b1e9a2d7c3560b1f2a4c8e97d05";

/// What `/metrics` says when the callback has been delivered.
const DELIVERED: &str = r#"delivery_attempts_total{outcome="delivered",receiver="books"} 1"#;

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
    let (events, happened) = mpsc::channel();
    let platform = platform(events.clone())?;
    let folder = Folder::new()?;
    let config = configure(&platform, &folder, stay, events)?;
    let metrics = Arc::new(Metrics::try_new().map_err(io::Error::other)?);
    let gateway = Gateway::try_new(&config, metrics, None).map_err(io::Error::other)?;
    let (outbound, admin, inbound) = gateway.addresses()?;
    let inbound = inbound.ok_or_else(|| io::Error::other("conf/demo.toml has no [inbound]"))?;
    platform.call_back_to(&format!("http://{inbound}{CALLBACKS}"))?;
    let running = thread::Builder::new().name("gateway".into()).spawn(move || gateway.run())?;
    until(admin, "/readyz/outbound", |status, _| status == 200, "the gateway did not get a token")?;

    println!("A simulated platform listens on {} (TLS, tokens, AES).", platform.url());
    println!("The gateway listens on http://{outbound} and logged in by itself. Four calls of a program:\n");
    let mut story = Story { platform: &platform, outbound, step: 0 };
    story.call("ask for a task", "GET", "/service/cloud/detail?TaskID=69f531a01a9df58aa6de2487be610abb", "")?;
    let created = clock::now();
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
        "The call of that task ends, and the platform calls back on http://{inbound}. Since the task was created:\n"
    );
    println!("5. take the callback");
    circle::show(&happened, created)?;
    print_metrics(admin)?;
    if stay {
        println!(
            "\nStill running. Try it: curl -s 'http://{outbound}/service/cloud/detail?TaskID=1'   (Ctrl-C ends it)\n\
             What is in the inbox:  curl -s http://{admin}/inbox"
        );
        let _ = running.join();
    } else {
        println!("\nThat was all. `airudder-gateway demo --stay` keeps everything running for your own curl.");
    }
    Ok(())
}

/// A platform that calls back, sealed, half a second after a task was created.
fn platform(events: Events) -> io::Result<Simulator> {
    Simulator::start_in_thread(Options {
        tls: true,
        recording_size: 2 << 20,
        seal_callbacks: true,
        call_time: Duration::from_millis(500),
        callback_observer: Some(Arc::new(move |tried| circle::tell(&events, tried))),
        ..Options::default()
    })
}

/// The sample configuration with its files, and with addresses of this run. Starts the receiver, whose address it names.
fn configure(platform: &Simulator, folder: &Folder, stay: bool, events: Events) -> io::Result<Config> {
    let (key, secret) = Options::default().key_pair;
    folder.write("ca.pem", platform.ca_pem().unwrap_or_default())?;
    folder.write("app_key", &key)?;
    folder.write("app_secret", &secret)?;
    folder.write("aes_key", KEY)?;
    folder.write("hook_secret", "a-secret-of-the-demo-and-of-nobody-else")?;
    let mut text = CONFIG.replace("https://127.0.0.1:8443", &platform.url());
    let [.., receiver] = LISTENS;
    let listen = if stay { receiver } else { "127.0.0.1:0" };
    let taken = receiver::start(listen.parse().map_err(io::Error::other)?, events)?;
    text = text.replace(receiver, &taken.to_string());
    if !stay {
        for listen in &LISTENS[..3] {
            text = text.replace(listen, "127.0.0.1:0");
        }
    }
    Config::parse(&text, folder.path(), |_| None).map_err(io::Error::other)
}

fn print_metrics(admin: SocketAddr) -> io::Result<()> {
    println!(
        "Metrics are at http://{admin}/metrics (Prometheus), readiness at http://{admin}/readyz. Some of them now:"
    );
    // The gateway notes a delivery a moment after the receiver has it.
    let page = until(admin, "/metrics", |_, page| page.contains(DELIVERED), "the delivery was not noted")?;
    let shown = [
        "calls_total{",
        "token_refreshes_total{",
        "upstream_connections_total{",
        "call_seconds_count",
        "callbacks_total{",
        "delivery_attempts_total{",
    ];
    for line in page.lines().filter(|line| {
        let series = line.strip_prefix("airudder_gateway_").unwrap_or_default();
        shown.iter().any(|name| series.starts_with(name)) && !series.ends_with(" 0")
    }) {
        println!("  {line}");
    }
    Ok(())
}

/// Asks for a page of the admin listener until its status and text are as they should be; the text.
fn until(admin: SocketAddr, page: &str, is_so: impl Fn(u16, &str) -> bool, wanted: &str) -> io::Result<String> {
    for _ in 0..200 {
        if let Ok((status, text)) = ask(admin, "GET", page, None, "") {
            let text = String::from_utf8_lossy(&text).into_owned();
            if is_so(status, &text) {
                return Ok(text);
            }
        }
        thread::sleep(Duration::from_millis(25));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, wanted.to_owned()))
}
