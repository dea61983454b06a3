//! Watching a Maildir spool for changes, by whomever they are made.
//!
//! Two means. [`fanotify`] marks whole file systems: nothing is set up for a mailbox, and ten million of them
//! cost what one does. It takes rights that a daemon does not have by itself. [`inotify`] takes none, but a
//! watch on each directory: about 1 KB of the kernel's memory for each, `fs.inotify.max_user_watches` of them at
//! most, and a walk through the whole spool at the start.
//!
//! Both tell paths of folders, not what happened there: the folder is measured, and what it holds is what counts.
//! Files in `tmp`, and beside `cur` and `new`, do not matter.

mod fanotify;
mod inotify;
mod sys;

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::fanotify::Fanotify;
use self::inotify::Inotify;
use crate::mailstore::{Change, Stop, Watch, WatchError};

/// By which means to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// fanotify where it is permitted, else inotify.
    Auto,
    Fanotify,
    Inotify,
}

/// A directory below which mailboxes lie.
#[derive(Clone, Debug)]
struct Watched {
    /// As the configuration writes it, without a slash at the end.
    configured: Box<[u8]>,
    /// As the kernel tells it: without links.
    real: Box<[u8]>,
}

impl Watched {
    fn find(path: &PathBuf) -> Result<Watched, WatchError> {
        let fail = |error| WatchError::NotPossible(format!("{}: {error}", path.display()));
        let real = std::fs::canonicalize(path).map_err(fail)?;
        let bytes = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path).into();
        Ok(Watched { configured: bytes(path.as_os_str().as_bytes()), real: bytes(real.as_os_str().as_bytes()) })
    }

    /// A path that the kernel has told, as the configuration would write it; `None` if it is not below this.
    fn as_configured(&self, real: &[u8]) -> Option<Box<[u8]>> {
        let below = real.strip_prefix(&*self.real)?;
        let inside = below.is_empty() || below.starts_with(b"/");
        inside.then(|| [&*self.configured, below].concat().into())
    }
}

enum By {
    Fanotify(Fanotify),
    Inotify(Inotify),
}

struct SpoolWatch {
    by: By,
    /// The directories that must stay where they are, with device and inode: a file system that is mounted over one
    /// hides what is watched.
    places: Vec<(PathBuf, (u64, u64))>,
}

/// Begins to watch what lies below `paths`, unless it is to `stop`. With it comes why it is not fanotify, where that was
/// wanted.
pub fn open(paths: &[PathBuf], means: Means, stop: &Stop) -> Result<(Box<dyn Watch>, Option<String>), WatchError> {
    let watched = paths.iter().map(Watched::find).collect::<Result<Vec<_>, _>>()?;
    let places = paths.iter().filter_map(|path| Some((path.clone(), identity(path)?))).collect();
    let fanotify = match means {
        Means::Inotify => None,
        Means::Auto | Means::Fanotify => Some(Fanotify::open(&watched)),
    };
    let (by, why) = match fanotify {
        Some(Ok(fanotify)) => (By::Fanotify(fanotify), None),
        Some(Err(error)) if means == Means::Fanotify => return Err(error),
        Some(Err(error)) => match Inotify::open(&watched, stop) {
            Ok(inotify) => (By::Inotify(inotify), Some(error.to_string())),
            Err(WatchError::Stopped) => return Err(WatchError::Stopped),
            Err(second) => return Err(WatchError::NotPossible(format!("{error}; {second}"))),
        },
        None => (By::Inotify(Inotify::open(&watched, stop)?), None),
    };
    Ok((Box::new(SpoolWatch { by, places }), why))
}

fn identity(path: &PathBuf) -> Option<(u64, u64)> {
    rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

impl Watch for SpoolWatch {
    fn by(&self) -> &'static str {
        match self.by {
            By::Fanotify(_) => "fanotify",
            By::Inotify(_) => "inotify",
        }
    }

    fn next(&mut self, patience: Duration, changes: &mut Vec<Change>) -> Result<bool, WatchError> {
        let fd = match &self.by {
            By::Fanotify(fanotify) => fanotify.as_fd(),
            By::Inotify(inotify) => inotify.as_fd(),
        };
        let patience = Timespec::try_from(patience).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&patience)) {
            Ok(0) => {
                let moved = self.places.iter().find(|(path, was)| identity(path) != Some(*was));
                return match moved {
                    Some((path, _)) => Err(WatchError::Broken(format!("{}: moved, mounted or gone", path.display()))),
                    None => Ok(true),
                };
            }
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(WatchError::Broken(error.to_string())),
        }
        match &mut self.by {
            By::Fanotify(fanotify) => fanotify.read(changes),
            By::Inotify(inotify) => inotify.read(changes),
        }
    }
}

/// What a file that came, went or was written says.
fn message_event(directory: &[u8], name: &[u8]) -> Option<Change> {
    let folder = directory.strip_suffix(b"/cur").or_else(|| directory.strip_suffix(b"/new"))?;
    (!name.starts_with(b".")).then(|| Change::Folder(folder.to_vec()))
}

/// What a directory that came or went says.
fn directory_event(above: &[u8], name: &[u8], created: bool) -> Option<Change> {
    match name {
        b"" | b"." | b"tmp" => None,
        b"cur" | b"new" => Some(Change::Folder(above.to_vec())),
        name => Some(Change::Directory { path: [above, b"/", name].concat(), created }),
    }
}
