//! The command line: parses flags, runs one command, picks the exit code.
#![forbid(unsafe_code)]

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    keybearer::cli::main()
}
