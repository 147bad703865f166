//! The body of an answer as it goes out: whole, in pieces, from the recording pattern, slowly, or for ever.
//! It never looks at the bytes it hands on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::recording;
use super::wire::Busy;

/// A body, and the mark that its connection is busy until it is sent.
pub(super) struct Outgoing {
    content: Content,
    _busy: Busy,
}

/// Where the bytes come from.
pub(super) enum Content {
    /// All at once, with a Content-Length.
    Whole(Bytes),
    /// A part of a recording, with a Content-Length, never held whole.
    Recording(Range<u64>),
    /// Chunked.
    Pieces(VecDeque<Bytes>),
    /// One byte at a time, with a Content-Length and a pause before each but the first.
    Trickle { bytes: Bytes, pause: Duration, sleep: Option<Pin<Box<Sleep>>> },
    /// Chunked, never ending.
    Endless(Bytes),
}

impl Content {
    /// The size, where there is one before sending.
    fn size(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) | Self::Trickle { bytes, .. } => Some(bytes.len() as u64),
            Self::Recording(range) => Some(range.end - range.start),
            Self::Pieces(_) | Self::Endless(_) => None,
        }
    }
}

impl Outgoing {
    pub(super) fn new(content: Content, busy: Busy) -> Self {
        Self { content, _busy: busy }
    }

    /// The size, where there is one before sending.
    pub(super) fn size(&self) -> Option<u64> {
        self.content.size()
    }

    /// The same bytes one at a time. A body without a size is left alone.
    pub(super) fn slowly(mut self, pause: Duration) -> Self {
        self.content = match self.content {
            Content::Whole(bytes) => Content::Trickle { bytes, pause, sleep: None },
            Content::Recording(range) => {
                Content::Trickle { bytes: recording::recording_bytes(range).into(), pause, sleep: None }
            }
            other => other,
        };
        self
    }

    /// Bytes without an end in place of these. They could be base64.
    pub(super) fn for_ever(mut self) -> Self {
        self.content = Content::Endless(Bytes::from_static(&[b'A'; 4096]));
        self
    }

    /// Up to `most` bytes from the start, for an answer that is written past HTTP.
    pub(super) fn first(self, most: usize) -> Bytes {
        match self.content {
            Content::Whole(bytes) | Content::Trickle { bytes, .. } | Content::Endless(bytes) => {
                bytes.slice(..bytes.len().min(most))
            }
            Content::Recording(range) => {
                let end = range.end.min(range.start.saturating_add(most as u64));
                recording::recording_bytes(range.start..end).into()
            }
            Content::Pieces(pieces) => {
                let mut all = BytesMut::new();
                all.extend(pieces);
                all.truncate(most);
                all.freeze()
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(std::mem::take(bytes)),
            Content::Recording(range) => recording::next_piece(range),
            Content::Pieces(pieces) => pieces.pop_front(),
            Content::Endless(bytes) => Some(bytes.clone()),
            Content::Trickle { bytes, .. } if bytes.is_empty() => None,
            Content::Trickle { bytes, pause, sleep } => {
                if let Some(sleep) = sleep {
                    ready!(sleep.as_mut().poll(cx));
                }
                *sleep = Some(Box::pin(tokio::time::sleep(*pause)));
                Some(bytes.split_to(1))
            }
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.size() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
