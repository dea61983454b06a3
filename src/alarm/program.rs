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
    let mut group = Group(child.id());
    let mut told = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // A program that closes it, or says more than is kept, goes on.
        let _ = stderr.take(TOLD).read_to_end(&mut told).await;
    }
    let ended = child.wait().await.map_err(failed)?;
    // What it has left behind is meant to stay, and its number may be another's from now on.
    group.0 = None;
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
            // They may have ended just now.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program has started ends with its time-out, and with nothing else.
    #[tokio::test]
    async fn whoever_is_left_behind_by_a_program_that_is_done_stays() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        let script = format!("(while ! test -e {0}.go; do sleep 0.05; done; : >{0}) >&- 2>&- & true", left.display());
        run(&["/bin/sh", "-c", &script].map(str::to_owned)).await.unwrap();
        std::fs::write(folder.path().join("left.go"), "").unwrap();
        let alive = async {
            while !left.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), alive).await.expect("it is alive");
    }
}
