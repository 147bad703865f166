//! Delivery: what is in the inbox goes to its receivers, again and again until they take it.
//!
//! At least once: a receiver drops repeats by `webhook-id`. This room never reads a callback from the platform.
