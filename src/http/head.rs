//! The head of a request that came: parsed once, and checked before anything acts on it.
//!
//! httparse reads the lines; whatever two servers could read in two ways is refused here (RFC 9112 sections 2.2, 3.2,
//! 5 and 6.1 to 6.3). Nobody stands behind these checks. It never repairs anything, and never reads a connection.

use std::mem::MaybeUninit;
use std::ops::Range;

use http::Method;
use memchr::memchr;

use super::headers::{Lengths, Twice};
use super::target;

/// Most fields of a request's head.
const MAX_FIELDS: usize = 256;

/// The most room that is kept for the next head, in bytes.
const KEPT_ROOM: usize = 8 * 1024;

/// What ended the reading of a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// It was not complete in time.
    TooSlow,
    /// More bytes or fields than allowed.
    TooLarge,
    /// Not HTTP/1.x, or to be read in two ways.
    Malformed(Malformed),
}

/// Why a request's head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A line ends in LF without CR (RFC 9112 section 2.2 lets a server accept it; proxies that do differ).
    BareLineFeed,
    /// `Content-Length` beside `Transfer-Encoding`: the classic way to smuggle a request.
    LengthAndEncoding,
    /// `Content-Length` that is a list, signed or given twice.
    Length,
    /// A `Transfer-Encoding` other than exactly `chunked`, or one in HTTP/1.0, which knows none.
    Encoding,
    /// HTTP/1.1 without exactly one `Host`, or one that is no host (RFC 9112 section 3.2).
    Host,
    /// A target that is neither a path nor an absolute form of one for this host.
    Target,
    /// Anything the parser itself refused.
    Syntax,
}

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    None,
    /// As declared, in bytes; not zero.
    Known(u64),
    /// Chunked.
    Unknown,
}

/// The head of a request.
pub(crate) struct Request {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    lengths: Lengths,
    method: Method,
    /// As it came, apart from the other bytes: they need not be text, and this was found to be.
    target: String,
    path: Range<usize>,
    query: Option<Range<usize>>,
    length: Length,
    pub(super) is_http11: bool,
    pub(super) keeps_alive: bool,
}

/// Where a name and its value stand.
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Request {
    /// One of which nothing was read, to be read into.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            fields: Vec::new(),
            lengths: Lengths::default(),
            method: Method::GET,
            target: String::new(),
            path: 0..0,
            query: None,
            length: Length::None,
            is_http11: true,
            keeps_alive: false,
        }
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_ROOM);
        self.target.clear();
        self.target.shrink_to(KEPT_ROOM);
        self.fields.clear();
        (self.method, self.path, self.query) = (Method::GET, 0..0, None);
        (self.lengths, self.length, self.is_http11, self.keeps_alive) = (Lengths::default(), Length::None, true, false);
    }

    /// The method.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The method of a request that is refused, if its head could be read so far.
    pub(crate) fn known_method(&self) -> Option<&Method> {
        (!self.bytes.is_empty()).then_some(&self.method)
    }

    /// The path as it came. Of the absolute form (RFC 9112 section 3.2.2) it is what stands after the authority, so that
    /// nothing acts on one spelling and forwards another. Empty for CONNECT, which has none.
    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() && self.method != Method::CONNECT {
            return "/";
        }
        &self.target[self.path.clone()]
    }

    /// What follows the first `?` of the target, as it came; `None` without one.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.clone().map(|query| &self.target[query])
    }

    /// Name and value of each field, in order, as spelled; values without the space around them.
    pub(crate) fn headers(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (&self.bytes[field.name.clone()], &self.bytes[field.value.clone()]))
    }

    /// The values of all fields of this name, whatever its spelling.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let is = move |known: &Range<usize>| self.bytes[known.clone()].eq_ignore_ascii_case(name.as_bytes());
        let fields = self.lengths.among(&self.fields, name.len()).iter();
        fields.filter(move |field| is(&field.name)).map(|field| &self.bytes[field.value.clone()])
    }

    /// The first value of this name. Where it decides something, ask [`Request::only`].
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The one value of a header that decides something, so that no two readers of a request can choose differently.
    ///
    /// # Errors
    /// [`Twice`].
    pub(crate) fn only<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, Twice> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Twice) } else { Ok(first) }
    }

    /// How long the body is.
    pub(crate) fn length(&self) -> Length {
        self.length
    }

    /// How long the head was, in bytes, its empty line included.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the program waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
    pub(crate) fn is_expecting_continue(&self) -> bool {
        self.is_http11 && self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Reads into a cleared one. `head` is one whole head, as [`HeadEnd`] found it.
    ///
    /// # Errors
    /// Why it is refused. The method is known then, if there was one.
    pub(super) fn parse(&mut self, head: &[u8]) -> Result<(), HeaderFault> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(HeaderFault::TooLarge),
            _ => return Err(Malformed::Syntax.into()),
        }
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Malformed::Syntax.into());
        };
        self.method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed::Syntax)?;
        self.is_http11 = version == 1;
        self.bytes.extend_from_slice(head);
        let within = |part: &[u8]| {
            let start = part.as_ptr() as usize - head.as_ptr() as usize;
            start..start + part.len()
        };
        let mut framing = Fields::default();
        for field in parsed.headers.iter() {
            framing.note(field)?;
            // An empty value may point anywhere.
            let value = if field.value.is_empty() { 0..0 } else { within(field.value) };
            self.lengths.note(field.name.len());
            self.fields.push(Field { name: within(field.name.as_bytes()), value });
        }
        self.length = framing.length(self.is_http11)?;
        self.keeps_alive = !framing.closes && (self.is_http11 || framing.keeps);
        if self.is_http11 && framing.host.is_none() {
            return Err(Malformed::Host.into());
        }
        if self.method == Method::CONNECT {
            let good = target::is_authority(target, framing.host);
            return if good { Ok(()) } else { Err(Malformed::Target.into()) };
        }
        let (path, query) = target::split(target, framing.host).ok_or(Malformed::Target)?;
        let end = target.len();
        self.target.push_str(target);
        self.query = query.map(|query| end - query.len()..end);
        let end = self.query.as_ref().map_or(end, |query| query.start - 1);
        self.path = end - path.len()..end;
        Ok(())
    }
}

