//! Doors for the fuzz targets of `tests/fuzz` into rooms that are closed to everybody else.
//!
//! Compiled with the feature `fuzzing` only. It has no code of its own: each door stands in its room, decides nothing and
//! opens no connection.

pub use crate::http::fuzzing::{Answered, Asked, answer, requests};
pub use crate::inbound::fuzzing::{Intake, Taken, condition_holds};
pub use crate::inbox::fuzzing::{
    NotedCall, Read, Rows, Written, header_verdict, kept_answer, read_block, written_block, written_parent,
};
pub use crate::outbound::fuzzing::{Leaving, SealsQueries, code_of, repair_plus, unpack};
