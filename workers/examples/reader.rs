//! The sandboxed reader as a program of its own, for the tests; the dia binary runs the same code as a hidden subcommand.

fn main() -> std::process::ExitCode {
    pipeline::child_main()
}
