//! The two calls of the C library that no safe crate of this house offers: quotactl(2) and getpwnam_r(3).
//!
//! Besides this file only the watch of the mail store has unsafe code. Each block passes pointers to memory that it
//! owns and that outlives the call; neither call keeps them.
#![expect(unsafe_code, reason = "system calls that take pointers")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr;

use super::Kind;

pub use libc::dqblk as Dqblk;

/// A user as the system's name service knows him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId {
    pub uid: u32,
    pub gid: u32,
}

/// What no record of any name service comes near.
const LONGEST_RECORD: usize = 1 << 20;

/// The user of that name, by nsswitch.conf: files, LDAP and whatever else the host uses. Blocks.
pub fn user(name: &str) -> io::Result<Option<UserId>> {
    // A name with a NUL in it is nobody's.
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut strings = vec![0_u8; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: `name` ends in a NUL; `strings` is that long, and the call writes no further; `entry` and `found`
        // are places for what it writes.
        let error = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                strings.as_mut_ptr().cast(),
                strings.len(),
                &raw mut found,
            )
        };
        match error {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: it has succeeded and found somebody, so the entry is filled in.
                let entry = unsafe { entry.assume_init() };
                return Ok(Some(UserId { uid: entry.pw_uid, gid: entry.pw_gid }));
            }
            libc::EINTR => {}
            libc::ERANGE if strings.len() < LONGEST_RECORD => strings.resize(strings.len() * 4, 0),
            // POSIX lets a system say "no such user" so.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn command(kind: Kind) -> u32 {
    let which = match kind {
        Kind::User => libc::USRQUOTA,
        Kind::Group => libc::GRPQUOTA,
    };
    libc::QCMD(libc::Q_GETQUOTA, which).cast_unsigned()
}

/// Q_GETQUOTA on the file system of an open file, which may be open with O_PATH (Linux 5.14).
pub fn quota_by_fd(file: BorrowedFd<'_>, kind: Kind, id: u32) -> io::Result<Dqblk> {
    let mut found = MaybeUninit::<Dqblk>::zeroed();
    // SAFETY: the command makes the kernel write one `dqblk`, for which `found` has room.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, file.as_raw_fd(), command(kind), id, found.as_mut_ptr()) };
    match result {
        // SAFETY: a `dqblk` is numbers alone, for which zeros are valid, and they were there before the call.
        0 => Ok(unsafe { found.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same by the device, for kernels before 5.14.
pub fn quota_by_device(device: &Path, kind: Kind, id: u32) -> io::Result<Dqblk> {
    let device: CString = CString::new(device.as_os_str().as_encoded_bytes())?;
    let device: &CStr = &device;
    let mut found = MaybeUninit::<Dqblk>::zeroed();
    // SAFETY: `device` ends in a NUL; the command makes the kernel write one `dqblk`, for which `found` has room.
    let result = unsafe {
        libc::quotactl(command(kind).cast_signed(), device.as_ptr(), id.cast_signed(), found.as_mut_ptr().cast())
    };
    match result {
        // SAFETY: as above.
        0 => Ok(unsafe { found.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_the_name_service() {
        assert_eq!(user("root").unwrap(), Some(UserId { uid: 0, gid: 0 }));
        for nobody in ["no-such-user-here", "", "a\0b"] {
            assert_eq!(user(nobody).unwrap(), None, "{nobody:?}");
        }
    }

    #[test]
    fn the_kernel_says_what_is_wrong() {
        let error = quota_by_device(Path::new("/no/such/device"), Kind::User, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = quota_by_device(Path::new("/dev/null"), Kind::User, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTBLK));
    }
}
