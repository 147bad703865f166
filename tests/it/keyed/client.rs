//! The clients of the documentation that repeat with a key: each gets its answer through a gateway that is away, a platform that is
//! busy, refused tokens and a closed connection, and one task is created.

use std::io::{Read, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use airudder_gateway::simulator::{Fault, FaultKind};

use super::{TASK, created, keeping};
use crate::programs::BOOKS;
use crate::programs::client::python;
use crate::support::{Setup, arrived_at, platform, wait_until};

const PAGE: &str = include_str!("../../../docs/programs.md");

/// The page's client in a language, up to where it is made, and what the section about keys makes of it.
fn sample(language: &str, made: &str) -> String {
    let first = |text: &'static str| {
        let (_, from) = text.split_once(&format!("```{language}\n")).expect("a sample");
        from.split_once("```\n").expect("its end").0
    };
    let (client, _) = first(PAGE).split_once(made).expect("it is made");
    let (_, section) = PAGE.split_once("## One key, one call").expect("the section");
    format!("{}\n{}", client.trim_start_matches("<?php"), first(section))
}

/// An address behind which nobody answers the first call, and the gateway all others.
fn front(gateway: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut visitors = listener.incoming().map_while(Result::ok);
        // Once it has been asked: Node 20 waits for ever for one that closes before that.
        let first = visitors.next().map(|mut visitor| visitor.read(&mut [0; 64]));
        drop(first);
        for visitor in visitors {
            let Ok(behind) = TcpStream::connect(gateway) else { return };
            let (mut from, mut to) = (visitor.try_clone().expect("a handle"), behind.try_clone().expect("a handle"));
            std::thread::spawn(move || copy(&mut from, &mut to));
            let (mut from, mut to) = (behind, visitor);
            std::thread::spawn(move || {
                let _ = copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

/// Runs a client that creates a task twice under one key, with a token of yesterday the second time, and prints `status id`
/// for each.
fn tell(program: &str, args: &[&str], script: &str) {
    let platform = platform();
    let programs = crate::programs::setup();
    let (account, more) = ("login = { burst = 10, every = \"1ms\" }".into(), keeping().more + &programs.more);
    let setup = Setup { account, more, outbound: programs.outbound, env: programs.env, ..keeping() };
    let gateway = setup.start(&platform).ready();
    // The platform's own time may be a date, which no sample takes for a number.
    let body = r#"{"code":429}"#;
    let text = format!(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: Wed, 10 Jun 2026 02:06:20 GMT\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    platform.fault(FaultKind::Raw { text });
    platform.fault(Fault::too_many(1));
    platform.fault(Fault::new(FaultKind::Refuse).times(2));
    platform.fault(FaultKind::CloseAfter);
    let url = format!("http://{}", front(gateway.outbound));
    let mut command = Command::new(program);
    command.args(args).arg(script).env("URL", url).env("KEY", BOOKS.0).env("SECRET", BOOKS.1);
    let output = command.env("NO_PROXY", "127.0.0.1").output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (printed, errors) = (text(output.stdout), text(output.stderr));
    let lines: Vec<_> = printed.lines().collect();
    assert!(output.status.success() && lines.len() == 2 && lines[0] == lines[1], "{program}: {printed}\n{errors}");
    wait_until(&platform, "the refused ones are there, too", |_| created(&platform) == 5);
    let calls = arrived_at(&platform, TASK);
    assert_eq!(
        calls.iter().map(|call| call.status).collect::<Vec<_>>(),
        [None, Some(429), Some(401), Some(401), Some(200)]
    );
    assert!(lines[0].starts_with("200 ") && lines[0].len() > 10, "{printed}");
}

/// Whether a language is here; the gateway's own tests need only Python.
fn is_here(program: &str) -> bool {
    let is_here = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_here {
        println!("SKIPPED: {program} is not installed");
    }
    is_here
}

#[test]
fn the_client_in_python_creates_one_task() {
    let script = format!(
        r#"{}
client = KeyedAiRudder(os.environ["URL"], os.environ["KEY"], os.environ["SECRET"])
for _ in range(2):
    answer = client.create_task("order-1", {{"TaskName": "one"}})
    print(answer.status_code, answer.json()["data"]["TaskID"])
    client.token = "a token of yesterday"
"#,
        sample("python", "\nclient = ")
    );
    tell(python(), &["-c"], &script);
}

#[test]
fn the_client_in_php_creates_one_task() {
    if is_here("php") {
        let script = format!(
            r#"{}
class Aged extends KeyedAiRudder {{ public function age() {{ $this->token = 'a token of yesterday'; }} }}
$client = new Aged(getenv('URL'), getenv('KEY'), getenv('SECRET'));
for ($i = 0; $i < 2; $i++) {{
    [$status, $answer] = $client->createTask('order-1', ['TaskName' => 'one']);
    echo $status, ' ', $answer['data']['TaskID'], "\n";
    $client->age();
}}"#,
            sample("php", "\n$client = ")
        );
        tell("php", &["-r"], &script);
    }
}

#[test]
fn the_client_in_node_creates_one_task() {
    if is_here("node") {
        let script = format!(
            r#"{}
const later = globalThis.setTimeout;
globalThis.setTimeout = (then, wait, ...more) => {{
  if (Number.isNaN(wait)) throw new Error("it would not wait at all");
  return later(then, wait, ...more);
}};
const client = new KeyedAiRudder(process.env.URL, process.env.KEY, process.env.SECRET);
(async () => {{
  for (let i = 0; i < 2; i++) {{
    const got = await client.createTask("order-1", {{ TaskName: "one" }});
    console.log(got.status, got.answer.data.TaskID);
    client.token = "a token of yesterday";
  }}
}})();"#,
            sample("js", "\nconst { AIRUDDER_URL")
        );
        tell("node", &["-e"], &script);
    }
}
