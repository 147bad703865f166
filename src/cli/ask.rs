//! One HTTP request on a connection of its own, for commands that talk to a gateway of theirs.
//!
//! Blocking, and small on purpose: it knows one peer, which answers in HTTP/1 and then closes. It never follows a
//! redirect and never asks twice.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::secret::Secret;

/// How long a connect may take; the peer is near.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence while an answer is awaited: a step over a large inbox takes its time.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest line of a head, and the most bytes of an answer, the largest callback included.
const LONGEST_LINE: u64 = 16 * 1024;
const LARGEST: u64 = 1024 * 1024 * 1024;

/// Status and body of the answer. `token` goes into `Authorization`; the body is JSON.
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    token: Option<&Secret>,
    body: &str,
) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut request = Zeroizing::new(Vec::with_capacity(512 + target.len() + body.len()));
    write!(
        request,
        "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    )?;
    if let Some(token) = token {
        request.extend_from_slice(b"Authorization: Bearer ");
        request.extend_from_slice(token.expose());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body.as_bytes());
    stream.write_all(&request)?;
    let mut reader = BufReader::new(stream);
    let line = read_line(&mut reader)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))?;
    while !read_line(&mut reader)?.trim_end().is_empty() {}
    let mut body = Vec::new();
    reader.take(LARGEST).read_to_end(&mut body)?;
    Ok((status, body))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.take(LONGEST_LINE).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}
