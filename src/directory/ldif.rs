//! An LDIF file as the directory: the demo, tests and small sites.
//!
//! The file is read whole, checked, and sent entry by entry; between loads only a fingerprint of each
//! entry is kept. It is looked at several times a second and read again when it has changed and then
//! stood still for one look, so that an editor or `cp` in the middle of writing is not taken for a file
//! that lost its second half. A file that cannot be read as a whole changes nothing: the last state stays
//! in force, and [`Change::Lost`] says which line is wrong.
//!
//! Writes go through `rewrite.rs`. Wishes that arrive while a rewrite is under way share the next one, so
//! a caller with many of them should have them in flight together.
//!
//! Known limits: a file without any entry is taken for a truncated one, never for an empty organisation;
//! access control lists and extended attributes of the file are not carried over by a write.

mod load;
mod rewrite;
mod stamp;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task;
use tokio_util::sync::CancellationToken;

use super::entry::EntryReader;
use super::{Change, Directory, DirectoryError, Wish, Written};
use crate::account::Writable;
use load::{Fingerprints, Loaded};
use stamp::Stamp;

#[derive(Clone, Debug)]
pub struct LdifOptions {
    pub file: PathBuf,
    pub reader: EntryReader,
    /// How often the file is looked at.
    pub poll: Duration,
}

impl LdifOptions {
    pub fn new(file: impl Into<PathBuf>, reader: EntryReader) -> LdifOptions {
        LdifOptions { file: file.into(), reader, poll: Duration::from_millis(200) }
    }
}

pub struct LdifDirectory {
    options: Arc<LdifOptions>,
    pending: Arc<Mutex<Vec<Pending>>>,
    /// Held by the one rewrite under way. It holds the last stamp at which the file was seen at rest.
    writer: Arc<tokio::sync::Mutex<Option<Stamp>>>,
    /// Tells `follow` of our own writes, which need no waiting for the file to stand still.
    written: Arc<Notify>,
}

struct Pending {
    wish: Wish,
    reply: oneshot::Sender<Result<Written, DirectoryError>>,
}

impl LdifDirectory {
    pub fn new(options: LdifOptions) -> LdifDirectory {
        LdifDirectory {
            options: Arc::new(options),
            pending: Arc::default(),
            writer: Arc::default(),
            written: Arc::default(),
        }
    }

    async fn load(
        &self,
        known: Fingerprints,
        changes: &mpsc::Sender<Change>,
        stop: &CancellationToken,
    ) -> (Fingerprints, Loaded) {
        let (options, changes, stop) = (Arc::clone(&self.options), changes.clone(), stop.clone());
        let runtime = tokio::runtime::Handle::current();
        let send = move |change| match changes.try_send(change) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(change)) => runtime.block_on(async {
                tokio::select! {
                    sent = changes.send(change) => sent.is_ok(),
                    () = stop.cancelled() => false,
                }
            }),
        };
        let loading = task::spawn_blocking(move || {
            let mut known = known;
            let loaded = load::load(&options, &mut known, send);
            (known, loaded)
        });
        loading.await.unwrap_or_else(|error| {
            let why = format!("{}: reading it came to grief: {error}", self.options.file.display());
            (Fingerprints::default(), Loaded::Failed { stamp: None, why })
        })
    }

    /// Carries out all pending wishes in one rewrite. The guard goes into the task, so that a caller who
    /// gives up waiting does not let a second rewrite in beside it.
    async fn rewrite_pending(&self) {
        let mut rest = Arc::clone(&self.writer).lock_owned().await;
        let batch = std::mem::take(&mut *self.pending.lock());
        if batch.is_empty() {
            return;
        }
        let (options, written) = (Arc::clone(&self.options), Arc::clone(&self.written));
        let rewriting = task::spawn_blocking(move || {
            let (wishes, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|p| (p.wish, p.reply)).unzip();
            let outcomes = rewrite::carry_out(&options, &wishes, &mut rest);
            written.notify_one();
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Nobody listens any more where the caller was cancelled; the write stands all the same.
                let _ = reply.send(outcome);
            }
        });
        // A panic drops the replies, which every caller sees.
        let _ = rewriting.await;
    }
}

#[async_trait]
impl Directory for LdifDirectory {
    /// `token` is of no use here: the file is always read whole.
    async fn follow(
        &self,
        _token: Option<Vec<u8>>,
        changes: mpsc::Sender<Change>,
        stop: CancellationToken,
    ) -> Result<(), DirectoryError> {
        let mut known = Fingerprints::default();
        let mut dealt_with: Option<Option<Stamp>> = None;
        let mut seen = None;
        let mut at_once = true;
        // Why nothing could be read at all, which is tried at every look and told once.
        let mut unread = None;
        loop {
            let now = Stamp::of(&self.options.file).ok();
            let still = seen.replace(now) == Some(now);
            if dealt_with != Some(now) && (still || at_once) {
                let (fingerprints, loaded) = self.load(known, &changes, &stop).await;
                known = fingerprints;
                match loaded {
                    Loaded::Sent(stamp) => (dealt_with, unread) = (Some(Some(stamp)), None),
                    Loaded::Unsettled => dealt_with = None,
                    Loaded::Closed => return Ok(()),
                    Loaded::Failed { stamp, why } => {
                        dealt_with = Some(stamp);
                        let reason = stamp.is_none().then(|| why.clone());
                        let known = reason.is_some() && reason == unread;
                        unread = reason;
                        if !known && changes.send(Change::Lost { why }).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            at_once = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = changes.closed() => return Ok(()),
                () = self.written.notified() => true,
                () = tokio::time::sleep(self.options.poll) => false,
            };
        }
    }

    async fn read(&self, dn: &str, attribute: Writable) -> Result<Option<Box<str>>, DirectoryError> {
        let (options, dn) = (Arc::clone(&self.options), dn.to_owned());
        let looking = task::spawn_blocking(move || rewrite::look_up(&options, &dn, attribute));
        looking.await.unwrap_or_else(|error| Err(DirectoryError::Away(format!("reading came to grief: {error}"))))
    }

    async fn write(&self, wish: &Wish) -> Result<Written, DirectoryError> {
        let (reply, mut outcome) = oneshot::channel();
        self.pending.lock().push(Pending { wish: wish.clone(), reply });
        // Whoever comes first writes for all; the others find their outcome ready.
        tokio::select! {
            biased;
            outcome = &mut outcome => return outcome.unwrap_or_else(|_| Err(interrupted())),
            () = self.rewrite_pending() => {}
        }
        outcome.await.unwrap_or_else(|_| Err(interrupted()))
    }
}

fn interrupted() -> DirectoryError {
    DirectoryError::Away("the rewrite of the LDIF file was interrupted; whether it was done shows in the file".into())
}
