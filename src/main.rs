//! `airudder-gateway`: arguments in, an exit status out.
//! It chooses the allocator and nothing else; the subcommands are the library's.

use std::process::ExitCode;

/// Small calls are a few allocations each, and this allocator is the quickest of those that were measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    airudder_gateway::cli::main()
}
