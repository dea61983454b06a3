//! Standard output of the commands. A reader that has seen enough (`mailquotad show … | head`) ends a command; it is
//! no fault, and `println!` would panic.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

macro_rules! say {
    () => { $crate::cli::out::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::out::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// The same without the end of the line.
macro_rules! say_part {
    ($($text:tt)*) => { $crate::cli::out::write(format_args!($($text)*)) };
}

pub(crate) use {say, say_part};

pub fn write(text: Arguments) {
    let mut out = io::stdout().lock();
    written(out.write_fmt(text).and_then(|()| out.flush()));
}

/// Ends the command where standard output does not take what it was given.
pub fn written(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("mailquotad: cannot write to standard output: {error}");
            std::process::exit(1);
        }
    }
}
