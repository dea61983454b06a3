//! `/proc/self/mountinfo` (proc(5)): which file system a path is on.
//!
//! A line is `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER-OPTIONS`; spaces, tabs,
//! newlines and backslashes in a field are written `\040` and so on. Lines that are not of this form are passed
//! over: a new kernel must not make old mounts invisible.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    /// `ext4`, `xfs`, `nfs4`, …
    pub kind: String,
    /// A device, or `host:/path`.
    pub source: String,
}

/// The file system that an absolute path without symbolic links is on: of the mount points above it the longest,
/// and of several at the same place the last, which covers the others.
pub fn of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let above = mountinfo.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

fn parse(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let point = mount.split(' ').nth(4).filter(|point| point.starts_with('/'))?;
    let mut system = system.split(' ');
    let (kind, source) = (system.next()?, system.next()?);
    Some(Mount { point: unescaped(point).into(), kind: kind.into(), source: unescaped(source) })
}

fn unescaped(field: &str) -> String {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(byte);
                rest = &behind[3..];
            }
            None => {
                text.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTS: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
25 22 0:21 / /proc rw - proc proc rw
30 22 254:2 / /home rw,relatime shared:5 - xfs /dev/vdb rw,usrquota
31 30 0:50 / /home/nfs rw shared:9 master:2 - nfs4 files.example:/export/mail\\040box rw,vers=4.2
32 22 254:3 / /with\\040space rw - ext4 /dev/vdc rw
not a mount
33 22 254:4 / /home rw - ext4 /dev/vdd rw
";

    #[test]
    fn the_nearest_and_latest_mount_counts() {
        for (path, point, kind, source) in [
            ("/var/mail", "/", "ext4", "/dev/vda1"),
            ("/home/anna", "/home", "ext4", "/dev/vdd"),
            ("/homes", "/", "ext4", "/dev/vda1"),
            ("/home/nfs/x", "/home/nfs", "nfs4", "files.example:/export/mail box"),
            ("/with space/x", "/with space", "ext4", "/dev/vdc"),
        ] {
            let expected = Mount { point: point.into(), kind: kind.into(), source: source.into() };
            assert_eq!(of(MOUNTS, Path::new(path)), Some(expected), "{path}");
        }
        assert_eq!(of("", Path::new("/")), None);
    }

    proptest! {
        #[test]
        fn never_panics(text: String, path: String) {
            let _ = of(&text, Path::new(&path));
            let _ = unescaped(&text);
        }
    }
}
