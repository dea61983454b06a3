use std::process::ExitCode;

/// A site is millions of small strings: against the C library's allocator this one takes a tenth less memory, and a
/// load of the directory a sixth less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mailquotad::cli::run().into()
}
