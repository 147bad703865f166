//! `airudder-gateway`: arguments in, one line per subcommand.

use std::process::ExitCode;

/// Small calls are a few allocations each, and this allocator is the quickest of those that were measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    airudder_gateway::cli::main()
}
