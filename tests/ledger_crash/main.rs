//! Nothing acknowledged is lost, and nothing half done is left, when the process is killed, when the power
//! fails, and when the disk is full. A child process (this binary again) writes, the parent ends it and looks.

mod full;
mod kill;
mod load;
mod power;
#[path = "../support/wait.rs"]
mod wait;
mod writer;
