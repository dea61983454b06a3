//! File systems of this machine, by quotactl(2): ext4, XFS and whatever else answers Q_GETQUOTA (XFS has done so
//! since Linux 3.0, so its own call is not needed). An NFS mount is passed on to its server.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::system::{self, Dqblk, UserId};
use super::{Export, Found, Kind, Options, Place, Problem, Readings, UnixQuotas, nfs};
use crate::quota::Moment;
use crate::quota::unix::{Reading, Resource};
use crate::wire::mountinfo::{self, Mount};

/// dqb_bhardlimit and dqb_bsoftlimit are in these, whatever the file system's own blocks are.
const BLOCK: u64 = 1024;

const MOUNTS: &str = "/proc/self/mountinfo";

pub struct FileSystems {
    options: Options,
}

/// What keeps a file system from telling.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// The place itself, which whoever tells of it names.
    #[error(transparent)]
    Place(io::Error),
    #[error("{mounts}: {0}", mounts = MOUNTS)]
    Mounts(io::Error),
    #[error("no mounted file system holds it; is /proc there?")]
    NoMount,
    #[error(
        "reading quotas of others is not allowed (the daemon needs CAP_SYS_ADMIN, and quotactl in its SystemCallFilter=)"
    )]
    NotAllowed,
    #[error("quotactl: {0}")]
    Quotactl(io::Error),
    #[error(transparent)]
    Server(#[from] nfs::Fault),
}

impl FileSystems {
    pub fn new(options: Options) -> FileSystems {
        FileSystems { options }
    }

    fn ask(&self, source: &Source, kind: Kind, user: UserId) -> Result<Option<Reading>, Fault> {
        let id = match kind {
            Kind::User => user.uid,
            Kind::Group => user.gid,
        };
        match source {
            Source::Server(export) => Ok(nfs::read(export, kind, id, &self.options)?),
            Source::Disk(path, mount) => on_disk(path, mount, kind, id),
        }
    }
}

/// Who knows the quotas of a place.
enum Source<'a> {
    Server(Cow<'a, Export>),
    Disk(&'a Path, Mount),
}

impl Source<'_> {
    fn of(place: &Place) -> Result<Source<'_>, Fault> {
        let path = match place {
            Place::Export(export) => return Ok(Source::Server(Cow::Borrowed(export))),
            Place::Path(path) => path,
        };
        let mount = mount_of(path)?;
        Ok(match Export::of_mount(&mount) {
            Some(export) => Source::Server(Cow::Owned(export)),
            None => Source::Disk(path, mount),
        })
    }
}

impl UnixQuotas for FileSystems {
    fn read(&self, name: &str) -> Readings {
        let mut readings = Readings::default();
        let user = match system::user(name) {
            Ok(Some(user)) => user,
            Ok(None) => return readings,
            Err(error) => {
                let why = format!("looking for the user {name}: {error}");
                readings.problems.push(Problem { place: None, why });
                return readings;
            }
        };
        readings.known = true;
        for place in &self.options.places {
            let named = || Box::from(place.to_string());
            let problem = |fault: Fault| Problem { place: Some(named()), why: fault.to_string() };
            let source = match Source::of(place) {
                Ok(source) => source,
                Err(fault) => {
                    readings.problems.push(problem(fault));
                    continue;
                }
            };
            for kind in &self.options.kinds {
                match self.ask(&source, *kind, user) {
                    Ok(Some(reading)) => readings.found.push(Found { place: named(), kind: *kind, reading }),
                    Ok(None) => {}
                    Err(fault) => readings.problems.push(problem(fault)),
                }
            }
        }
        readings
    }
}

fn mount_of(path: &Path) -> Result<Mount, Fault> {
    let real = fs::canonicalize(path).map_err(Fault::Place)?;
    let mounts = fs::read_to_string(MOUNTS).map_err(Fault::Mounts)?;
    mountinfo::of(&mounts, &real).ok_or(Fault::NoMount)
}

fn on_disk(path: &Path, mount: &Mount, kind: Kind, id: u32) -> Result<Option<Reading>, Fault> {
    // Without any right to what lies there, and without a view of the device, which the unit may hide.
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let file = opened.map_err(|error| Fault::Place(error.into()))?;
    let mut found = system::quota_by_fd(std::os::fd::AsFd::as_fd(&file), kind, id);
    // Either the kernel does not know that call yet, or the file system has no quotas.
    if is(&found, Errno::NOSYS) && mount.source.starts_with('/') {
        found = system::quota_by_device(Path::new(&mount.source), kind, id);
    }
    match found {
        Ok(found) => Ok(Some(reading(&found))),
        // Quotas are off (ESRCH), the user owns nothing there (XFS: ENOENT), the file system has no quotas of this
        // kind, or it lies on no device.
        Err(error) if NO_OPINION.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error())) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Fault::NotAllowed),
        Err(error) => Err(Fault::Quotactl(error)),
    }
}

const NO_OPINION: [Errno; 6] = [Errno::SRCH, Errno::NOENT, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOTBLK];

fn is(found: &io::Result<Dqblk>, code: Errno) -> bool {
    found.as_ref().is_err_and(|error| error.raw_os_error() == Some(code.raw_os_error()))
}

fn reading(found: &Dqblk) -> Reading {
    let ends = |seconds: u64| (seconds > 0).then(|| Moment(seconds.saturating_mul(1000)));
    Reading {
        bytes: Resource {
            used: found.dqb_curspace,
            soft: found.dqb_bsoftlimit.saturating_mul(BLOCK),
            hard: found.dqb_bhardlimit.saturating_mul(BLOCK),
            grace_ends: ends(found.dqb_btime),
        },
        files: Resource {
            used: found.dqb_curinodes,
            soft: found.dqb_isoftlimit,
            hard: found.dqb_ihardlimit,
            grace_ends: ends(found.dqb_itime),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rquota::Transport;
    use std::time::Duration;

    fn read(place: &str, user: &str) -> Readings {
        let places = vec![Place::Path(place.into())];
        let kinds = vec![Kind::User, Kind::Group];
        let timeout = Duration::from_secs(5);
        FileSystems::new(Options { places, kinds, timeout, transport: Transport::Udp }).read(user)
    }

    #[test]
    fn whoever_is_no_unix_user_has_no_quota() {
        assert_eq!(read("/", "no-such-user-here"), Readings::default());
        assert_eq!(read("/", ""), Readings::default());
    }

    /// The errors are those of the real kernel.
    #[test]
    fn a_file_system_without_quotas_has_no_opinion() {
        for place in ["/proc", "/", "/dev"] {
            assert_eq!(read(place, "root"), Readings { known: true, ..Readings::default() }, "{place}");
        }
    }

    #[test]
    fn what_is_not_there_is_one_problem_and_named_once() {
        let readings = read("/no/such/place", "root");
        let [problem] = &*readings.problems else { panic!("{readings:?}") };
        assert_eq!(problem.place.as_deref(), Some("/no/such/place"));
        assert_eq!(problem.why, "No such file or directory (os error 2)");
    }
}
