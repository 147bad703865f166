//! A client made of sockets and OpenSSL, so that the simulator is checked by nothing that it is made of.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use airudder_gateway::simulator::Simulator;
use openssl::symm::{Cipher, Crypter, Mode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    /// Read, and not yet asked for.
    ahead: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the body ended as its length, its chunks or a proper end of the connection said.
    pub(super) whole: bool,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The plaintext of a sealed answer, opened by OpenSSL, its digest checked.
    pub(super) fn opened(&self, key: &str) -> serde_json::Value {
        assert_eq!(self.header("is-encrypted"), Some("1"), "{self:?}");
        let plain = open(key, &self.body);
        assert_eq!(self.header("signed"), Some(sha256(&plain).as_str()));
        serde_json::from_slice(&plain).expect("json inside")
    }
}

impl Client {
    pub(super) fn plain(simulator: &Simulator) -> Self {
        Self { stream: Box::new(tcp(simulator)), ahead: Vec::new() }
    }

    /// Over TLS, trusting only this authority. Fails when the handshake does.
    pub(super) fn tls(simulator: &Simulator, ca_pem: &str, name: &str) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate")).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut tcp = tcp(simulator);
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: Box::new(StreamOwned::new(connection, tcp)), ahead: Vec::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("writing");
        self.stream.flush().expect("flushing");
    }

    /// Sends a request with a Content-Length, and reads its answer.
    pub(super) fn call(&mut self, start: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.write(&request(start, headers, body));
        self.reply(start.starts_with("HEAD")).expect("an answer")
    }

    /// The next answer; `None` when the connection ended before its header did.
    pub(super) fn reply(&mut self, head_only: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            self.more()?;
        };
        let rest = self.ahead.split_off(end + 4);
        let head = String::from_utf8(std::mem::replace(&mut self.ahead, rest)).expect("an ASCII header");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .expect("header lines");
        let mut reply = Reply { status: status.expect("a status"), headers, body: Vec::new(), whole: true };
        if reply.status == 100 {
            return Some(reply);
        }
        if head_only || matches!(reply.status, 204 | 304) {
            return Some(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut reply);
        } else if let Some(length) = reply.header("content-length").map(|length| length.parse().expect("a length")) {
            reply.whole = self.read_exactly(length, &mut reply.body);
        } else {
            while self.more().is_some() {}
            reply.body = std::mem::take(&mut self.ahead);
        }
        Some(reply)
    }

    /// Whether the peer has ended the connection, with nothing left to read.
    pub(super) fn is_ended(&mut self) -> bool {
        self.ahead.is_empty() && self.more().is_none()
    }

    /// Reads until that many bytes of an unending answer have come.
    pub(super) fn read_at_least(&mut self, bytes: usize) -> bool {
        while self.ahead.len() < bytes {
            if self.more().is_none() {
                return false;
            }
        }
        true
    }

    fn read_chunks(&mut self, reply: &mut Reply) {
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                if !self.read_exactly(1, &mut size) {
                    reply.whole = false;
                    return;
                }
            }
            let size = usize::from_str_radix(std::str::from_utf8(&size).expect("hex").trim(), 16).expect("hex");
            let mut end = Vec::new();
            if !self.read_exactly(size, &mut reply.body) || !self.read_exactly(2, &mut end) {
                reply.whole = false;
                return;
            }
            if size == 0 {
                return;
            }
        }
    }

    fn read_exactly(&mut self, count: usize, into: &mut Vec<u8>) -> bool {
        while self.ahead.len() < count {
            if self.more().is_none() {
                into.append(&mut self.ahead);
                return false;
            }
        }
        into.extend(self.ahead.drain(..count));
        true
    }

    /// Reads some; `None` at any end of the connection.
    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Some(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing came in 20 s"),
            Err(_) => None,
        }
    }
}

fn tcp(simulator: &Simulator) -> TcpStream {
    let stream = TcpStream::connect(simulator.address()).expect("connecting");
    // Only so that a broken test fails and does not hang.
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

/// `GET /path` and the like, as bytes.
pub(super) fn request(start: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{start} HTTP/1.1\r\nHost: platform\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// AES-ECB with zero padding and base64, by OpenSSL: the documented scheme.
pub(super) fn seal(key: &str, plain: &[u8]) -> String {
    let mut padded = plain.to_vec();
    padded.resize(plain.len() / 16 * 16 + 16, 0);
    openssl::base64::encode_block(&ecb(Mode::Encrypt, key, &padded))
}

pub(super) fn open(key: &str, text: &[u8]) -> Vec<u8> {
    let sealed = openssl::base64::decode_block(std::str::from_utf8(text).expect("base64")).expect("base64");
    let mut plain = ecb(Mode::Decrypt, key, &sealed);
    while plain.last() == Some(&0) {
        plain.pop();
    }
    plain
}

fn ecb(mode: Mode, key: &str, input: &[u8]) -> Vec<u8> {
    let mut crypter = Crypter::new(Cipher::aes_128_ecb(), mode, key.as_bytes(), None).expect("a key");
    crypter.pad(false);
    let mut output = vec![0; input.len() + 16];
    let count = crypter.update(input, &mut output).expect("blocks");
    output.truncate(count);
    output
}

/// Lowercase hex of SHA-256, by OpenSSL.
pub(super) fn sha256(bytes: &[u8]) -> String {
    openssl::sha::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
