//! Doors for fuzz targets: requests and answers that arrive over a pipe, so many bytes at a time.
//!
//! Compiled with the feature `fuzzing` only. It decides nothing, and opens no connection.

use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::answer::{Answer, SendCause};
use super::head::{HeaderFault, Request};
use super::line::Line;
use super::response::ResponseHead;
use super::session::{NoRequest, Session};
use super::wire::Wire;

/// Nothing is waited for: whatever is to come is there.
const LONG: Duration = Duration::from_secs(3600);

/// Most bytes of a head: more than any input has, so that only what it says is judged.
const LIMIT: usize = 1 << 20;

/// Names and values, as spelled.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A request that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path; empty only where the absolute form has none, and for CONNECT.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// Its header.
    pub fields: Fields,
    /// Its body; `None`: it did not end as its framing says.
    pub body: Option<Vec<u8>>,
}

/// An answer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its header.
    pub fields: Fields,
    /// Its body.
    pub body: Vec<u8>,
    /// The connection may carry another request.
    pub reusable: bool,
}

/// The requests that the answering side reads of what was sent, each answered 200, and how it ended: a stable word.
pub async fn requests(sent: &[u8], fragment: usize) -> (Vec<Asked>, &'static str) {
    let mut all = Vec::new();
    let end = serve(sent, fragment, async |head, session| {
        let mut body = Some(Vec::new());
        loop {
            match session.read_body().await {
                Ok(Some(piece)) => body.as_mut().map_or((), |body| body.extend_from_slice(piece)),
                Ok(None) => break,
                Err(_) => {
                    body = None;
                    break;
                }
            }
        }
        let whole = body.is_some();
        all.push(Asked {
            method: head.method().to_string(),
            path: head.path().to_owned(),
            query: head.query().map(str::to_owned),
            fields: head.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            body,
        });
        whole && session.answer(ResponseHead::new(StatusCode::OK), b"ok").await.is_ok()
    });
    let end = end.await;
    (all, end)
}

/// Reads request after request; `take` answers each and says whether the connection may go on.
pub(crate) async fn serve(
    sent: &[u8],
    fragment: usize,
    take: impl AsyncFnMut(&Request, &mut Session) -> bool,
) -> &'static str {
    let (near, far) = tokio::io::duplex(fragment.max(1));
    let (mut answers, mut questions) = tokio::io::split(far);
    let program = async move {
        // Whoever has read enough closes; the rest is for nobody.
        let _ = questions.write_all(sent).await;
        let _ = questions.shutdown().await;
        questions
    };
    let drain = async {
        let mut bytes = [0; 1024];
        while matches!(answers.read(&mut bytes).await, Ok(1..)) {}
    };
    let (_, (), end) = tokio::join!(program, drain, read(near, take));
    end
}

async fn read(near: DuplexStream, mut take: impl AsyncFnMut(&Request, &mut Session) -> bool) -> &'static str {
    let mut session = Session::new(Line::Other(Box::new(near)), LONG);
    let mut head = Request::new();
    while session.await_request(LONG).await {
        match session.read_request(&mut head, LIMIT, LONG).await {
            Ok(()) => {}
            Err(NoRequest::Gone) => return "gone",
            Err(NoRequest::Fault(HeaderFault::TooLarge)) => return "too large",
            Err(NoRequest::Fault(HeaderFault::TooSlow)) => return "too slow",
            Err(NoRequest::Fault(HeaderFault::Malformed(_))) => return "malformed",
        }
        if !take(&head, &mut session).await {
            return "cut";
        }
        if !session.next() {
            return "closed";
        }
    }
    "gone"
}

/// The answer that the asking side reads of what was sent.
///
/// # Errors
/// A stable word.
pub async fn answer(sent: &[u8], fragment: usize, bodyless: bool) -> Result<Answered, &'static str> {
    let (near, mut far) = tokio::io::duplex(fragment.max(1));
    let platform = async move {
        let _ = far.write_all(sent).await;
    };
    let ((), answered) = tokio::join!(platform, read_answer(near, bodyless));
    answered.map_err(|cause| match cause {
        SendCause::Closed => "closed",
        SendCause::Timeout => "timeout",
        SendCause::Malformed => "malformed",
    })
}

async fn read_answer(near: DuplexStream, bodyless: bool) -> Result<Answered, SendCause> {
    let mut answer = Answer::read(Box::new(Wire::upstream(Line::Other(Box::new(near)))), LONG, bodyless, false).await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.piece().await? {
        body.extend_from_slice(piece);
    }
    let head = answer.head();
    let fields = head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let status = head.status().as_u16();
    Ok(Answered { status, fields, body, reusable: answer.into_reusable().is_some() })
}
