//! One POST to whoever takes callbacks, on a connection of its own, and its answer.
//! It never repeats anything and knows nothing of what it carries.

use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::callback::{CallbackAnswer, NoAnswer};
use super::response::{IS_ENCRYPTED, SIGNED};
use crate::envelope::Signed;

/// Largest answer in bytes that is read.
const MOST: usize = 1 << 20;

/// A checked URL.
#[derive(Clone)]
pub(super) struct Target {
    host: String,
    port: u16,
    /// As in the `Host` header.
    authority: HeaderValue,
    /// Path and query.
    path: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Fails with a sentence when the URL is none, or asks for TLS while nobody is trusted.
    pub(super) fn try_new(url: &str, trust: Option<&TlsConnector>) -> io::Result<Self> {
        let refuse = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("the callback URL {why}"));
        let uri: Uri = url.parse().map_err(|_| refuse("is no URL; write http://host:port/path"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(refuse("has no scheme or no host; write http://host:port/path"));
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let (port, tls) = if *scheme == Scheme::HTTP {
            (80, None)
        } else if *scheme == Scheme::HTTPS {
            let trust = trust.ok_or_else(|| refuse("is https; say which authority is to be trusted"))?;
            let name = ServerName::try_from(host.clone()).map_err(|_| refuse("has a host that is no name"))?;
            (443, Some((trust.clone(), name)))
        } else {
            return Err(refuse("is neither http nor https"));
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            port: authority.port_u16().unwrap_or(port),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| refuse("has a host that is no name"))?,
            path: path.parse().map_err(|_| refuse("has no path"))?,
            host,
            tls,
        })
    }

    /// Sends the body as the platform does; with its digest it is marked as sealed.
    pub(super) async fn post(&self, body: Bytes, signed: Option<&Signed>) -> Result<CallbackAnswer, NoAnswer> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|_| NoAnswer::Unreachable)?;
        // It only makes small callbacks slower when it fails.
        let _ = tcp.set_nodelay(true);
        let request = self.request(body, signed);
        match &self.tls {
            None => exchange(tcp, request).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await.map_err(|_| NoAnswer::Untrusted)?;
                exchange(stream, request).await
            }
        }
    }

    fn request(&self, body: Bytes, signed: Option<&Signed>) -> Request<Full<Bytes>> {
        let mut request = Request::post(self.path.clone()).body(Full::new(body)).unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("AIRUDDER"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(signed) = signed.and_then(|signed| HeaderValue::from_str(signed.as_str()).ok()) {
            headers.insert(IS_ENCRYPTED, HeaderValue::from_static("1"));
            headers.insert(SIGNED, signed);
        }
        request
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<CallbackAnswer, NoAnswer> {
    let builder = http1::Builder::new().title_case_headers(true).clone();
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer::Cut)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(|_| NoAnswer::Cut)?.into_parts();
        let body = Limited::new(body, MOST).collect().await.map_err(|_| NoAnswer::Cut)?.to_bytes();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(CallbackAnswer { status: head.status.as_u16(), headers, body, opened: None })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => return answer,
        // What the connection has read is with the answer already, also when it ended by an error.
        _ = &mut connection => {}
    }
    answer.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_checked_before_anything_is_sent() {
        for (url, expected) in [
            ("http://127.0.0.1:8081/callbacks/x?y=1", Ok(("127.0.0.1", 8081, "/callbacks/x?y=1"))),
            ("http://[::1]", Ok(("::1", 80, "/"))),
            ("https://localhost/x", Err("say which authority")),
            ("ftp://localhost/x", Err("neither http nor https")),
            ("/callbacks", Err("no scheme or no host")),
            ("a b", Err("is no URL")),
        ] {
            match (Target::try_new(url, None), expected) {
                (Ok(target), Ok((host, port, path))) => {
                    assert_eq!(
                        (target.host.as_str(), target.port, target.path.to_string().as_str()),
                        (host, port, path)
                    );
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
                (got, _) => panic!("{url}: {:?}", got.err()),
            }
        }
    }
}
