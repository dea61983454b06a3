//! Files that are there whole or not at all, power cut or no.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file for its owner alone. What `path` held before stays there until the new content is on disk.
pub fn write_whole<E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<(), E>) -> Result<(), E> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = write_synced(&new, write).and_then(|()| Ok(fs::rename(&new, path)?));
    if written.is_err() {
        // The failure to write is what the caller has to know; a rest that stays is overwritten next time.
        let _ = fs::remove_file(&new);
    }
    written?;
    Ok(File::open(folder_of(path))?.sync_all()?)
}

fn write_synced<E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<(), E>) -> Result<(), E> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    write(&mut file)?;
    Ok(file.sync_all()?)
}

pub fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).into()
}
