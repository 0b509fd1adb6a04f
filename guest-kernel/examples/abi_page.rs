//! Prints `docs/abi.md`, the page of the system calls, from the table that dispatches them.

fn main() {
    print!("{}", sentry::syscalls::table::markdown());
}
