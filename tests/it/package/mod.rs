//! What is handed to others: the crates it is made of, what is promised of its security, and how it is installed.

mod crates;
mod security;
