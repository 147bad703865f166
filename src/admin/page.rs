//! What the admin listener reads and writes: one request, one page.
//!
//! The only file of this room that knows a session. It decides nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::server::HttpSession;
use pingora_timeout::timeout;
use serde_json::{Value, json};

/// Largest body that is read, in bytes: a question, never a document.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive, from its header's end.
const BODY_TIME: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";

/// A request. Its body is empty until it has been read.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    /// Empty when there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// What its header says.
    pub(super) fn of(session: &HttpSession) -> Self {
        let head = session.req_header();
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body: Bytes::new(),
        }
    }

    /// Reads the body of a POST; what is wrong with it is a page.
    pub(super) async fn read_body(&mut self, session: &mut HttpSession) -> Result<(), Page> {
        if self.method != Method::POST {
            return Ok(());
        }
        let mut body = BytesMut::new();
        let reading = async {
            while let Some(piece) =
                session.read_body_bytes().await.map_err(|_| "The body ended early; send it whole.")?
            {
                if body.len() + piece.len() > MAX_BODY {
                    return Err("The body is over 64 KiB; name fewer things.");
                }
                body.extend_from_slice(&piece);
            }
            Ok(())
        };
        match timeout(BODY_TIME, reading).await {
            Ok(Ok(())) => {
                self.body = body.freeze();
                Ok(())
            }
            Ok(Err(why)) => Err(Page::message(400, why)),
            Err(_) => Err(Page::message(408, "The body did not arrive in time; send it at once.")),
        }
    }

    /// The text of a header that may stand once; `None` when it is not there, or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One page.
pub(super) struct Page {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    /// Methods that would have been answered, with 405.
    allow: &'static str,
}

impl Page {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::written(status, JSON, body.to_string())
    }

    /// One sentence that says what happened and what to do.
    pub(super) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"message": message}))
    }

    /// JSON that is written already.
    pub(super) fn json_text(body: impl Into<Bytes>) -> Self {
        Self::written(200, JSON, body)
    }

    pub(super) fn written(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), allow: "" }
    }

    /// Another method is wanted.
    pub(super) fn only(allow: &'static str) -> Self {
        let message = format!(
            "Only {} {} answered here.",
            allow.replace(", ", " and "),
            if allow.contains(',') { "are" } else { "is" }
        );
        Self { allow, ..Self::message(405, &message) }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) async fn write(self, session: &mut HttpSession) -> pingora::Result<()> {
        let mut head = ResponseHeader::build(self.status, Some(6))?;
        head.append_header(header::CONTENT_TYPE, self.content_type)?;
        head.append_header(header::CONTENT_LENGTH, self.body.len())?;
        head.append_header(header::CACHE_CONTROL, "no-store")?;
        head.append_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        if self.status == 405 {
            head.append_header(header::ALLOW, self.allow)?;
        }
        if self.status == 401 {
            head.append_header(header::WWW_AUTHENTICATE, "Bearer")?;
        }
        session.write_response_header(Box::new(head)).await?;
        session.write_body(&self.body).await?;
        session.finish_body().await?;
        Ok(())
    }
}
