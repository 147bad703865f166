//! Whoever means harm, or speaks HTTP as badly as if he did: what he sends is read in one way or not at all, what he keeps
//! open ends, and what he floods leaves room for the others. Both listeners, and the other side of each: the platform and
//! receivers, whose answers may be as odd.

mod answers;
mod corpus;
pub(crate) mod crowd;
mod floods;
mod slow;
mod smuggling;
mod tap;
