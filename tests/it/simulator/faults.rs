//! The faults.
