//! The login over HTTP: one request to the platform for one token.
//!
//! It makes one try and closes its connection; when to try again is the cache's to decide. It never logs
//! what it sends or gets.

use std::sync::Arc;

use http::{HeaderValue, Method};

use super::{Family, Login, LoginError, read_retry_after};
use crate::clock;
use crate::envelope::{Cipher, Signed};
use crate::http::answer::{Answer, SendCause};
use crate::http::client::{Client, ConnectError, SendError};
use crate::http::headers::{self, IS_ENCRYPTED, SIGNED};
use crate::http::request::{BadTarget, RequestHead, RequestHeadWriter};
use crate::secret::Secret;

/// The largest answer of a login that is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Logs in at one account's platform with its key pair.
pub struct HttpLogin {
    client: Arc<Client>,
    family: Family,
    app_key: Secret,
    app_secret: Secret,
    envelope: Option<LoginEnvelope>,
}

/// How the login of an account with encryption travels.
pub(crate) struct LoginEnvelope {
    /// Opens an answer that says it is sealed, and seals logins if they are to be.
    pub(crate) cipher: Cipher,
    /// Whether logins are sealed.
    pub(crate) seals: bool,
}

impl HttpLogin {
    /// For one family of one account.
    pub(crate) fn new(
        client: Arc<Client>,
        family: Family,
        app_key: Secret,
        app_secret: Secret,
        envelope: Option<LoginEnvelope>,
    ) -> Self {
        Self { client, family, app_key, app_secret, envelope }
    }

    fn head(&self, length: usize, signed: Option<&Signed>) -> Result<RequestHead, BadTarget> {
        let mut head = RequestHeadWriter::try_new(&Method::POST, self.family.login_path().as_bytes(), None)?;
        head.header(b"Host", self.client.authority().as_bytes())
            .header(b"Content-Type", b"application/json")
            .header(b"Accept", b"application/json")
            .header(b"User-Agent", b"Airudder")
            .header(b"Connection", b"close")
            .content_length(length as u64);
        if let Some(signed) = signed {
            head.header(b"Is-Encrypted", b"1").header(b"Signed", signed.as_str().as_bytes());
        }
        Ok(head.finish())
    }
}

impl Login for HttpLogin {
    async fn login(&self) -> Result<Secret, LoginError> {
        let body = Family::login_body(&self.app_key, &self.app_secret)?;
        let sealed =
            self.envelope.as_ref().filter(|envelope| envelope.seals).map(|envelope| envelope.cipher.seal(&body));
        let body = sealed.as_ref().map_or(body.as_slice(), |sealed| &sealed.text);
        let head =
            self.head(body.len(), sealed.as_ref().map(|sealed| &sealed.signed)).map_err(|_| LoginError::Unreachable)?;
        let connection = self.client.connect(true, clock::now()).await.map_err(|error| match error {
            ConnectError::Untrusted => LoginError::Untrusted,
            ConnectError::Unreachable | ConnectError::Unresolved => LoginError::Unreachable,
        })?;
        let mut answer = self.client.send(connection, &head, [b"", b"", b""], body).await.map_err(unanswered)?;
        let head = answer.head();
        let status = head.status().as_u16();
        let retry_after = head
            .find("retry-after")
            .and_then(|wait| HeaderValue::from_bytes(wait).ok())
            .as_ref()
            .and_then(read_retry_after);
        let sealed = headers::is_sealed(head.find(IS_ENCRYPTED));
        let signed = sealed.then(|| head.find(SIGNED).unwrap_or_default().to_vec());
        let mut text = read(&mut answer).await?;
        if let Some(signed) = signed {
            let envelope = self.envelope.as_ref().ok_or(LoginError::NotJson)?;
            let plain = envelope.cipher.open(text.expose(), &signed).map_err(|_| LoginError::NotJson)?;
            text = Secret::new(plain);
        }
        self.family.read_answer(status, text.expose()).map_err(|error| error.with_retry_after(retry_after))
    }
}

/// The whole answer. It holds a token, so it is a secret from its first byte.
async fn read(answer: &mut Answer) -> Result<Secret, LoginError> {
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(4096));
    while let Some(piece) = answer.piece().await.map_err(|cause| unanswered(SendError { left: true, cause }))? {
        if text.len() + piece.len() > ANSWER_LIMIT {
            return Err(LoginError::NotJson);
        }
        text.extend_from_slice(piece);
    }
    Ok(Secret::new(text.as_slice()))
}

fn unanswered(error: SendError) -> LoginError {
    match error.cause {
        SendCause::Timeout => LoginError::TimedOut,
        SendCause::Closed | SendCause::Malformed => LoginError::Cut,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{Timeouts, Upstream};

    const LONG: Duration = Duration::from_secs(3600);

    /// What a login comes to whose answer has so many bytes.
    async fn answered(length: usize) -> Result<Secret, LoginError> {
        let (before, after) = (r#"{"data":{"token":"granted"},"code":200,"more":""#, r#""}"#);
        let body = format!("{before}{}{after}", "x".repeat(length - before.len() - after.len()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut platform, _) = listener.accept().await.expect("a connection");
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                platform.read_buf(&mut asked).await.expect("a login");
            }
            // Whoever has read enough does not take the rest.
            let _ = platform.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).await;
        });
        let authority = format!("127.0.0.1:{port}");
        let upstream = Upstream { tls: false, host: "127.0.0.1".to_owned(), port, authority };
        let timeouts = Timeouts { connect: LONG, read: LONG, write: LONG, idle: LONG };
        let client = Arc::new(Client::new(upstream, None, timeouts));
        client.resolve().await.expect("an address");
        HttpLogin::new(client, Family::Cloud, Secret::new("key"), Secret::new("secret"), None).login().await
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit() {
        const LIMIT: usize = 65_536;
        assert_eq!(answered(100).await.expect("short").expose(), b"granted");
        assert_eq!(answered(LIMIT).await.expect("as long as may be").expose(), b"granted");
        assert_eq!(answered(LIMIT + 1).await.err(), Some(LoginError::NotJson));
        assert_eq!(answered(4 * LIMIT).await.err(), Some(LoginError::NotJson));
    }
}
