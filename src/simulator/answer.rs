//! What an operation says, before it is sealed and sent: the platform's two shapes of JSON, pages and files.
//! It decides neither what is said nor how it is sealed.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Content-Type of everything that can be sealed.
const JSON: &str = "application/json";

/// An answer in the making.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) payload: Payload,
    pub(super) shape: Shape,
}

/// What an answer carries.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A part of a recording.
    Recording(Range<u64>),
}

/// How the bytes are put on the wire, after sealing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// With a Content-Length.
    Whole,
    /// With a Content-Length and `Content-Encoding: gzip`.
    Gzip,
    /// In several chunks.
    Chunked,
    /// Without a length: the end of the connection ends it.
    CloseDelimited,
}

impl Answer {
    pub(super) fn new(status: StatusCode, content_type: &'static str, payload: Payload) -> Self {
        Self { status, content_type, headers: Vec::new(), payload, shape: Shape::Whole }
    }

    /// JSON with HTTP 200.
    pub(super) fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, JSON, Payload::Bytes(value.to_string().into()))
    }

    /// `{"data":…,"status":"OK","code":200}`.
    pub(super) fn ok(data: &Value) -> Self {
        Self::json(&json!({ "data": data, "status": "OK", "code": 200 }))
    }

    /// `{"code":0,"message":…,"body":…}`, the shape of SMS and of the call-centre family.
    pub(super) fn ok_body(body: &Value) -> Self {
        Self::json(&json!({ "code": 0, "message": "success", "body": body }))
    }

    /// A failing body code, in the shape of `/service/cloud`, with HTTP 200.
    pub(super) fn code(code: i64, status: &str) -> Self {
        Self::json(&json!({ "data": null, "status": status, "code": code }))
    }

    /// An HTTP status, with the same body code.
    pub(super) fn failed(http: StatusCode, status: &str) -> Self {
        Self::code(http.as_u16().into(), status).with_status(http)
    }

    /// What a broken server's proxy says.
    pub(super) fn html(http: StatusCode) -> Self {
        let page = format!("<html><head><title>{http}</title></head><body><h1>{http}</h1></body></html>\r\n");
        Self::new(http, "text/html", Payload::Bytes(page.into()))
    }

    /// No body at all.
    pub(super) fn empty(http: StatusCode) -> Self {
        Self::new(http, JSON, Payload::Nothing)
    }

    pub(super) fn with_status(mut self, http: StatusCode) -> Self {
        self.status = http;
        self
    }

    pub(super) fn with_shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The text that sealing would seal: JSON only.
    pub(super) fn sealable(&self) -> Option<&Bytes> {
        match &self.payload {
            Payload::Bytes(bytes) if self.content_type == JSON => Some(bytes),
            _ => None,
        }
    }
}
