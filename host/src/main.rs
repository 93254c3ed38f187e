//! The command line: parses flags, runs one command, picks the exit code.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    keybearer::cli::main()
}
