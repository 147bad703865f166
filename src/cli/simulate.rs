//! `airudder-gateway simulate`: the stand-in for the platform as a program, for demos and for trying a client.
//!
//! Prints where it listens and one line per call; never a body, a query, a header or a key.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Iv, Scheme, parse_duration};
use crate::secret::Secret;
use crate::simulator::{CallbackTry, Options, RefusalStyle, Seen, Simulator};

/// How to make trouble, below the flags.
const CONTROLS: &str = r#"While it runs:
  POST /_sim/fault       a fault for the next call, or more:
                           {"kind":"status","code":500,"page":"html","times":3,"on":"/service/cloud/task"}
                           {"kind":"cut_mid_answer","after":100}   {"kind":"hang","on":"auth","times":"always"}
                         kinds: status code refuse redirect raw early hang hold trickle endless
                           cut_before_body cut_before_answer cut_mid_answer close_after
                           unsealed other_key wrong_digest no_digest bad_base64 shortened
  POST /_sim/release     let the calls go on that "hold" holds
  POST /_sim/revoke      every token issued so far is dead
  POST /_sim/close-idle  close idle connections
  GET  /_sim/requests    what arrived, the last 100 calls
  POST /_sim/callback    send a callback: once, and five times more a minute apart, until it is answered 200:
                           {"sample":"call_finished","sealed":true}   {"body":{"any":"JSON"},"copies":2,"url":"http://…"}
                         samples: call_finished calls_unanswered waba_status agent_status
  GET  /_sim/callbacks   every try of a callback, and what it was answered, the last 100
  POST /_sim/clear       forget requests, callbacks and faults

With --callback, a created task leads to callbacks: one for each callee when the call ended, and one for all who never
answer (their numbers end in 0) after the last redial."#;

