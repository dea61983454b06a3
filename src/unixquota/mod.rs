//! The port to the quotas that file systems keep of their users and groups.
//!
//! Contract: a read may block for as long as a file server does, so it is never made while somebody waits for a
//! verdict. A file system without quotas, a host without any, and a user whom the system does not know have
//! nothing to say: they are left out. What could not be read is a problem that names the file system; the others'
//! readings stand.

mod local;
mod nfs;
mod system;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::quota::unix::Reading;

pub use crate::wire::rquota::Transport;
pub use local::FileSystems;
pub use nfs::Export;

/// Whose quota it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    User,
    /// The user's primary group.
    Group,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
        }
    }
}

/// A file system that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that this path is on. If that is an NFS mount, its server is asked.
    Path(PathBuf),
    /// One that is exported by a server, mounted here or not.
    Export(Export),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Path(path) => path.display().fmt(f),
            Place::Export(export) => export.fmt(f),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub places: Vec<Place>,
    pub kinds: Vec<Kind>,
    /// How long a file server may take.
    pub timeout: Duration,
    pub transport: Transport,
}

/// A file system's quota of a user or of his group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As the configuration names the file system.
    pub place: Box<str>,
    pub kind: Kind,
    pub reading: Reading,
}

/// Why a file system's quota could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `None` where no file system could even be asked.
    pub place: Option<Box<str>>,
    pub why: String,
}

/// What was read of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    pub found: Vec<Found>,
    pub problems: Vec<Problem>,
    /// Whether the host knows the user. Of nobody else is any file system asked.
    pub known: bool,
}

/// Whether the host's name service knows a user of that name. Blocks. A name service that is away knows nobody.
pub fn is_user(name: &str) -> bool {
    system::user(name).is_ok_and(|user| user.is_some())
}

/// Reads quotas. Calls block.
pub trait UnixQuotas: Send + Sync + 'static {
    /// What every file system says of the user of that name.
    fn read(&self, user: &str) -> Readings;
}
