//! Notices by SMTP submission, with TLS and a login where the server wants them.
//!
//! The dialog is led here, command by command, because lettre's transport does not say which of them was
//! refused: a code of class 5 means "drop this notice" only where it is about the recipient or the message.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::{Error, commands};

use super::{Mail, MailError, Mailer};
use crate::secret::Secret;
use crate::wire::notice::Address;

/// How long a server may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Never,
    /// Where the server offers STARTTLS; its certificate is checked.
    Offered,
    /// STARTTLS, or nothing is sent.
    Required,
    /// From the first byte, as on port 465.
    FromTheStart,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, hidden)", self.user)
    }
}

#[derive(Clone, Debug)]
pub struct SmtpOptions {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// The authority that signed the server's certificate, beside the well-known ones.
    pub ca_file: Option<PathBuf>,
    pub login: Option<Login>,
    /// How this machine introduces itself.
    pub hello: String,
    /// For the whole dialog.
    pub timeout: Duration,
}

pub struct SmtpMailer {
    options: SmtpOptions,
    parameters: TlsParameters,
    hello: ClientId,
}

impl SmtpMailer {
    /// Opens no connection yet. Fails for a certificate that cannot be read.
    pub fn new(options: &SmtpOptions) -> Result<SmtpMailer, MailError> {
        let mut parameters = TlsParameters::builder(options.host.clone());
        if let Some(file) = &options.ca_file {
            let unusable = |why: String| MailError::Refused(format!("{}: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
            let authority = Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
            parameters = parameters.add_root_certificate(authority);
        }
        let parameters = parameters.build().map_err(|error| MailError::Refused(error.to_string()))?;
        let hello = ClientId::Domain(options.hello.clone());
        Ok(SmtpMailer { options: options.clone(), parameters, hello })
    }

    /// A connection that is ready for mail. Whatever goes wrong up to here is wrong for all mail, and an admin
    /// can mend it: a refused login must not cost a notice.
    async fn open(&self) -> Result<AsyncSmtpConnection, MailError> {
        let login = self.options.login.as_ref();
        let credentials = |login: &Login| Ok(Credentials::new(login.user.clone(), login.password.read()?));
        let login =
            login.map(credentials).transpose().map_err(|error: io::Error| MailError::Away(error.to_string()))?;
        self.connect(login).await.map_err(|error| MailError::Away(told(&error)))
    }

    async fn connect(&self, login: Option<Credentials>) -> Result<AsyncSmtpConnection, Error> {
        let SmtpOptions { host, port, tls, timeout, .. } = &self.options;
        let encrypted = (*tls == Tls::FromTheStart).then(|| self.parameters.clone());
        let server = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(*timeout), &self.hello, encrypted, None).await?;
        if *tls == Tls::Required || *tls == Tls::Offered && connection.can_starttls() {
            connection.starttls(self.parameters.clone(), &self.hello).await?;
        }
        if let Some(login) = login {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await?;
        }
        Ok(connection)
    }

    async fn deliver(&self, mail: &Mail) -> Result<(), MailError> {
        let from = mail.from.as_ref().map(address).transpose()?;
        let to = address(&mail.to)?;
        let away = |error: Error| MailError::Away(told(&error));
        let mut connection = self.open().await?;
        let sent = async {
            let mut parameters = Vec::new();
            if !(mail.to.as_str().is_ascii() && mail.from.as_ref().is_none_or(|from| from.as_str().is_ascii())) {
                if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                    return Err(MailError::Refused(format!("{}: the server does not take such addresses", mail.to)));
                }
                parameters.push(MailParameter::SmtpUtfEight);
            }
            connection.command(commands::Mail::new(from, parameters)).await.map_err(away)?;
            connection.command(commands::Rcpt::new(to, Vec::new())).await.map_err(about_this_mail)?;
            connection.command(commands::Data).await.map_err(about_this_mail)?;
            connection.message(&mail.text).await.map_err(about_this_mail).map(drop)
        };
        let sent = sent.await;
        if sent.is_err() {
            connection.abort().await;
            return sent;
        }
        // Every moment until the ledger knows is one in which a crash sends the notice again: the farewell (RFC
        // 5321 section 4.1.1.10) must not take any.
        tokio::spawn(async move { drop(tokio::time::timeout(FAREWELL, connection.quit()).await) });
        Ok(())
    }
}

fn address(address: &Address) -> Result<lettre::Address, MailError> {
    address.as_str().parse().map_err(|error| MailError::Refused(format!("{address}: {error}")))
}

/// What a reply to the recipient or to the message means. 421 is about the server as a whole (RFC 5321
/// section 3.8), and so is what is no reply at all.
fn about_this_mail(error: Error) -> MailError {
    let why = told(&error);
    match error.status().map(u16::from) {
        Some(421) | None => MailError::Away(why),
        Some(code) if code >= 500 => MailError::Refused(why),
        Some(_) => MailError::Deferred(why),
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let SmtpOptions { host, port, timeout, .. } = &self.options;
        let late = || MailError::Away(format!("{host}:{port} was not done in {timeout:?}"));
        tokio::time::timeout(*timeout, self.deliver(mail)).await.unwrap_or_else(|_| Err(late()))
    }
}

/// The error with what it comes from: lettre keeps the server's words in the source.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
