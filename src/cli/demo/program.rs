//! A program of the company: it calls the gateway in plain HTTP, and shows what was sent, what went over the wire and what
//! came back. It knows nothing of tokens, ciphers or TLS.

use std::io;
use std::net::SocketAddr;

use crate::cli::ask::ask;
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
        let (status, answer) = ask(self.outbound, method, target, None, body)?;
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
