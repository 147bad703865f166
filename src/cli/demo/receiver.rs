//! A program that takes callbacks: it refuses each the first time, as if it were being restarted, and takes it the second
//! time. It answers and looks at nothing; checking a signature is shown in docs/callbacks.md.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::clock;

use super::circle::{Event, Events};
use super::program::shorten;

/// Listens, and answers on threads of its own until the program ends.
pub(super) fn start(listen: SocketAddr, events: Events) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("receiver".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = events.clone();
            // A gateway that keeps its connection must not keep others from theirs.
            let _ = thread::Builder::new().name("receiver-line".into()).spawn(move || take_all(stream, &events));
        }
    })?;
    Ok(address)
}

/// Everything that comes on one connection. It ends with the first thing that is no delivery.
fn take_all(stream: TcpStream, events: &Events) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut id, mut attempt, mut signature, mut length) = (String::new(), String::new(), String::new(), 0);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            let value = value.trim().to_owned();
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => id = value,
                "webhook-signature" => signature = value,
                "x-gateway-attempt" => attempt = value,
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                _ => {}
            }
        }
        let mut body = Vec::new();
        stream.by_ref().take(length).read_to_end(&mut body)?;
        let takes = attempt != "1";
        let (status, verb) = if takes { ("200 OK", "takes") } else { ("503 Service Unavailable", "refuses") };
        let mut what = format!("attempt {attempt} of {id}: {status}");
        if takes {
            what += &format!(
                "\n             webhook-signature: {}\n             {}",
                shorten(signature.as_bytes()),
                shorten(&body)
            );
        }
        let event = Event { at: clock::now(), who: "receiver", verb, what, last: takes };
        // Nobody listens any more when the demo ends.
        let _ = events.send(event);
        write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
    }
}
