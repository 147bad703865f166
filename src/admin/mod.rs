//! The admin listener: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops us, the status, the
//! inbox and the keys of calls for operators.
//!
//! It reads state; only the pages of the inbox and of keys change any, and only for who may. Readiness is per face, because a trouble of
//! one never takes the other down.

mod access;
mod call;
mod html;
mod inbox;
mod keys;
mod page;
mod question;
mod reload;
mod status;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use serde_json::json;

pub(crate) use access::Access;
pub(crate) use reload::{Asked, Reloaded, Reloads};
pub(crate) use status::{History, Looks};

use crate::http::head;
use crate::http::listener::{After, App, HeaderFault};
use crate::http::session::Session;
use crate::inbox::{Inbox, Unavailable};
use crate::metrics::Metrics;
use crate::token::{Cache, HttpLogin};
use page::{Longest, Page, Request};

/// What somebody is told who asks for another page.
const PAGES: &str = "Pages here: /, /status.json, /metrics, /livez, /readyz, /readyz/outbound, /readyz/inbound, POST /reload, and with an [inbox] /inbox, \
                     /keys, /call and /call.json.";

/// Where operators ask for another configuration.
const RELOAD: &str = "/reload";

/// What operators may look at.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// Each account's name and the token it has to hold.
    pub(crate) tokens: Vec<(String, Cache<HttpLogin>)>,
    /// Whether the platform calls back.
    pub(crate) inbound: bool,
    /// Where callbacks are stored, if they are.
    pub(crate) inbox: Option<Inbox>,
    /// Who may look at the status and into the inbox, and ask for another configuration.
    pub(crate) access: Access,
    /// The last hour.
    pub(crate) history: History,
    /// Where another configuration is asked for; `None`: there is none.
    pub(crate) reloads: Option<Reloads>,
}

impl Admin {
    /// Nothing when the request may be answered with its page; before its body is read.
    fn admit(&self, request: &Request) -> Result<(), Page> {
        let is_document = is_document(&request.path);
        let changes = operates(&request.path) || request.path == RELOAD;
        if is_document || [STATUS, CALL].contains(&&*request.path) || changes {
            let checked = self.access.check(request);
            checked.map_err(|refused| if is_document { refused.asking_a_person() } else { refused })?;
        }
        match request.method {
            Method::GET | Method::HEAD => Ok(()),
            _ if changes => Ok(()),
            _ => Err(Page::only("GET, HEAD")),
        }
    }

    async fn page(&self, request: &Request) -> Page {
        match request.path.as_str() {
            "/" | "/status" => html::status(),
            STATUS => Page::json(200, &status::status(self)),
            "/metrics" => Page::written(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.encode()),
            "/livez" => Page::json(200, &json!({"live": true})),
            "/readyz" | "/readyz/outbound" => self.outbound(),
            "/readyz/inbound" => self.inbound(),
            RELOAD => match &self.reloads {
                Some(reloads) if request.method == Method::POST => reloads.page().await,
                Some(_) => Page::only("POST"),
                None => {
                    Page::message(404, "This gateway was started without a file, so there is nothing to read again.")
                }
            },
            path => {
                let page = match &self.inbox {
                    Some(_) if path == "/call" => Some(html::call()),
                    Some(inbox) if path == CALL => Some(call::page(inbox, request).await),
                    Some(inbox) if is_below("/inbox", path) => inbox::page(inbox, request).await,
                    Some(inbox) if is_below("/keys", path) => keys::page(inbox, request).await,
                    _ => None,
                };
                page.unwrap_or_else(|| Page::message(404, PAGES))
            }
        }
    }

    /// Ready when a token is held for every account; else each account's reason.
    fn outbound(&self) -> Page {
        let accounts: serde_json::Map<_, _> = self
            .tokens
            .iter()
            .map(|(name, tokens)| {
                let state = match tokens.held() {
                    Ok(held) => json!({"ready": true, "token_seconds_left": held.life.as_secs()}),
                    Err(absent) => json!({"ready": false, "reason": absent.reason()}),
                };
                (name.clone(), state)
            })
            .collect();
        let ready = accounts.values().all(|state| state["ready"] == true);
        Page::json(if ready { 200 } else { 503 }, &json!({"ready": ready, "accounts": accounts}))
    }

    /// Ready when the inbox takes callbacks; without one they are passed on while the platform waits.
    fn inbound(&self) -> Page {
        if !self.inbound {
            return Page::message(404, "This gateway has no inbound listener, so there is nothing to be ready.");
        }
        match self.inbox.as_ref().map_or(Ok(()), Inbox::check) {
            Ok(()) => Page::json(200, &json!({"ready": true})),
            // The process before this one takes them, or they wait in the kernel's queue for the moment of the change.
            Err(why @ Unavailable::Elsewhere) => {
                Page::json(200, &json!({"ready": true, "reason": why.word(), "message": why.to_string()}))
            }
            Err(why) => {
                let advice = self.inbox.as_ref().and_then(Inbox::advice);
                Page::json(503, &json!({"ready": false, "reason": why.word(), "message": advice}))
            }
        }
    }
}

/// What the status page draws.
const STATUS: &str = "/status.json";

/// What the page of a call draws.
const CALL: &str = "/call.json";

/// Whether a path is a page for people, which a browser asks the token for.
fn is_document(path: &str) -> bool {
    matches!(path, "/" | "/status" | "/call")
}

/// Whether a path is one of the pages of the inbox or of keys, which may change something.
fn operates(path: &str) -> bool {
    is_below("/inbox", path) || is_below("/keys", path)
}

fn is_below(top: &str, path: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl App for Admin {
    async fn serve(self: &Arc<Self>, head: &head::Request, session: &mut Session, _: IpAddr) -> After {
        let mut request = Request::of(head);
        let admitted = match self.admit(&request) {
            Ok(()) => {
                let longest = if request.path == keys::SETTLE { &keys::SETTLEMENT } else { &Longest::QUESTION };
                request.read_body(session, longest).await
            }
            refused => refused,
        };
        let page = match admitted {
            Ok(()) => self.page(&request).await,
            Err(refused) => refused,
        };
        let unread = !session.is_body_done();
        match page.write(session).await {
            Ok(()) if unread => After::Linger,
            Ok(()) => After::Keep,
            Err(_) => After::Cut,
        }
    }

    async fn refuse(self: &Arc<Self>, _: &head::Request, session: &mut Session, fault: HeaderFault) {
        let status = match fault {
            HeaderFault::TooSlow => 408,
            HeaderFault::TooLarge => 431,
            HeaderFault::Malformed(_) => 400,
        };
        let page = Page::message(status, "The request header is not one this listener reads.");
        let _ = page.write(session).await;
    }
}
