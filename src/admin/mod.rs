//! The admin listener: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops us.
//!
//! It reads state and changes none. Readiness is per face, because a trouble of one never takes the
//! other down.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode};

use crate::http::head::Request;
use crate::http::listener::{After, App, HeaderFault};
use crate::http::response::ResponseHead;
use crate::http::session::Session;
use crate::metrics::Metrics;
use crate::token::{Cache, HttpLogin};

/// What operators may look at.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// Each account's name and the token it has to hold.
    pub(crate) tokens: Vec<(String, Cache<HttpLogin>)>,
}

/// One page.
struct Page {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

const JSON: &str = "application/json";

impl Admin {
    fn page(&self, method: &Method, path: &str) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Page::json(405, serde_json::json!({"message": "Only GET and HEAD are answered here."}));
        }
        match path {
            "/metrics" => Page {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.metrics.encode(),
            },
            "/livez" => Page::json(200, serde_json::json!({"live": true})),
            "/readyz" | "/readyz/outbound" => self.outbound(),
            "/readyz/inbound" => Page::json(
                404,
                serde_json::json!({"message": "This gateway has no inbound listener, so there is nothing to be ready."}),
            ),
            _ => Page::json(
                404,
                serde_json::json!({"message": "Pages here: /metrics, /livez, /readyz, /readyz/outbound, /readyz/inbound."}),
            ),
        }
    }

    /// Ready when a token is held for every account; else each account's reason.
    fn outbound(&self) -> Page {
        let accounts: serde_json::Map<_, _> = self
            .tokens
            .iter()
            .map(|(name, tokens)| {
                let state = match tokens.held() {
                    Ok(held) => serde_json::json!({"ready": true, "token_seconds_left": held.life.as_secs()}),
                    Err(absent) => serde_json::json!({"ready": false, "reason": absent.reason()}),
                };
                (name.clone(), state)
            })
            .collect();
        let ready = accounts.values().all(|state| state["ready"] == true);
        Page::json(if ready { 200 } else { 503 }, serde_json::json!({"ready": ready, "accounts": accounts}))
    }
}

impl Page {
    fn json(status: u16, body: serde_json::Value) -> Self {
        Self { status, content_type: JSON, body: body.to_string().into_bytes() }
    }

    async fn write(self, session: &mut Session) -> io::Result<()> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = ResponseHead::new(status);
        head.header(b"Content-Type", self.content_type.as_bytes()).header(b"Cache-Control", b"no-store");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            head.header(b"Allow", b"GET, HEAD");
        }
        session.answer(head, &self.body).await
    }
}

impl App for Admin {
    async fn serve(self: &Arc<Self>, request: &Request, session: &mut Session, _: IpAddr) -> After {
        let page = self.page(request.method(), request.path());
        let unread = !session.is_body_done();
        match page.write(session).await {
            Ok(()) if unread => After::Linger,
            Ok(()) => After::Keep,
            Err(_) => After::Cut,
        }
    }

    async fn refuse(self: &Arc<Self>, _: &Request, session: &mut Session, fault: HeaderFault) {
        let status = match fault {
            HeaderFault::TooSlow => 408,
            HeaderFault::TooLarge => 431,
            HeaderFault::Malformed(_) => 400,
        };
        let page =
            Page::json(status, serde_json::json!({"message": "The request header is not one this listener reads."}));
        let _ = page.write(session).await;
    }
}
