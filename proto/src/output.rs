//! What commands print: a reader that goes away (`pinion status | head`) ends them quietly.
//!
//! Invariant: a program whose reader went away says nothing, and never that all went well: it ends as one that SIGPIPE has
//! ended does in a shell.

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// What a shell makes of a program that SIGPIPE ended.
const CUT_OFF: i32 = 141;

/// Prints to standard output; for [`crate::out`] and [`crate::outln`].
pub fn out(text: fmt::Arguments<'_>) {
    write(io::stdout().lock(), text);
}

/// Prints to standard error; for [`crate::err`] and [`crate::errln`].
pub fn err(text: fmt::Arguments<'_>) {
    write(io::stderr().lock(), text);
}

fn write(mut to: impl Write, text: fmt::Arguments<'_>) {
    check(to.write_fmt(text));
}

/// Goes on after something was printed, unless its reader has gone.
pub fn check(printed: io::Result<()>) {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(CUT_OFF),
        // A disk that is full where the output goes: there is nobody to tell, and the exit code says what was done.
        Ok(()) | Err(_) => {}
    }
}

/// Prints to standard output.
#[macro_export]
macro_rules! out {
    ($($words:tt)*) => { $crate::output::out(::std::format_args!($($words)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! outln {
    () => { $crate::output::out(::std::format_args!("\n")) };
    ($($words:tt)*) => { $crate::output::out(::std::format_args!("{}\n", ::std::format_args!($($words)*))) };
}

/// Prints to standard error.
#[macro_export]
macro_rules! err {
    ($($words:tt)*) => { $crate::output::err(::std::format_args!($($words)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! errln {
    () => { $crate::output::err(::std::format_args!("\n")) };
    ($($words:tt)*) => { $crate::output::err(::std::format_args!("{}\n", ::std::format_args!($($words)*))) };
}
