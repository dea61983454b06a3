//! A store that cannot be measured from here: usage is what others report, Dovecot or a program over the API.

use super::{MailStore, MailStoreError, MailboxRef, Measurement};

pub struct ReportedStore;

impl MailStore for ReportedStore {
    fn measures(&self) -> bool {
        false
    }

    fn measure(&self, mailbox: &MailboxRef, _memory: &[u8]) -> Result<Measurement, MailStoreError> {
        let why = format!("the mailbox of {} cannot be measured: mailstore.kind is \"reported\"", mailbox.address);
        Err(MailStoreError::Unlocatable(why))
    }
}
