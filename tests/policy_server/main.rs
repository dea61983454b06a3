//! The policy server over real sockets: its dialogs, its limits, its stop.

mod dialogs;
mod limits;
mod log;
mod server;
mod sockets;
mod stop;

#[path = "../support/dialog.rs"]
mod dialog;
