//! Callbacks through the front door: what the platform sends, what it is answered, and what that leaves behind.

mod setting;
mod stored;
