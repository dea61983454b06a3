//! What is shown to a server to be let in: a password or a key.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Text(String),
    /// Read whenever it is shown, so that it may be changed without a restart.
    File(PathBuf),
}

impl Secret {
    /// Without the line's end that editors put behind it. An error names the file. An empty one is an error, for some
    /// servers take an empty password for somebody who wants to be nobody (RFC 4513 section 5.1.2).
    pub fn read(&self) -> io::Result<String> {
        let path = match self {
            Secret::Text(text) => return Ok(text.clone()),
            Secret::File(path) => path,
        };
        let named = |kind, why: &dyn fmt::Display| io::Error::new(kind, format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| named(error.kind(), &error))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(named(io::ErrorKind::InvalidData, &"is empty; accepted: a password or a key")),
            secret => Ok(secret.to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("Text(hidden)"),
            Secret::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_each_time_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let secret = Secret::File(file.clone());
        let why = |secret: &Secret| secret.read().unwrap_err().to_string();
        assert_eq!(why(&secret), format!("{}: No such file or directory (os error 2)", file.display()));
        for (text, read) in [("one\n", "one"), (" two \r\n", " two "), ("three", "three")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(secret.read().unwrap(), read);
        }
        for empty in ["", "\n"] {
            std::fs::write(&file, empty).unwrap();
            assert!(why(&secret).ends_with("password: is empty; accepted: a password or a key"), "{}", why(&secret));
        }
        assert_eq!(format!("{:?}", Secret::Text("hush".into())), "Text(hidden)");
    }
}
