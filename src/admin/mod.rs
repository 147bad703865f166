//! The admin listener: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops us.
//!
//! It reads state and changes none. Readiness is per face, because a trouble of one never takes the
//! other down.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::server::HttpSession;

use crate::http::listener::{After, App, HeaderFault};
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

    async fn write(self, session: &mut HttpSession) -> pingora::Result<()> {
        let mut head = ResponseHeader::build(self.status, Some(4))?;
        head.append_header(header::CONTENT_TYPE, self.content_type)?;
        head.append_header(header::CONTENT_LENGTH, self.body.len())?;
        head.append_header(header::CACHE_CONTROL, "no-store")?;
        if self.status == 405 {
            head.append_header(header::ALLOW, "GET, HEAD")?;
        }
        session.write_response_header(Box::new(head)).await?;
        session.write_body(&self.body).await?;
        session.finish_body().await?;
        Ok(())
    }
}

impl App for Admin {
    async fn serve(self: &Arc<Self>, session: &mut HttpSession, _: IpAddr) -> After {
        let request = session.req_header();
        let page = self.page(&request.method, request.uri.path());
        let unread = !session.is_body_done();
        match page.write(session).await {
            Ok(()) if unread => After::Linger,
            Ok(()) => After::Keep,
            Err(_) => After::Cut,
        }
    }

    async fn refuse(self: &Arc<Self>, session: &mut HttpSession, fault: HeaderFault) {
        let status = match fault {
            HeaderFault::TooSlow => 408,
            HeaderFault::TooLarge => 431,
            HeaderFault::Malformed => 400,
        };
        let page =
            Page::json(status, serde_json::json!({"message": "The request header is not one this listener reads."}));
        let _ = page.write(session).await;
    }
}
