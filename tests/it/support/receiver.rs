//! A receiver of callbacks: a small HTTP/1.1 server over threads that keeps what it got and answers as the test says.
//! It shares no line with the gateway, so nothing of the gateway judges the gateway.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use airudder_gateway::clock;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::gateway::PATIENCE;

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// Method, target and version.
    pub(crate) request_line: String,
    /// Names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// The value of the only header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    /// Its `webhook-id`.
    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id").expect("every delivery has an id")
    }

    /// Its `X-Gateway-Attempt`.
    pub(crate) fn attempt(&self) -> u32 {
        self.header("x-gateway-attempt").expect("every delivery says it").parse().expect("a number")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// What a receiver answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status, an empty body.
    Status(u16),
    /// A status and further header lines, each ended by CR LF.
    With(u16, String),
    /// Nothing, and the connection stays open.
    Hang,
    /// Nothing, and the connection closes.
    Cut,
    /// A 200 whose body never ends.
    Endless,
    /// A 200 that announces a body which never comes.
    Stalls,
}

type Answering = Arc<dyn Fn(&Delivery) -> Reply + Send + Sync>;

/// A running receiver. Its port is free again when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    ca_pem: Option<String>,
}

struct Shared {
    got: Mutex<Vec<Delivery>>,
    arrived: Condvar,
    answering: Mutex<Answering>,
    /// Connections accepted so far.
    connections: AtomicUsize,
    /// Requests that have come and were not answered yet, now and at most.
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    /// Set when the receiver was dropped.
    gone: Mutex<bool>,
    left: Condvar,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn new() -> Self {
        Self::start(None)
    }

    /// One that answers like this.
    pub(crate) fn answering(answer: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) -> Self {
        let receiver = Self::new();
        receiver.answer(answer);
        receiver
    }

    /// One that asks for a client certificate of this authority (PEM) and speaks TLS only. Trust [`Receiver::ca_pem`].
    pub(crate) fn asking_for_a_certificate(client_ca_pem: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let mut trusted = rustls::RootCertStore::empty();
        let client_ca = openssl::x509::X509::from_pem(client_ca_pem.as_bytes()).expect("PEM").to_der().expect("DER");
        trusted.add(CertificateDer::from(client_ca)).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(trusted.into()).build().expect("a verifier");
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a configuration");
        let mut receiver = Self::start(Some(Arc::new(config)));
        receiver.ca_pem = Some(own.cert.pem());
        receiver
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            got: Mutex::default(),
            arrived: Condvar::new(),
            answering: Mutex::new(Arc::new(|_: &Delivery| Reply::Status(200))),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            gone: Mutex::new(false),
            left: Condvar::new(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *accepting.gone.lock().expect("no panic inside") {
                    return;
                }
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                let (shared, tls) = (accepting.clone(), tls.clone());
                std::thread::spawn(move || converse(&shared, stream, tls));
            }
        });
        Self { address, shared, ca_pem: None }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.ca_pem.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Its own certificate, when it speaks TLS.
    pub(crate) fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().expect("it speaks TLS")
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, answer: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) {
        *self.shared.answering.lock().expect("no panic inside") = Arc::new(answer);
    }

    /// Everything that has arrived so far, in order.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.got().clone()
    }

    /// How many have arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.got().len()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The most requests that were under way at the same time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.shared.most_under_way.load(Ordering::Relaxed)
    }

    /// Waits until what arrived is so; returns it.
    pub(crate) fn until(&self, is_so: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        self.until_within(PATIENCE, is_so)
    }

    /// The same for what takes longer.
    pub(crate) fn until_within(
        &self,
        patience: std::time::Duration,
        is_so: impl Fn(&[Delivery]) -> bool,
    ) -> Vec<Delivery> {
        let end = clock::now() + patience;
        let mut got = self.got();
        while !is_so(&got) {
            let left = end.saturating_duration_since(clock::now());
            assert!(!left.is_zero(), "it never came; {} deliveries arrived", got.len());
            got = self.shared.arrived.wait_timeout(got, left).expect("no panic inside").0;
        }
        got.clone()
    }

    fn got(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.shared.got.lock().expect("no panic inside")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *self.shared.gone.lock().expect("no panic inside") = true;
        self.shared.left.notify_all();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// Waits until the test is over, or the gateway closes the connection.
fn hang(shared: &Shared) {
    let gone = shared.gone.lock().expect("no panic inside");
    drop(shared.left.wait_timeout_while(gone, PATIENCE, |gone| !*gone));
}

/// A connection, plain or not.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn converse(shared: &Shared, socket: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
    let _ = socket.set_nodelay(true);
    let Ok(closing) = socket.try_clone() else { return };
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(match tls {
        None => Box::new(socket),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).expect("a connection");
            Box::new(rustls::StreamOwned::new(connection, socket))
        }
    });
    while let Some(delivery) = read(&mut stream) {
        let now = shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_under_way.fetch_max(now, Ordering::Relaxed);
        let answering = shared.answering.lock().expect("no panic inside").clone();
        let reply = answering(&delivery);
        shared.got.lock().expect("no panic inside").push(delivery);
        shared.arrived.notify_all();
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        let answer = match reply {
            Reply::Status(status) => format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n"),
            Reply::With(status, headers) => format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: 0\r\n\r\n"),
            Reply::Stalls => "HTTP/1.1 200 Said\r\nContent-Length: 10\r\n\r\nhalf".to_owned(),
            Reply::Endless => {
                let mut piece = b"HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                while stream.get_mut().write_all(&piece).is_ok() {
                    piece = [b"400\r\n".as_slice(), &[b'x'; 0x400], b"\r\n"].concat();
                }
                break;
            }
            Reply::Hang => {
                hang(shared);
                break;
            }
            Reply::Cut => break,
        };
        if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            break;
        }
    }
    let _ = closing.shutdown(Shutdown::Both);
}

/// The next request, `None` when there is none.
fn read(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Delivery> {
    let mut line = || {
        let mut line = String::new();
        (stream.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let request_line = line()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").expect("a length").1.parse().expect("a number");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Delivery { request_line, headers, body })
}
