//! Directories, and how to know that one has not changed while it was read.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// Which directory it is and when it last changed: an entry that is made, renamed or removed moves the
/// change time, which unlike the modification time nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp { device: stat.st_dev, inode: stat.st_ino, changed: (stat.st_ctime, stat.st_ctime_nsec as i64) }
    }
}

/// What was seen of a directory before it was read.
#[derive(Clone, Copy, Debug)]
pub struct DirState {
    /// `None`: there was no such directory, or none that can be looked at.
    stamp: Option<Stamp>,
    /// The change time is older than the clock tick in which it was looked at. Else another change in the
    /// same tick would leave the same time, and could not be told.
    settled: bool,
}

impl DirState {
    pub const ABSENT: DirState = DirState { stamp: None, settled: true };

    /// Whether the directory is surely as it was.
    pub fn holds(&self, root: BorrowedFd, path: &CStr) -> bool {
        self.settled && self.stamp == statat(root, path, AtFlags::empty()).ok().map(|stat| Stamp::of(&stat))
    }

    pub fn settled(&self) -> bool {
        self.settled
    }

    /// Device and inode.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.stamp.map(|stamp| (stamp.device, stamp.inode))
    }
}

/// Opens a directory below `root`; `None` if there is none of that name.
pub fn open(root: BorrowedFd, path: &CStr) -> Result<Option<(OwnedFd, DirState)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match openat(root, path, flags, Mode::empty()) {
        Ok(dir) => dir,
        // A link that leads nowhere may lead to a file system that is not mounted: that is not "none". What is no
        // link came into being a moment after we looked.
        Err(Errno::NOENT) if !is_link(root, path) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The clock that the kernel stamps files with. It must be read before the directory is looked at.
    let tick = clock_gettime(ClockId::RealtimeCoarse);
    let stamp = Stamp::of(&fstat(&dir)?);
    let settled = stamp.changed < (tick.tv_sec, tick.tv_nsec);
    Ok(Some((dir, DirState { stamp: Some(stamp), settled })))
}

/// When the directory last changed, in milliseconds since 1970; `None` if there is none that can be looked at.
pub fn changed_at(root: BorrowedFd, path: &CStr) -> Option<u64> {
    let stat = statat(root, path, AtFlags::empty()).ok()?;
    u64::try_from(stat.st_ctime).ok()?.checked_mul(1000)?.checked_add(stat.st_ctime_nsec / 1_000_000)
}

fn is_link(root: BorrowedFd, path: &CStr) -> bool {
    let there = statat(root, path, AtFlags::SYMLINK_NOFOLLOW);
    there.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
