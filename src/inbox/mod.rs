//! The inbox: callbacks on disk, encrypted, from their acceptance until every receiver has them.
//!
//! Owns the database, the key at rest, and what is waiting, leased, delivered or dead. It never sends anything.
