//! What both edges share: a connection whose writes leave whole, the accept loop, the checks a request
//! header has to pass, the headers that never cross the gateway, and the one client.
//!
//! Nothing here knows an account, a token or an operation.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod door;
pub(crate) mod drain;
mod framing;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod head;
pub(crate) mod headers;
mod line;
pub(crate) mod listener;
mod newcomers;
mod pace;
mod patience;
mod pool;
pub(crate) mod present;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod session;
mod target;
pub(crate) mod tls;
pub(crate) mod wire;
