//! A program: one connection, exactly the bytes that a test writes, and answers taken apart.
//! It is its own small HTTP/1.1 reader, so that nothing of the gateway judges the gateway.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::gateway::PATIENCE;

/// One connection of a program.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Status line.
    pub(crate) status_line: String,
    /// Names as sent, and values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing said.
    pub(crate) complete: bool,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The stable word of the gateway's own answers.
    pub(crate) fn word(&self) -> Option<&str> {
        self.header("x-gateway-error")
    }
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).expect("the gateway listens"))
    }

    /// On a connection that there is already.
    pub(crate) fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: BufReader::new(stream) }
    }

    /// Writes bytes as they are. A peer that closed is not an error here; the answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Says that nothing more comes.
    pub(crate) fn finish_sending(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// `GET path` on this connection.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n")).answer()
    }

    /// `POST path` with a JSON body on this connection.
    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(path, "", body)
    }

    /// The same with further header lines, each ended by CR LF.
    pub(crate) fn post_with(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.send(request).answer()
    }

    /// Reads one final answer; interim ones are skipped.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// The same for an answer to HEAD, which has no body.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    /// One final answer, or `None` when the connection ended before it.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        loop {
            let mut answer = self.head()?;
            if answer.status / 100 == 1 {
                continue;
            }
            if !to_head && !matches!(answer.status, 204 | 304) {
                self.read_body(&mut answer);
            }
            return Some(answer);
        }
    }

    /// The head of the next answer, interim ones included.
    pub(crate) fn head(&mut self) -> Option<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(Answer { status, status_line, headers, body: Vec::new(), complete: true });
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, answer: &mut Answer) {
        if answer.header("transfer-encoding").is_some() {
            loop {
                let Some(size) = self.line().and_then(|line| usize::from_str_radix(line.split(';').next()?, 16).ok())
                else {
                    answer.complete = false;
                    return;
                };
                let read = self.stream.by_ref().take(size as u64).read_to_end(&mut answer.body).unwrap_or(0);
                let ended = self.line();
                if read < size || ended.is_none() {
                    answer.complete = false;
                    return;
                }
                if size == 0 {
                    return;
                }
            }
        }
        match answer.header("content-length").map(|length| length.parse::<u64>().expect("a length")) {
            Some(length) => {
                let read = self.stream.by_ref().take(length).read_to_end(&mut answer.body).unwrap_or(0);
                answer.complete = read as u64 == length;
            }
            None => answer.complete = self.stream.read_to_end(&mut answer.body).is_ok(),
        }
    }

    /// Whether the gateway closed this connection in good order, not by a reset that could take an answer away.
    /// Waits for it, and says no after [`PATIENCE`].
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]))
    }

    /// The connection itself, for what a test has to do by hand.
    pub(crate) fn stream(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).ok()?;
        let line = line.strip_suffix(b"\r\n")?;
        String::from_utf8(line.to_vec()).ok()
    }
}
