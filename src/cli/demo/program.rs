//! A program of the company: it calls the gateway in plain HTTP, and shows what was sent, what went over the wire and what
//! came back. It knows nothing of tokens, ciphers or TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::simulator::Simulator;

/// The calls, one after another.
pub(super) struct Story<'a> {
    pub(super) platform: &'a Simulator,
    pub(super) outbound: SocketAddr,
    pub(super) step: usize,
}

impl Story<'_> {
    /// Makes one call, prints its three views, returns the answer's body.
    pub(super) fn call(&mut self, what: &str, method: &str, target: &str, body: &str) -> io::Result<Vec<u8>> {
        self.step += 1;
        self.platform.clear();
        println!("{}. {what}", self.step);
        println!("   program sent     {method} {target} {}", shorten(body.as_bytes()));
        let (status, answer) = ask(self.outbound, method, target, body)?;
        for arrived in self.platform.requests() {
            let query =
                arrived.query.as_deref().map(|query| format!("?{}", shorten(query.as_bytes()))).unwrap_or_default();
            println!("   on the wire      {} {}{query} {}", arrived.method, arrived.path, shorten(&arrived.body));
            let header = |name: &str| arrived.header(name).map(|value| shorten(value.as_bytes())).unwrap_or("-".into());
            println!(
                "                    Authorization: {}  Is-Encrypted: {}  Signed: {}",
                header("authorization").split(' ').next().map_or("-".to_owned(), |scheme| format!("{scheme} …")),
                header("is-encrypted"),
                header("signed")
            );
        }
        println!("   program received {status} {}\n", shorten(&answer));
        if status != 200 {
            return Err(io::Error::other(format!("the call was answered with {status}")));
        }
        Ok(answer)
    }
}

/// Text as it is, up to a line's length; bytes by their number.
pub(super) fn shorten(bytes: &[u8]) -> String {
    const LINE: usize = 100;
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().count() <= LINE => text.to_owned(),
        Ok(text) if !text.contains('\0') => {
            format!("{}… ({} bytes)", text.chars().take(LINE).collect::<String>(), bytes.len())
        }
        _ => format!("({} bytes)", bytes.len()),
    }
}

/// One request on a connection of its own: status and body.
pub(super) fn ask(address: SocketAddr, method: &str, target: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} {target} HTTP/1.0\r\nHost: demo\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))?;
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    Ok((status, body))
}
