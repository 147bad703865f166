//! Thousands of connections that mean no good, from one thread or two: what each says at first, what it says a byte a second
//! from then on, and whether the gateway has had enough of it in the end.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::support::identity::NAME;

/// How often each says something, about a second apart, before it counts as one that nobody gets rid of.
const ROUNDS: usize = 15;

/// Files that the rest of the tests may have open meanwhile.
const FOR_OTHERS: u64 = 2000;

/// A way to be slow.
#[derive(Clone)]
pub(super) struct Manner {
    /// In words, for the one who reads that it stayed.
    pub(super) name: &'static str,
    /// Sent at once.
    pub(super) begins: String,
    /// Sent again and again, piece after piece: `None` says nothing more.
    pub(super) goes_on: Option<&'static [&'static [u8]]>,
    /// Shakes hands first, and trusts this.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

/// A TLS client that trusts a certificate.
pub(super) fn trusting(pem: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("trusted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

/// As many of `wanted` connections as this process may have where each leads to a call, whose other side, the platform's, is in
/// this process, too.
pub(super) fn affordable(wanted: usize) -> usize {
    affordable_with(wanted, 2)
}

/// The same where each takes so many files. The limit of this process is raised first.
pub(crate) fn affordable_with(wanted: usize, files: u64) -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    }
    let most = hard.saturating_sub(FOR_OTHERS) / files;
    let affordable = wanted.min(usize::try_from(most).unwrap_or(usize::MAX));
    println!("{affordable} of {wanted} connections, with {hard} open files");
    affordable
}

/// A connection from an address of this machine, all of which 127/8 is.
pub(super) async fn connect(to: SocketAddr, from: Ipv4Addr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::V4(SocketAddrV4::new(from, 0))).expect("this machine's");
    let stream = socket.connect(to).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Opens `count` connections and is slow on them, in all manners by turns, from addresses that have up to `each` of them.
/// The manners of those that were still open at the end.
pub(super) fn crowd(to: SocketAddr, count: usize, each: usize, manners: &[Manner]) -> Vec<&'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connecting = Arc::new(Semaphore::new(256));
        let mut all = tokio::task::JoinSet::new();
        for number in 0..count {
            let manner = manners[number % manners.len()].clone();
            let from = Ipv4Addr::new(127, 1, 1, u8::try_from(1 + number / each).expect("an address"));
            let connecting = connecting.clone();
            all.spawn(async move {
                let turn = connecting.acquire_owned().await.expect("open");
                let stream = connect(to, from).await?;
                let Some(config) = manner.tls.clone() else {
                    drop(turn);
                    return trickle(stream, &manner).await;
                };
                let name = ServerName::try_from(NAME).expect("a name");
                let stream = TlsConnector::from(config).connect(name, stream).await.ok()?;
                drop(turn);
                trickle(stream, &manner).await
            });
        }
        all.join_all().await.into_iter().flatten().collect()
    })
}

/// Is slow until the gateway closes; the manner if it never does.
async fn trickle(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: &Manner) -> Option<&'static str> {
    stream.write_all(manner.begins.as_bytes()).await.ok()?;
    let mut heard = [0; 1024];
    for round in 0..ROUNDS {
        let silent = tokio::time::sleep(Duration::from_secs(1));
        tokio::pin!(silent);
        loop {
            tokio::select! {
                read = stream.read(&mut heard) => if !matches!(read, Ok(1..)) { return None },
                () = &mut silent => break,
            }
        }
        if let Some(pieces) = manner.goes_on {
            stream.write_all(pieces[round % pieces.len()]).await.ok()?;
            stream.flush().await.ok()?;
        }
    }
    Some(manner.name)
}

/// So many connections from one address that say this and no more.
pub(super) fn begin(to: SocketAddr, host: u8, count: usize, says: &[u8]) -> Vec<std::net::TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut stream = connect(to, Ipv4Addr::new(127, 3, 1, host)).await.expect("it listens");
            let _ = stream.write_all(says).await;
            all.push(stream.into_std().expect("a stream"));
        }
        all
    })
}

/// Whether the gateway has closed it. Does not wait.
pub(super) fn is_closed(stream: &std::net::TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it is ours");
    loop {
        match (&*stream).read(&mut [0; 1024]) {
            Ok(0) => return true,
            // An answer that came before.
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Whether somebody at another address gets through the handshake.
pub(super) fn shakes_hands(to: SocketAddr, config: &Arc<rustls::ClientConfig>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let Some(stream) = connect(to, Ipv4Addr::LOCALHOST).await else { return false };
        let name = ServerName::try_from(NAME).expect("a name");
        TlsConnector::from(config.clone()).connect(name, stream).await.is_ok()
    })
}
