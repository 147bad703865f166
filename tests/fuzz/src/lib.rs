//! What the fuzz targets share: a count of what an input leaves behind, a runtime without threads, a way to take an input
//! apart.
//!
//! It holds no property of its own but one: whatever comes, no memory stays behind.

use std::alloc::System;
use std::future::Future;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts what is allocated and given back.
#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most bytes that one execution may allocate in all, freed or not: a thousand times what the longest input has.
const MOST: usize = 64 << 20;

/// Runs an input and panics if it leaves memory behind. What is made once, or grows to a bound, is left behind the first
/// times at most; a leak is left behind each time.
pub fn leaves_nothing(run: impl FnMut()) {
    leaves_at_most(0, run);
}

/// The same where timers are set: one that was not needed any more stays in its tree until its time has come, one for each
/// hundredth of a second that an execution takes.
pub fn leaves_timers(run: impl FnMut()) {
    leaves_at_most(1024, run);
}

fn leaves_at_most(bytes: usize, mut run: impl FnMut()) {
    let mut left = Vec::with_capacity(8);
    for _ in 0..8 {
        let region = Region::new(COUNTED);
        run();
        let change = region.change();
        assert!(change.bytes_allocated < MOST, "{} bytes were allocated", change.bytes_allocated);
        if change.bytes_allocated <= change.bytes_deallocated + bytes {
            return;
        }
        left.push(change.bytes_allocated - change.bytes_deallocated);
    }
    panic!("this input leaves memory behind each time: {left:?} bytes");
}

/// Runs what waits for nothing but the other end of a pipe. Its time goes on when everybody waits for it: so nothing is late on a
/// machine that stands still, and an answer that leaves at a moment of its own keeps nobody waiting.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// An input that is being taken apart: what is asked for beyond its end is zero, or empty.
#[derive(Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next number from 0 to below `end`, which is 256 at most.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// One of these.
    pub fn choose<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// The next eight bytes, as a number.
    pub fn number(&mut self) -> i64 {
        (0..8).fold(0, |number, _| number << 8 | i64::from(self.byte()))
    }

    /// As many bytes as the next one says.
    pub fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(length);
        self.0 = rest;
        some
    }

    /// Changes up to four bytes of a text as the next ones say. Whether it is another text now.
    pub fn tamper(&mut self, text: &mut Vec<u8>) -> bool {
        let before = text.clone();
        for _ in 0..self.below(5) {
            let at = (usize::from(self.byte()) << 8 | usize::from(self.byte())) % (text.len() + 1);
            let value = self.byte();
            match self.below(4) {
                0 if at < text.len() => text[at] ^= value,
                1 => text.insert(at, value),
                2 if at < text.len() => drop(text.remove(at)),
                3 => text.truncate(at),
                _ => {}
            }
        }
        *text != before
    }

    /// A size of pieces: whole, byte by byte, or something between.
    pub fn fragment(&mut self) -> usize {
        self.choose(&[usize::MAX >> 1, 1, 2, 3, 7, 16, 47, 48, 49, 64, 65, 1000, 4096])
    }
}