/// What decides about the message itself.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    declared: Option<u64>,
    chunked: bool,
    closes: bool,
    keeps: bool,
}

impl<'a> Fields<'a> {
    fn note(&mut self, field: &httparse::Header<'a>) -> Result<(), Malformed> {
        let (name, value) = (field.name, field.value);
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                if self.host.is_some() || !value.iter().copied().all(target::is_of_host) {
                    return Err(Malformed::Host);
                }
                self.host = Some(value);
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                // 18 digits always fit 64 bits; a longer number is no body anybody sends.
                let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
                if self.declared.is_some() || !is_number {
                    return Err(Malformed::Length);
                }
                self.declared = Some(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Encoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn length(&self, is_http11: bool) -> Result<Length, Malformed> {
        match (self.chunked, self.declared) {
            (true, Some(_)) => Err(Malformed::LengthAndEncoding),
            (true, None) if !is_http11 => Err(Malformed::Encoding),
            (true, None) => Ok(Length::Unknown),
            (false, None | Some(0)) => Ok(Length::None),
            (false, Some(bytes)) => Ok(Length::Known(bytes)),
        }
    }
}

/// Looks for the end of a head while its bytes arrive, each of them once.
#[derive(Default)]
pub(super) struct HeadEnd {
    /// Where the present line begins, and how far it was searched for its end.
    line: usize,
    searched: usize,
}

impl HeadEnd {
    /// How long the head at the start of `bytes` is, once it is whole. `bytes` may grow at its end only.
    ///
    /// # Errors
    /// A line ends in LF alone, or the first line is no request line.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(at) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + at;
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Malformed::BareLineFeed)?;
            if line.is_empty() {
                return Ok(Some(end + 1));
            }
            (self.line, self.searched) = (end + 1, end + 1);
        }
        // What speaks another protocol may never send an empty line; so much of it is enough to know.
        if let Some(end) = memchr(b'\n', &bytes[..self.line]) {
            check_request_line(&bytes[..end])?;
        }
        self.searched = bytes.len();
        Ok(None)
    }
}

/// Checks the first line, without its LF, for what is no request line of HTTP/1.x: other than two spaces, or a
/// control character.
fn check_request_line(line: &[u8]) -> Result<(), Malformed> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let spaces = line.iter().filter(|&&byte| byte == b' ').count();
    if spaces != 2 || line.iter().any(u8::is_ascii_control) {
        return Err(Malformed::Syntax);
    }
    Ok(())
}

impl From<Malformed> for HeaderFault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Malformed {
    /// What is wrong and what to send instead.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a header line ends in a bare LF; end each with CR LF",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other; send one",
            Self::Length => "Content-Length has to be one decimal number, given once",
            Self::Encoding => "the only Transfer-Encoding understood is chunked, in HTTP/1.1",
            Self::Host => "HTTP/1.1 asks for exactly one Host header, with a host in it",
            Self::Target => {
                "the request target has to be a path that starts with a slash, without a fragment, in UTF-8"
            }
            Self::Syntax => "the request header is not HTTP/1.1",
        }
    }
}

#[cfg(test)]
mod tests;
