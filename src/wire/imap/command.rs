//! Commands: words of ours and strings of others, which can never become anything but strings.

/// A command in the pieces that it is sent in: a server asks for what follows a literal's announcement (RFC 3501
/// section 4.3) before it is sent. Literals are used for nothing but what quotes cannot hold, so nearly all commands
/// are of one piece.
pub struct Command {
    pieces: Vec<Vec<u8>>,
}

impl Command {
    /// `words` are taken as they stand.
    pub fn new(tag: &str, words: &str) -> Command {
        Command { pieces: vec![format!("{tag} {words}").into_bytes()] }
    }

    /// Further words, as they stand.
    pub fn words(mut self, words: &str) -> Command {
        self.last().push(b' ');
        self.last().extend_from_slice(words.as_bytes());
        self
    }

    /// A string of somebody else's.
    pub fn string(mut self, text: &[u8]) -> Command {
        self.last().push(b' ');
        if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.last().push(b'"');
            for byte in text {
                if matches!(byte, b'"' | b'\\') {
                    self.last().push(b'\\');
                }
                self.last().push(*byte);
            }
            self.last().push(b'"');
        } else {
            self.last().extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
            self.pieces.push(text.to_vec());
        }
        self
    }

    /// What is sent, piece by piece.
    pub fn pieces(mut self) -> Vec<Vec<u8>> {
        self.last().extend_from_slice(b"\r\n");
        self.pieces
    }

    fn last(&mut self) -> &mut Vec<u8> {
        if self.pieces.is_empty() {
            self.pieces.push(Vec::new());
        }
        let last = self.pieces.len() - 1;
        &mut self.pieces[last]
    }
}

/// The credentials of SASL PLAIN (RFC 4616): `user`, whose mailbox is opened, by `login`, whose password it is. An empty
/// `user` is whoever logs in. `None` if one of them has a NUL in it, for which there is no place.
pub fn sasl_plain(user: &str, login: &str, password: &str) -> Option<String> {
    use base64::Engine as _;
    let parts = [user, login, password];
    let fits = parts.iter().all(|part| !part.contains('\0'));
    fits.then(|| base64::engine::general_purpose::STANDARD.encode(parts.join("\0")))
}

/// The name that LOGIN is given for a user and a master: `%u` is the one, `%m` the other, `%%` a percent sign. `None` if
/// the template has anything else behind a percent sign.
pub fn login_name(template: &str, user: &str, master: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('%') {
        name.push_str(before);
        let mut after = behind.chars();
        name.push_str(match after.next()? {
            'u' => user,
            'm' => master,
            '%' => "%",
            _ => return None,
        });
        rest = after.as_str();
    }
    name.push_str(rest);
    Some(name)
}
