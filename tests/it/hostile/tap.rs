//! A platform that keeps every byte it is sent and reads in one way only: the canonical one.
//!
//! It takes a request line, lines of `Name: value`, and a body by one Content-Length. Whatever else the gateway might
//! send, chunks included, stays on the connection as a request that was not understood, and shows in the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running one. It runs until the test's process ends.
pub(super) struct Tap {
    host: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Tap {
    /// Starts one.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let shared = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard) = (stream.expect("a connection"), shared.clone());
                std::thread::spawn(move || answer(stream, &heard));
            }
        });
        Self { host, heard }
    }

    /// Value of its `Host`.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// As an upstream.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// The bytes of each request beside logins, in the order of arrival.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic inside").clone()
    }
}

/// Answers requests, one after another, and keeps what they were.
fn answer(stream: TcpStream, heard: &Mutex<Vec<String>>) {
    stream.set_nodelay(true).expect("no delay");
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let is_login = request.starts_with("POST /service/cloud/auth ");
        let body = if is_login { r#"{"data":{"token":"tapped"},"status":"OK","code":200}"# } else { "{\"code\":200}" };
        if !is_login {
            heard.lock().expect("no panic inside").push(request);
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.get_mut().write_all((head + body).as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request, or what there is in its place; `None` at the end of the connection.
fn read(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut all, mut length) = (Vec::new(), None);
    loop {
        let begin = all.len();
        if stream.read_until(b'\n', &mut all).unwrap_or(0) == 0 {
            return (!all.is_empty()).then(|| format!("cut: {}", String::from_utf8_lossy(&all)));
        }
        let line = String::from_utf8_lossy(&all[begin..]).into_owned();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            let twice = length.replace(value.trim_end().parse::<usize>().expect("a length")).is_some();
            assert!(!twice, "two lengths");
        }
    }
    let head = all.len();
    stream.take(length.unwrap_or(0) as u64).read_to_end(&mut all).ok()?;
    let whole = all.len() == head + length.unwrap_or(0);
    Some(format!("{}{}", if whole { "" } else { "cut: " }, String::from_utf8_lossy(&all)))
}
