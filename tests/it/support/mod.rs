//! The neighbours of a test: the built gateway as a process of its own, and a client that sends exactly
//! the bytes it is told. The platform is the simulator, in this process.

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod exposition;
pub(crate) mod gateway;
pub(crate) mod identity;
pub(crate) mod mounted;
mod output;
pub(crate) mod platform;
pub(crate) mod prometheus;
pub(crate) mod random;
pub(crate) mod rate;
pub(crate) mod receiver;
pub(crate) mod script;
mod succession;
pub(crate) mod tools;

pub(crate) use browser::Browser;
pub(crate) use client::{Answer, Client};
pub(crate) use exposition::Exposition;
pub(crate) use gateway::{Folder, Gateway, KEY, PATIENCE, Refusing, Setup};
pub(crate) use platform::{arrived_at, calls, close_all, platform, platform_with, stop, wait_until};
pub(crate) use random::Random;
pub(crate) use script::{Line, scripted, scripted_times, scripted_whole};
pub(crate) use succession::runs;
