//! The system calls of fanotify that no safe crate offers.
//!
//! Each function takes and gives owned or borrowed descriptors and plain bytes, so that what must hold for a call
//! to be sound is held within these few lines. Events are taken apart elsewhere, without unsafe code.
//! See fanotify_init(2), fanotify_mark(2), open_by_handle_at(2).
#![allow(unsafe_code, reason = "rustix has neither fanotify nor open_by_handle_at")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A file handle as the kernel writes it has at most so many bytes (`MAX_HANDLE_SZ`), after two numbers.
const MAX_HANDLE: usize = 128 + 8;

/// What an event tells of.
pub const CREATE: u64 = libc::FAN_CREATE;
pub const MOVED: u64 = libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
pub const ON_DIRECTORY: u64 = libc::FAN_ONDIR;
pub const OVERFLOW: u64 = libc::FAN_Q_OVERFLOW;

/// Files and directories that come, go, or have been written.
const WATCHED: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ONDIR;

/// A group whose events name the directory and the entry in it. Its queue is bounded by
/// `fs.fanotify.max_queued_events`: memory must not grow because somebody moves a million files.
pub fn init() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DFID_NAME | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
    let event_flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = unsafe { libc::fanotify_init(flags, event_flags as libc::c_uint) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks the whole file system that `path` lies on.
pub fn mark(group: BorrowedFd, path: &CStr) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
    // SAFETY: `path` is a string with its NUL that outlives the call, which only reads it; the group is open.
    let done = unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, WATCHED, libc::AT_FDCWD, path.as_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number by which events name the file system that `on` lies on.
pub fn file_system_id(on: BorrowedFd) -> io::Result<[u8; 8]> {
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the pointer leads to room for one statfs, which the call fills in.
    if unsafe { libc::fstatfs(on.as_raw_fd(), found.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so all of it is filled in.
    let id = unsafe { found.assume_init() }.f_fsid;
    // SAFETY: the id is two 32-bit numbers without padding; the fields have no names to read them by.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(id) })
}

/// Opens the directory that `handle` names: two numbers and the bytes, as an event holds them. `mount` is any
/// directory of its file system.
pub fn open_by_handle(mount: BorrowedFd, handle: &[u8]) -> io::Result<OwnedFd> {
    let told = handle.first_chunk::<4>().map(|length| u32::from_ne_bytes(*length) as usize);
    if handle.len() > MAX_HANDLE || told.is_none_or(|length| handle.len() < length.saturating_add(8)) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The two numbers must lie on a boundary of four bytes.
    let mut aligned = [0_u32; MAX_HANDLE / 4];
    for (word, bytes) in aligned.iter_mut().zip(handle.chunks(4)) {
        let mut whole = [0; 4];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_ne_bytes(whole);
    }
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `aligned` begins with the two numbers of a file_handle, is aligned as they are, and was checked
    // above to hold as many bytes after them as the first one says; the call only reads it.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), aligned.as_mut_ptr().cast(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
