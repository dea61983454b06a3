//! What lies in a Maildir++, counted by other code than the daemon's.
#![allow(dead_code, reason = "each test uses another part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bytes with CRLFs and messages by folder, with `/` between levels. From the files themselves, whatever their
/// names say.
pub fn cells_on_disk(maildir: &Path) -> BTreeMap<String, (u64, u64)> {
    let mut cells = BTreeMap::new();
    let mut count = |folder: &Path, name: String| {
        for part in ["cur", "new"] {
            for file in fs::read_dir(folder.join(part)).into_iter().flatten() {
                let text = fs::read(file.unwrap().path()).unwrap();
                let bare =
                    text.iter().enumerate().filter(|(at, byte)| **byte == b'\n' && (*at == 0 || text[at - 1] != b'\r'));
                let size = text.len() + bare.count();
                let cell: &mut (u64, u64) = cells.entry(name.clone()).or_default();
                *cell = (cell.0 + size as u64, cell.1 + 1);
            }
        }
    };
    count(maildir, "INBOX".into());
    for entry in fs::read_dir(maildir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(name) = name.strip_prefix('.') {
            // The tests use one name that is not ASCII.
            count(&path, name.replace("&APw-", "\u{fc}").replace('.', "/"));
        }
    }
    cells
}
