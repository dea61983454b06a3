//! What Dovecot's plugins keep under which keys.

/// A key of Dovecot's quota and notify_status plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// `priv/quota/storage`: bytes in use (`quota_clone`, `quota = dict`).
    Storage,
    /// `priv/quota/messages`.
    Messages,
    /// `priv/quota/limit/…`: a limit that an admin sets by IMAP's SETQUOTA (`quota_set`).
    Limit(Resource),
    /// `priv/status/…`: a folder, by its name as IMAP shows it (`notify_status`).
    Status(&'a str),
    Other,
}

/// What a limit is about, with the unit that the number is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// In KiB: the number is passed on as the client typed it, and IMAP's STORAGE counts those.
    Storage,
    Bytes,
    Messages,
}

pub const STORAGE: &str = "priv/quota/storage";
pub const MESSAGES: &str = "priv/quota/messages";

impl Key<'_> {
    pub fn read(key: &str) -> Key<'_> {
        match key {
            STORAGE => Key::Storage,
            MESSAGES => Key::Messages,
            "priv/quota/limit/storage" => Key::Limit(Resource::Storage),
            "priv/quota/limit/bytes" => Key::Limit(Resource::Bytes),
            "priv/quota/limit/messages" => Key::Limit(Resource::Messages),
            other => match other.strip_prefix("priv/status/") {
                Some(folder) if !folder.is_empty() => Key::Status(folder),
                _ => Key::Other,
            },
        }
    }
}
