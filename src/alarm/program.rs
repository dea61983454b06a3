//! A program with its arguments as they stand: no shell, no input, no output but the reason of a failure.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::AlarmError;

/// How much of what a program says of its failure is kept.
const TOLD: u64 = 512;

/// All that a program finds of our environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn run(words: &[String]) -> Result<(), AlarmError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(AlarmError("no program is named".into()));
    };
    let failed = |error: std::io::Error| AlarmError(format!("{program}: {error}"));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    // What it has started must not outlive the time-out, which drops us, either.
    let _group = Group(child.id());
    let mut told = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // A program that closes it, or says more than is kept, goes on.
        let _ = stderr.take(TOLD).read_to_end(&mut told).await;
    }
    let ended = child.wait().await.map_err(failed)?;
    match ended.success() {
        true => Ok(()),
        false => Err(AlarmError(format!("{program}: {ended}: {}", String::from_utf8_lossy(&told).trim()))),
    }
}

/// The processes of a program, which are killed when nobody waits for it any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // All of them have ended already where all went well.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}
