//! Unix file-system quotas: on a real ext4, a real XFS, by a real rpc.rquotad and over mounts of a real NFS server in
//! virtual machines, and what a server on loopback can do wrong.

mod local;
mod nfs;
mod rquota;
mod vm;

#[path = "../support"]
mod support {
    pub mod daemon;
    pub mod port;
    pub mod wait;
}

use serde_json::Value;

/// What the step about file systems says; nothing where there is none.
fn step(told: &Value) -> String {
    let steps = told["steps"].as_array().unwrap_or_else(|| panic!("{told}"));
    let step = steps.iter().find(|step| step["rule"] == "file-system quotas");
    step.map(|step| step["why"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// The verdict and the reply of what `explain` told.
fn verdict(told: &Value) -> (&str, &str) {
    (told["verdict"].as_str().unwrap_or_default(), told["reply"].as_str().unwrap_or_default())
}

const FULL: (&str, &str) = ("defer", "452 4.2.2 Mailbox is full, try again later");
const NO_ROOM: (&str, &str) = ("defer", "452 4.2.2 Mailbox has no room for this message, try again later");
const FINE: (&str, &str) = ("pass", "DUNNO");
