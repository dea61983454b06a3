//! The mailer port: how notices leave the house.
//!
//! A mailer hands one message to one recipient's server and says what became of it. It keeps no queue and
//! tries nothing twice: the service does both, and tells a message by its Message-ID. `Ok` means that the
//! server has taken the message over; any error means that it may not have.

mod lmtp;
mod smtp;

pub use lmtp::{LmtpMailer, LmtpOptions};
pub use smtp::{Login, SmtpMailer, SmtpOptions, Tls};

use async_trait::async_trait;

use crate::wire::notice::Address;

/// A message on its way: the envelope, and the text with CRLF line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `None` is the null sender, which gets no bounces.
    pub from: Option<Address>,
    pub to: Address,
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server cannot be reached or serves nobody now: other mail would fare no better.
    #[error("the mail server is away: {0}")]
    Away(String),
    /// This message was put off; another may pass.
    #[error("put off: {0}")]
    Deferred(String),
    /// Another try will fare no better.
    #[error("refused: {0}")]
    Refused(String),
}

#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}
