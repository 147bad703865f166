//! A connection between two requests goes to another process: all there is of it is its descriptor and what was read ahead.
//!
//! It never takes apart a connection on which a request is under way, and closes none.

use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;

use super::Session;
use crate::http::drain::{Drain, Stage};
use crate::http::line::Line;

/// Most bytes that go with a connection: they travel in one packet, whose size the kernel bounds. A connection with more of
/// them is served on here until it has less.
pub(crate) const MOST_AHEAD: usize = 128 * 1024;

impl Session {
    /// On a connection that was another process's, with what that had read ahead.
    pub(in crate::http) fn resumed(line: Line, ahead: BytesMut, write_timeout: Duration) -> Self {
        let mut session = Self::new(line, write_timeout);
        *session.wire.ahead() = ahead;
        session
    }

    /// Whether another process can go on with it, as soon as no request is under way.
    pub(in crate::http) fn can_be_handed_over(&mut self) -> bool {
        self.wire.line().is_tcp() && self.wire.ahead().len() <= MOST_AHEAD
    }

    /// Whether no request can follow the present one: everything stops, or another process serves and it cannot go there.
    pub(crate) fn is_last(&mut self, drain: &Drain) -> bool {
        drain.is(Stage::Stopping) || drain.is(Stage::Handing) && !self.can_be_handed_over()
    }

    /// What another process needs to go on with it. Between two requests, or before the end of a head, only.
    pub(in crate::http) fn take_apart(self) -> Option<(TcpStream, BytesMut)> {
        let (line, ahead) = self.wire.into_parts();
        Some((line.into_tcp()?, ahead))
    }
}
