//! How many callbacks a second the inbox puts on disk, and how long one waits for it: 1, 8 and 64 writers, bodies of 1 KiB
//! with a call id and one receiver. Beside it what bare SQLite does: one table, one insert for each, the same sync.
//!
//! `cargo bench --bench inbox -- [seconds=3] [writers=64] [folder=…]`. The folder has to be on a real disk.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on stops")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use airudder_gateway::clock;
use airudder_gateway::config::{Inbox as Rules, InboxKey};
use airudder_gateway::inbox::{Ids, Inbox, Kind, NewCallback};
use airudder_gateway::metrics::Metrics;
use airudder_gateway::secret::Secret;
use bytes::Bytes;

/// The gateway's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a body.
const BODY: usize = 1024;

fn main() {
    let argument = |name: &str| std::env::args().find_map(|text| text.strip_prefix(name).map(str::to_owned));
    let seconds = argument("seconds=").map_or(3.0, |text| text.parse().expect("seconds=<number>"));
    let folder =
        argument("folder=").map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-inbox"), PathBuf::from);
    let lasting = Duration::from_secs_f64(seconds);
    println!("{:<36}{:>12}{:>12}{:>12}{:>12}{:>12}", "", "appends/s", "CPU each", "p50", "p99", "max");
    let only = argument("writers=").map(|text| text.parse::<usize>().expect("writers=<number>"));
    for writers in [1, 8, 64].into_iter().filter(|writers| only.is_none_or(|only| only == *writers)) {
        for (name, order) in [("inbox", false), ("inbox, with an order key", true)] {
            print(name, writers, appends(&fresh(&folder), writers, lasting, order));
        }
        print("bare SQLite", writers, bare(&fresh(&folder), writers, lasting));
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

fn fresh(folder: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a folder");
    folder.join("inbox.db")
}

/// What a run of some seconds showed.
struct Run {
    waits: Vec<Duration>,
    lasted: Duration,
    /// Processor time of all threads.
    used: Duration,
}

fn print(name: &str, writers: usize, run: Run) {
    let Run { mut waits, lasted, used } = run;
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    let each = used / u32::try_from(waits.len()).expect("fewer than 2^32");
    let rate = waits.len() as f64 / lasted.as_secs_f64();
    let name = format!("{name} × {writers}");
    println!("{name:<36}{rate:>12.0}{each:>12.1?}{:>12.1?}{:>12.1?}{:>12.1?}", at(0.5), at(0.99), at(1.0));
}

/// Processor time of this process so far, in steps of 10 ms. It says more than the clock on a machine that others use.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux");
    let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// A body that is like no other: a random start, so that nothing is a repeat.
fn body(writer: usize, number: u64) -> (String, Bytes) {
    let call = format!("{writer:08x}{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut body = format!(r#"{{"call_id":"{call}","status":"finished","text":""#).into_bytes();
    body.resize(BODY, b'x');
    (call, body.into())
}

fn appends(path: &Path, writers: usize, lasting: Duration, order: bool) -> Run {
    let rules = Rules {
        path: path.to_owned(),
        retain: Duration::from_secs(86_400),
        keep_answers: Duration::from_secs(86_400),
        max_bytes: 64 << 30,
        ledger: Duration::from_secs(7 * 24 * 3600),
        ledger_max_bytes: 64 << 20,
        key: InboxKey::Given(Secret::new([7; 32])),
        old_keys: Vec::new(),
    };
    let metrics = Arc::new(Metrics::try_new().expect("metrics"));
    let inbox = Inbox::open(&rules, &["books".to_owned()], metrics).expect("an inbox");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (source, receiver): (Arc<str>, Arc<str>) = ("calls".into(), "books".into());
    let (began, before) = (now(), processor());
    let waits = runtime.block_on(async {
        let writers: Vec<_> = (0..writers)
            .map(|writer| {
                let (inbox, source, receiver) = (inbox.clone(), source.clone(), receiver.clone());
                tokio::spawn(async move {
                    let mut waits = Vec::new();
                    while began.elapsed() < lasting {
                        let (call, body) = body(writer, waits.len() as u64);
                        let order = order.then(|| call.clone());
                        let callback = NewCallback {
                            source: source.clone(),
                            receivers: vec![receiver.clone()],
                            kind: Kind::Call,
                            body,
                            ids: Ids { natural: true, order, calls: vec![call], tasks: Vec::new() },
                            received_ms: clock::wall_millis(),
                        };
                        let asked = now();
                        inbox.append(callback).await.expect("appended");
                        waits.push(asked.elapsed());
                    }
                    waits
                })
            })
            .collect();
        let mut all = Vec::new();
        for writer in writers {
            all.extend(writer.await.expect("a writer"));
        }
        all
    });
    let run = Run { waits, lasted: began.elapsed(), used: processor() - before };
    inbox.close();
    run
}

/// One thread, `batch` inserts in each transaction.
fn bare(path: &Path, batch: usize, lasting: Duration) -> Run {
    let connection = rusqlite::Connection::open(path).expect("a database");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)",
        )
        .expect("a table");
    let mut insert = connection.prepare("INSERT INTO t (body) VALUES (?1)").expect("an insert");
    let (began, before, mut waits) = (now(), processor(), Vec::new());
    while began.elapsed() < lasting {
        let asked = now();
        connection.execute_batch("BEGIN IMMEDIATE").expect("begun");
        for writer in 0..batch {
            let (_, body) = body(writer, waits.len() as u64);
            insert.execute([&body[..]]).expect("inserted");
        }
        connection.execute_batch("COMMIT").expect("committed");
        waits.extend(std::iter::repeat_n(asked.elapsed(), batch));
    }
    Run { waits, lasted: began.elapsed(), used: processor() - before }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn now() -> Instant {
    Instant::now()
}