/// What the simulated platform is like. Keys and secrets given here are for play: others on the machine can see them.
#[derive(clap::Args)]
#[command(after_help = CONTROLS)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Speak HTTPS, and write the authority to trust into this directory as ca.pem.
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// The APPKey that a login has to show.
    #[arg(long, value_name = "TEXT", default_value = "demo-key")]
    app_key: String,
    /// The APPSecret that a login has to show.
    #[arg(long, value_name = "TEXT", default_value = "demo-secret")]
    app_secret: String,
    /// The AES key: 16, 24 or 32 bytes.
    #[arg(long, value_name = "TEXT", default_value = "airudderredduria")]
    key: String,
    /// A file that holds the AES key; a line end after it is not part of it.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// How sealed calls are opened.
    #[arg(long, value_enum, default_value = "aes-ecb-zero")]
    scheme: SchemeName,
    /// A fixed IV of 16 bytes for aes-cbc-pkcs7; without it, each text starts with its own.
    #[arg(long, value_name = "TEXT")]
    iv: Option<String>,
    /// How long a token lives, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 60 * 60)]
    token_life: u64,
    /// How a dead token is refused.
    #[arg(long, value_enum, default_value = "http401")]
    refusal: Refusal,
    /// Refuse calls that are not sealed.
    #[arg(long)]
    require_sealed: bool,
    /// How long every call takes, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    latency: u64,
    /// And up to how much longer, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    jitter: u64,
    /// Size of a recording, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 48 * 1024)]
    recording_size: u64,
    /// Where the callbacks of created tasks go.
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// The authority that an https callback URL has to be certified by, a PEM file.
    #[arg(long, value_name = "FILE")]
    callback_ca: Option<PathBuf>,
    /// Seal the callbacks of created tasks.
    #[arg(long)]
    seal_callbacks: bool,
    /// How long a minute lasts between two tries of a callback and between redials.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    callback_minute: Duration,
    /// How long a call takes, from the creation of its task.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_duration)]
    call_time: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum SchemeName {
    AesEcbZero,
    AesCbcPkcs7,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum Refusal {
    /// HTTP 401.
    Http401,
    /// HTTP 200 with code 401 in the body.
    Ok200,
    /// The same, sealed.
    Sealed200,
    /// HTTP 401, sealed.
    Sealed401,
}

/// Runs until SIGINT or SIGTERM. 1 with a sentence on standard error when it cannot start.
pub(crate) fn simulate(args: &Args) -> ExitCode {
    let done = tokio::runtime::Runtime::new()
        .map_err(|error| format!("cannot start threads: {error}"))
        .and_then(|runtime| runtime.block_on(run(args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _ = writeln!(io::stderr(), "{sentence}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    let signals = |error| format!("cannot wait for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let simulator = start(args).await?;
    say(&format!("listening on {}, for the key pair of {:?}", simulator.url(), args.app_key));
    if let Some(dir) = &args.tls_dir {
        say(&format!("trust {}", dir.join("ca.pem").display()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

async fn start(args: &Args) -> Result<Simulator, String> {
    let options = Options {
        observer: Some(Arc::new(|seen| say(&line(seen)))),
        callback_observer: Some(Arc::new(|tried| say(&callback_line(tried)))),
        ..options(args)?
    };
    let simulator = Simulator::start(options).await.map_err(|error| error.to_string())?;
    if let (Some(dir), Some(ca_pem)) = (&args.tls_dir, simulator.ca_pem()) {
        let path = dir.join("ca.pem");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, ca_pem))
            .map_err(|error| format!("cannot write {}: {error}; name a directory you may write to", path.display()))?;
    }
    Ok(simulator)
}

fn options(args: &Args) -> Result<Options, String> {
    let key = match &args.key_file {
        None => Secret::new(args.key.as_str()),
        Some(path) => {
            let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let mut bytes = zeroize::Zeroizing::new(bytes);
            while matches!(bytes.last(), Some(b'\n' | b'\r')) {
                bytes.pop();
            }
            Secret::new(bytes.as_slice())
        }
    };
    let iv = args.iv.as_deref().map(|iv| {
        <[u8; 16]>::try_from(iv.as_bytes())
            .map_err(|_| format!("--iv has {} bytes; give one of 16, or none for an IV in each text", iv.len()))
    });
    let cipher = match (args.scheme, iv.transpose()?) {
        (SchemeName::Off, None) => None,
        (SchemeName::AesEcbZero, None) => Some((Scheme::EcbZero, key)),
        (SchemeName::AesCbcPkcs7, None) => Some((Scheme::CbcPkcs7(Iv::Prefix), key)),
        (SchemeName::AesCbcPkcs7, Some(iv)) => Some((Scheme::CbcPkcs7(Iv::Fixed(iv)), key)),
        (_, Some(_)) => return Err("--iv is for --scheme aes-cbc-pkcs7; leave it out".into()),
    };
    Ok(Options {
        listen: args.listen,
        tls: args.tls_dir.is_some(),
        key_pair: (args.app_key.clone(), args.app_secret.clone()),
        cipher,
        token_life: Duration::from_secs(args.token_life),
        require_sealed: args.require_sealed,
        refusal: match args.refusal {
            Refusal::Http401 => RefusalStyle::Http401,
            Refusal::Ok200 => RefusalStyle::Ok200,
            Refusal::Sealed200 => RefusalStyle::Sealed200,
            Refusal::Sealed401 => RefusalStyle::Sealed401,
        },
        latency: Duration::from_millis(args.latency),
        jitter: Duration::from_millis(args.jitter),
        recording_size: args.recording_size,
        callback_url: args.callback.clone(),
        callback_ca: args.callback_ca.as_deref().map(read_text).transpose()?,
        seal_callbacks: args.seal_callbacks,
        callback_minute: args.callback_minute,
        call_time: args.call_time,
        keep_requests: 100,
        ..Options::default()
    })
}

fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// `callback 3, try 2: 503`. Where it went is the secret of the two ends.
fn callback_line(tried: &CallbackTry) -> String {
    let answered = tried.answer.as_ref().map(|answer| answer.status.to_string());
    let answered = answered.unwrap_or_else(|no_answer| no_answer.word().into());
    format!("callback {}, try {}: {answered}", tried.callback, tried.attempt)
}

/// `POST /service/cloud/task sealed 200`. A path of the platform holds no personal data; what follows `?` may.
fn line(seen: &Seen<'_>) -> String {
    let sealed = if seen.sealed { "sealed" } else { "plain" };
    match seen.status {
        Some(status) => format!("{} {} {sealed} {}", seen.method, seen.path, status.as_u16()),
        None => format!("{} {} {sealed} cut", seen.method, seen.path),
    }
}

/// One line on standard output; a reader who has gone is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "simulator: {text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use http::{Method, StatusCode};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Args {
        Command::try_parse_from(line.split(' ').filter(|word| !word.is_empty())).expect("arguments").args
    }

    #[test]
    fn without_flags_it_is_the_published_platform() {
        let options = options(&parsed("simulate")).expect("options");
        let default = Options::default();
        assert_eq!(options.key_pair, default.key_pair);
        assert!(options.cipher == default.cipher);
        assert_eq!(options.token_life, default.token_life);
        assert_eq!((options.tls, options.refusal), (false, RefusalStyle::Http401));
    }

    #[test]
    fn flags_choose_the_scheme_and_its_iv() {
        for (flags, expected) in [
            ("--scheme off", Ok(None)),
            ("--scheme aes-cbc-pkcs7", Ok(Some(Scheme::CbcPkcs7(Iv::Prefix)))),
            (
                "--scheme aes-cbc-pkcs7 --iv 0102030405060708",
                Ok(Some(Scheme::CbcPkcs7(Iv::Fixed(*b"0102030405060708")))),
            ),
            ("--scheme aes-cbc-pkcs7 --iv 01", Err("--iv has 2 bytes")),
            ("--iv 0102030405060708", Err("leave it out")),
            ("--key-file /nowhere/key", Err("cannot read /nowhere/key")),
            ("--callback-ca /nowhere/ca.pem", Err("cannot read /nowhere/ca.pem")),
        ] {
            match (options(&parsed(&format!("simulate {flags}"))), expected) {
                (Ok(options), Ok(scheme)) => assert_eq!(options.cipher.map(|(scheme, _)| scheme), scheme, "{flags}"),
                (Err(sentence), Err(part)) => assert!(sentence.contains(part), "{flags}: {sentence}"),
                (got, _) => panic!("{flags}: {:?}", got.err()),
            }
        }
    }

    #[test]
    fn a_minute_can_be_as_short_as_a_test_needs_it() {
        let args = parsed("simulate --callback http://127.0.0.1:1/x --callback-minute 200ms --seal-callbacks");
        let options = options(&args).expect("options");
        assert_eq!(options.callback_url.as_deref(), Some("http://127.0.0.1:1/x"));
        assert_eq!((options.callback_minute, options.seal_callbacks), (Duration::from_millis(200), true));
        let refused = Command::try_parse_from(["simulate", "--callback-minute", "200"]).err().expect("no unit");
        assert!(refused.to_string().contains("add one of ms, s"), "{refused}");
    }

    #[tokio::test]
    async fn a_callback_that_cannot_be_sent_is_said_at_the_start() {
        for (flags, part) in [
            ("--callback https://127.0.0.1/x", "say which authority"),
            ("--callback http://127.0.0.1/x --scheme off --seal-callbacks", "needs a scheme and its key"),
        ] {
            let refused = start(&parsed(&format!("simulate --listen 127.0.0.1:0 {flags}"))).await;
            let sentence = refused.err().expect("refused");
            assert!(sentence.contains(part), "{flags}: {sentence}");
        }
    }

    #[tokio::test]
    async fn it_writes_its_authority_where_it_was_told_to() {
        let dir = std::env::temp_dir().join(format!("simulate-{}", std::process::id()));
        let args = parsed(&format!("simulate --listen 127.0.0.1:0 --tls-dir {}", dir.display()));
        let simulator = start(&args).await.expect("starting");
        let written = fs::read_to_string(dir.join("ca.pem")).expect("the authority");
        assert_eq!(simulator.ca_pem(), Some(written.as_str()));
        fs::remove_dir_all(dir).expect("removing it again");
    }

    #[test]
    fn a_line_names_a_call_and_shows_nothing_of_it() {
        let method = Method::POST;
        let mut seen =
            Seen { method: &method, path: "/service/cloud/task", sealed: true, status: Some(StatusCode::OK) };
        assert_eq!(line(&seen), "POST /service/cloud/task sealed 200");
        (seen.sealed, seen.status) = (false, None);
        assert_eq!(line(&seen), "POST /service/cloud/task plain cut");
    }
}
