//! What was acknowledged is kept: when the gateway is killed, when the power goes, when the disk is full or fails.
//! Every story is told by the built binary under load, and every acknowledged callback is asked for afterwards.

mod crash;
mod disk;
mod fault;
mod full;
mod keys;
mod load;
mod power;
mod scene;
mod shim;

/// How often a story is told: a few times in every run of the tests, many times by `make test-crash`.
fn rounds(few: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the tests of crashes are told here how long to go on")]
    match std::env::var("CRASHES") {
        Ok(many) => many.parse().expect("CRASHES is a number"),
        Err(_) => few,
    }
}
