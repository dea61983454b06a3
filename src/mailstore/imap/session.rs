//! One connection: greeting, TLS, login, and commands one at a time.
//!
//! A server may say what it likes between a command and its end; who asked looks at what it is for. Memory is
//! bounded by the longest response, time by the dialer's deadline for all of it.

use std::io::{self, Read, Write};

use super::{ImapOptions, Login, Tls};
use crate::mailstore::remote::{Connection, Dialer};
use crate::wire::imap::command::{Command, login_name, sasl_plain};
use crate::wire::imap::{self, Capabilities, Code, Invalid, Outcome, Response, Said};

/// Read at a time.
const PIECE: usize = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the answer is not understood: {0}")]
    Invalid(#[from] Invalid),
    /// NO or BAD to a command, which is named here.
    #[error("{what}: {}", .said.text)]
    Refused { what: &'static str, said: Said },
    #[error("the server hung up: {0}")]
    Bye(String),
    #[error("{0}")]
    Unfit(String),
}

impl Failure {
    fn unfit(why: &str) -> Failure {
        Failure::Unfit(why.into())
    }

    /// Whether what was asked about is not there.
    pub fn is_absence(&self) -> bool {
        matches!(self, Failure::Refused { said, .. } if said.code == Some(Code::NonExistent))
    }
}

pub struct Session {
    connection: Connection,
    /// What came and was not looked at yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    commands: u32,
    pub can: Capabilities,
}

impl Session {
    /// Connects, and encrypts the connection as it is to be.
    pub fn open(dialer: &Dialer, tls: Tls) -> Result<Session, Failure> {
        let connection = dialer.connect()?;
        let mut session = Session { connection, buffer: Vec::new(), at: 0, commands: 0, can: Capabilities::default() };
        let mut known = session.greeting()?;
        if tls == Tls::Required {
            if known.is_none() {
                session.ask_capabilities()?;
            }
            if !session.can.starttls {
                return Err(Failure::unfit("the server offers no STARTTLS"));
            }
            session.run("STARTTLS", |tag| Command::new(tag, "STARTTLS"), |_| Ok(()))?;
            // Whatever came before the encryption may be anybody's, and must not be taken for the server's.
            if session.at < session.buffer.len() {
                return Err(Failure::unfit("the server talked on before TLS had begun"));
            }
            session.connection = dialer.encrypt(session.connection)?;
            known = None;
        }
        if known.is_none() {
            session.ask_capabilities()?;
        }
        Ok(session)
    }

    fn greeting(&mut self) -> Result<Option<()>, Failure> {
        let mut heard = None;
        self.next(|response| {
            heard = match response {
                Response::Untagged { outcome, said } => Some((outcome, said)),
                _ => None,
            };
        })?;
        match heard {
            Some((Outcome::Ok, said)) => Ok(self.told(said.code)),
            Some((Outcome::Bye, said)) => Err(Failure::Bye(said.text)),
            // A connection that is somebody's already cannot become another one's.
            Some((Outcome::Preauth, _)) => Err(Failure::unfit("the server takes us for somebody before any login")),
            _ => Err(Failure::unfit("the server does not greet as IMAP servers do")),
        }
    }

    /// Takes the server at its word, where it said what it can do.
    fn told(&mut self, code: Option<Code>) -> Option<()> {
        let Some(Code::Capabilities(can)) = code else { return None };
        self.can = can;
        Some(())
    }

    fn ask_capabilities(&mut self) -> Result<(), Failure> {
        let mut found = None;
        self.run(
            "CAPABILITY",
            |tag| Command::new(tag, "CAPABILITY"),
            |response| {
                if let Response::Capabilities(can) = response {
                    found = Some(can);
                }
                Ok(())
            },
        )?;
        self.can = found.ok_or_else(|| Failure::unfit("the server does not say what it can do"))?;
        Ok(())
    }

    /// Logs in to the mailbox of `user`, and says by which means.
    pub fn log_in(&mut self, options: &ImapOptions, user: &str) -> Result<&'static str, Failure> {
        let password = options.password.read()?;
        let master = &options.master;
        let plain = match options.login {
            Login::Auto => self.can.auth_plain,
            Login::Plain => true,
            Login::Login => false,
        };
        let said = if plain {
            self.authenticate(&sasl_plain(user, master, &password).ok_or_else(nul)?)?
        } else if self.can.login_disabled {
            return Err(Failure::unfit("the server lets nobody log in on this connection; see mailstore.imap_tls"));
        } else {
            let name = login_name(&options.login_name, user, master);
            let name = name.ok_or_else(|| Failure::unfit("mailstore.imap_login_name is no name"))?;
            if name.contains('\0') || password.contains('\0') {
                return Err(nul());
            }
            let command = |tag: &str| Command::new(tag, "LOGIN").string(name.as_bytes()).string(password.as_bytes());
            self.run("LOGIN", command, |_| Ok(()))?
        };
        if self.told(said.code).is_none() {
            self.ask_capabilities()?;
        }
        Ok(if plain { "AUTHENTICATE PLAIN" } else { "LOGIN" })
    }

    fn authenticate(&mut self, credentials: &str) -> Result<Said, Failure> {
        if self.can.sasl_ir {
            let command = |tag: &str| Command::new(tag, "AUTHENTICATE PLAIN").words(credentials);
            return self.run("AUTHENTICATE", command, |_| Ok(()));
        }
        let tag = self.tag();
        self.connection.write_all(format!("{tag} AUTHENTICATE PLAIN\r\n").as_bytes())?;
        self.connection.flush()?;
        self.finish("AUTHENTICATE", &tag, vec![format!("{credentials}\r\n").into_bytes()], |_| Ok(()))
    }

    /// Runs a command to its end and hands what is told on the way to `each`. NO and BAD are errors; `what` is
    /// what they are called.
    pub fn run(
        &mut self,
        what: &'static str,
        command: impl FnOnce(&str) -> Command,
        each: impl FnMut(Response<'_>) -> Result<(), Failure>,
    ) -> Result<Said, Failure> {
        let tag = self.tag();
        let mut pieces = command(&tag).pieces();
        self.connection.write_all(&pieces.remove(0))?;
        self.connection.flush()?;
        self.finish(what, &tag, pieces, each)
    }

    fn tag(&mut self) -> String {
        self.commands = self.commands.wrapping_add(1);
        format!("m{}", self.commands)
    }

    /// Reads to the end of a command; the server asks for each of the `pieces` that are left.
    fn finish(
        &mut self,
        what: &'static str,
        tag: &str,
        pieces: Vec<Vec<u8>>,
        mut each: impl FnMut(Response<'_>) -> Result<(), Failure>,
    ) -> Result<Said, Failure> {
        let mut pieces = pieces.into_iter();
        let mut farewell = None;
        loop {
            let (mut wanted, mut done, mut outcome) = (false, None, Ok(()));
            let read = self.next(|response| match response {
                Response::Continue => wanted = true,
                Response::Done { tag: of, outcome, said } if of == tag.as_bytes() => done = Some((outcome, said)),
                Response::Done { .. } => outcome = Err(Failure::unfit("the server answers what it was not asked")),
                Response::Untagged { outcome: Outcome::Bye, said } => farewell = Some(said.text),
                other => outcome = each(other),
            });
            match (read, farewell.take()) {
                // Whoever says goodbye says why; that the connection ends then is no news.
                (Err(Failure::Io(_)), Some(text)) => return Err(Failure::Bye(text)),
                (read, left) => {
                    read?;
                    farewell = left;
                }
            }
            outcome?;
            match done {
                Some((Outcome::Ok, said)) => return Ok(said),
                Some((_, said)) => return Err(Failure::Refused { what, said }),
                None => {}
            }
            if wanted {
                let piece = pieces.next();
                let piece = piece.ok_or_else(|| Failure::unfit("the server asks for more than there is"))?;
                self.connection.write_all(&piece)?;
                self.connection.flush()?;
            }
        }
    }

    /// Waits for a response and shows it to `look`.
    fn next(&mut self, look: impl FnOnce(Response<'_>)) -> Result<(), Failure> {
        loop {
            if let Some((response, length)) = imap::parse(&self.buffer[self.at..])? {
                look(response);
                self.at += length;
                return Ok(());
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            let filled = self.buffer.len();
            self.buffer.resize(filled + PIECE, 0);
            let read = self.connection.read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Err(Failure::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up")));
            }
        }
    }

    /// Says goodbye, which nobody has to wait for.
    pub fn leave(mut self) {
        let tag = self.tag();
        let _ = self.connection.write_all(format!("{tag} LOGOUT\r\n").as_bytes());
        let _ = self.connection.flush();
    }
}

fn nul() -> Failure {
    Failure::unfit("a name or password has a NUL in it")
}
