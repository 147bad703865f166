//! Callbacks through the front door: what the platform sends, what it is answered, and what that leaves behind.

mod canary;
mod late;
mod limits;
mod mistakes;
mod refusals;
mod relay;
pub(crate) mod setting;
mod stored;
mod tls;
mod trouble;
