//! Listens, takes TLS off, hands each connection to HTTP, and carries out what a service orders of its connection.
//! It knows nothing of requests.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::body::Outgoing;
use super::platform::Platform;
use super::service;
use super::wire::{Line, Order, Stream, Wire};

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connections that may wait to be accepted: those of a load test, which start together.
const BACKLOG: u32 = 4096;

/// Binds and listens, in the current runtime.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: io::Error| {
        let sentence = format!("cannot listen on {address}: {error}; choose another address, or port 0");
        io::Error::new(error.kind(), sentence)
    })
}

/// Serves until `stop` says so or its sender is gone; then cuts what is open.
pub(super) async fn serve(
    platform: Arc<Platform>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, _)) => {
                connections.spawn(connection(platform.clone(), tcp, tls.clone()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Takes the line off the list when the connection's task ends, however it ends.
struct Registered {
    platform: Arc<Platform>,
    line: Arc<Line>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.platform.lines.remove(&self.line);
        self.platform.changed();
    }
}

async fn connection(platform: Arc<Platform>, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    let line = platform.lines.add(platform.records.keeps_everything());
    // Declared before the stream, so that it is dropped after it: a line that is gone is a socket that is closed.
    let registered = Registered { platform, line };
    let Registered { platform, line } = &registered;
    platform.changed();
    // It only makes small answers slower when it fails.
    let _ = tcp.set_nodelay(true);
    let stream = match tls {
        None => Stream::Plain(tcp),
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            // A caller that does not trust us, or gave up.
            _ => return,
        },
    };
    let service = service_fn(|request| {
        let (platform, line) = (platform.clone(), line.clone());
        async move { Ok::<hyper::Response<Outgoing>, Infallible>(service::answer(platform, line, request).await) }
    });
    let io = TokioIo::new(Wire::new(stream, line.clone()));
    let mut http = http1::Builder::new().title_case_headers(true).serve_connection(io, service);
    let (last_words, end) = loop {
        tokio::select! {
            // An error here is a peer that left or spoke no HTTP; it has had its answer.
            _ = &mut http => return,
            order = line.next_order() => match order {
                Order::CloseIdle => std::pin::Pin::new(&mut http).graceful_shutdown(),
                Order::End(last_words, end) => break (last_words, end),
            },
        }
    };
    let wire = http.into_parts().io.into_inner();
    // The peer may have left before the end that was meant for it.
    let _ = wire.end(&last_words, end).await;
}
