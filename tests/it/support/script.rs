//! A platform that says exactly the bytes a test writes. It answers logins itself; every other request is
//! handed to the test, with its connection, once its header has been read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// One connection to the scripted platform.
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
}

impl Line {
    /// Writes bytes as they are. The gateway may have left: the test sees that at the other end.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// The same; whether the gateway was still there, as far as anybody can know.
    pub(crate) fn says(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Reads exactly so many bytes of what the gateway sent, fewer if it ended.
    pub(crate) fn hear(&mut self, bytes: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        let _ = self.stream.by_ref().take(bytes as u64).read_to_end(&mut heard);
        heard
    }

    /// Says that nothing more comes. What was sent and not heard is read to its end, or it would reset the connection.
    pub(crate) fn end(&mut self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
        self.hear(usize::MAX);
    }

    /// The header of the next request; `None` when the gateway closed.
    fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some(head)
    }
}

/// Starts one; returns its address as a URL. `answer` gets each request's header and its connection, which
/// closes when it returns. It runs until the test's process ends.
pub(crate) fn scripted(answer: impl Fn(&str, &mut Line) + Send + Clone + 'static) -> String {
    scripted_whole(move |head, line| {
        if !head.contains("/auth ") {
            return answer(head, line);
        }
        let token = r#"{"data":{"token":"scripted"},"status":"OK","code":200}"#;
        line.say(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{token}", token.len()));
        line.end();
    })
}

/// The same with the logins handed to the test as well.
pub(crate) fn scripted_whole(answer: impl Fn(&str, &mut Line) + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, stream) = (answer.clone(), stream.expect("a connection"));
            std::thread::spawn(move || {
                stream.set_nodelay(true).expect("no delay");
                let mut line = Line { stream: BufReader::new(stream) };
                if let Some(head) = line.head() {
                    answer(&head, &mut line);
                }
            });
        }
    });
    url
}

/// One that takes so many connections, one after the other, and then nobody listens any more: already while the last is answered.
pub(crate) fn scripted_times(times: usize, answer: impl Fn(&str, &mut Line) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let mut listener = Some(listener);
        for left in (0..times).rev() {
            let accepted = listener.as_ref().map(|listener| listener.accept().expect("a connection").0);
            listener = listener.filter(|_| left > 0);
            let mut line = Line { stream: BufReader::new(accepted.expect("it listens")) };
            if let Some(head) = line.head() {
                answer(&head, &mut line);
            }
        }
    });
    url
}
