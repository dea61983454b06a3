//! Where a listener is: `host:port`, or `unix:/path`. An IPv6 address stands in brackets: `[::1]:12340`. Postfix's
//! spelling, `inet:host:port`, is read as well.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place to listen at or to connect to. Its text form parses back to the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// A host name or address, without brackets, and a port; port 0 lets the system choose one.
    Tcp { host: Box<str>, port: u16 },
    /// An absolute path: a daemon's working directory is nothing to rely on.
    Unix(PathBuf),
}

const ACCEPTED: &str = "accepted: host:port, [ipv6]:port or unix:/path";

/// Why a text names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("`{0}` has no port; {ACCEPTED}")]
    NoPort(String),
    #[error("`{0}` has no host; {ACCEPTED} (`0.0.0.0:port` for every IPv4 address)")]
    NoHost(String),
    #[error("`{0}` does not end in a port from 0 to 65535; {ACCEPTED}")]
    BadPort(String),
    #[error("the host of `{0}` cannot be told from its port; {ACCEPTED}")]
    BadHost(String),
    #[error("the path of `{0}` does not begin with `/`; {ACCEPTED}")]
    RelativePath(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match Path::new(path).is_absolute() && !path.contains('\0') {
                true => Ok(Endpoint::Unix(path.into())),
                false => Err(EndpointError::RelativePath(text.into())),
            };
        }
        let place = match text.strip_prefix("inet:") {
            // To Postfix that is a port of this machine; we listen where we are told to.
            Some(port) if !port.is_empty() && !port.contains(':') => return Err(EndpointError::NoHost(text.into())),
            Some(place) => place,
            None => text,
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(|| EndpointError::NoPort(text.into()))?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EndpointError::BadPort(text.into()));
        }
        let port = port.parse().map_err(|_| EndpointError::BadPort(text.into()))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bare = bracketed.unwrap_or(host);
        if bare.is_empty() {
            return Err(EndpointError::NoHost(text.into()));
        }
        // A host of that name would be taken for the prefix when it is read again.
        if bare == "inet" {
            return Err(EndpointError::BadHost(text.into()));
        }
        // Without brackets, `::1` would be host `:` and port 1.
        let odd = |c: char| c.is_whitespace() || c.is_control() || "[]/".contains(c);
        if bare.contains(odd) || bracketed.is_some() != bare.contains(':') {
            return Err(EndpointError::BadHost(text.into()));
        }
        Ok(Endpoint::Tcp { host: bare.into(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Endpoint, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_configuration_writes() {
        for text in ["127.0.0.1:12340", "localhost:0", "[::1]:65535", "unix:/run/mailquotad/policy.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn reads_what_postfix_writes() {
        for text in ["127.0.0.1:12340", "localhost:0", "[::1]:65535"] {
            assert_eq!(format!("inet:{text}").parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    macro_rules! bad { ($($name:ident: $text:literal => $error:ident,)*) => { $(
        #[test] fn $name() { assert_eq!($text.parse::<Endpoint>(), Err(EndpointError::$error($text.into()))); }
    )* } }
    bad! {
        no_port: "localhost" => NoPort,
        empty: "" => NoPort,
        no_host: ":25" => NoHost,
        empty_brackets: "[]:25" => NoHost,
        large_port: "localhost:65536" => BadPort,
        signed_port: "localhost:+25" => BadPort,
        named_port: "localhost:smtp" => BadPort,
        bare_ipv6: "::1:25" => BadHost,
        port_alone: "inet:12340" => NoHost,
        twice: "inet:inet:localhost:25" => BadHost,
        no_host_but_the_word: "inet:inet:25" => BadHost,
        nothing_after: "inet:" => NoPort,
        space: "local host:25" => BadHost,
        relative_path: "unix:policy.sock" => RelativePath,
        no_path: "unix:" => RelativePath,
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_again(text in "(unix:/|inet:)?[a-z0-9:.\\[\\]/]{0,12}(:[0-9]{1,5})?") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Endpoint>();
        }
    }
}
