//! What is handed to others: the crates it is made of, what is promised of its security, and how it is installed.

mod bill;
mod container;
mod crates;
mod debian;
mod root;
mod security;
mod unit;
