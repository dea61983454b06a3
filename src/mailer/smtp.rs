//! Notices by SMTP submission, with TLS and a login where the server wants them.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as LettreTls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Mail, MailError, Mailer};
use crate::wire::notice::Address;

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
    pub password: String,
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
    /// For each step of the dialog.
    pub timeout: Duration,
}

pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpMailer {
    /// Opens no connection yet. Fails for a certificate that cannot be read.
    pub fn new(options: &SmtpOptions) -> Result<SmtpMailer, MailError> {
        let unusable = |why: String| MailError::Refused(why);
        let parameters = || {
            let mut parameters = TlsParameters::builder(options.host.clone());
            if let Some(file) = &options.ca_file {
                let shown = file.display();
                let pem = std::fs::read(file).map_err(|error| unusable(format!("{shown}: {error}")))?;
                let authority = Certificate::from_pem(&pem).map_err(|error| unusable(format!("{shown}: {error}")))?;
                parameters = parameters.add_root_certificate(authority);
            }
            parameters.build().map_err(|error| unusable(error.to_string()))
        };
        let tls = match options.tls {
            Tls::Never => LettreTls::None,
            Tls::Offered => LettreTls::Opportunistic(parameters()?),
            Tls::Required => LettreTls::Required(parameters()?),
            Tls::FromTheStart => LettreTls::Wrapper(parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&options.host)
            .port(options.port)
            .timeout(Some(options.timeout))
            .hello_name(ClientId::Domain(options.hello.clone()))
            .tls(tls);
        if let Some(login) = &options.login {
            builder = builder.credentials(Credentials::new(login.user.clone(), login.password.clone()));
        }
        Ok(SmtpMailer { transport: builder.build() })
    }
}

fn address(address: &Address) -> Result<lettre::Address, MailError> {
    address.as_str().parse().map_err(|error| MailError::Refused(format!("{address}: {error}")))
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let from = mail.from.as_ref().map(address).transpose()?;
        let envelope = Envelope::new(from, vec![address(&mail.to)?]);
        let envelope = envelope.map_err(|error| MailError::Refused(error.to_string()))?;
        let sent = self.transport.send_raw(&envelope, &mail.text).await;
        sent.map(drop).map_err(|error| {
            let why = told(&error);
            // 421 is about the server as a whole (RFC 5321 section 3.8).
            match error.status().map(u16::from) {
                Some(421) | None => MailError::Away(why),
                Some(code) if code >= 500 => MailError::Refused(why),
                Some(_) => MailError::Deferred(why),
            }
        })
    }
}

/// The error with what it comes from: lettre keeps the server's words in the source.
fn told(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
