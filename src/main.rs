use std::process::ExitCode;

fn main() -> ExitCode {
    mailquotad::cli::run().into()
}
