//! Templates of notices: header lines, an empty line, a body, and variables in both.
//!
//! Two spellings, both Oracle Messaging Server's. In the text of `quotaexceededmsg` variables stand in brackets and
//! `$` begins a new line: `Subject: Over quota$$[ID], you use [DISKUSAGE].` In the message files of
//! `imquotacheck` they stand between percent signs (`%U%`), and `\24` and `\25` are `$` and `%`. What looks like a
//! variable and is none stays as it is written.
//!
//! A text is cut into header lines before any variable is filled in, so that no value can make a header.
//! Only `Subject`, which must be there, `Reply-To` and `X-` fields may be given; the others are the letter's.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The account's address, or the domain's name.
    Id,
    Bucket,
    Domain,
    /// How much is used.
    DiskUsage,
    Messages,
    /// The part of the limit at which the notice was due.
    Percent,
    /// The part of the limit that is used.
    PercentUsed,
    Quota,
    MessageQuota,
    /// Quota, total and percentage, and where it was asked for every folder.
    Details,
    /// The quota attribute as the directory has it.
    Attribute,
}

const BRACKETS: [(&str, Variable); 9] = [
    ("ID", Variable::Id),
    ("DISKUSAGE", Variable::DiskUsage),
    ("NUMMSG", Variable::Messages),
    ("PERCENT", Variable::Percent),
    ("QUOTA", Variable::Quota),
    ("MSGQUOTA", Variable::MessageQuota),
    ("USED", Variable::PercentUsed),
    ("BUCKET", Variable::Bucket),
    ("DOMAIN", Variable::Domain),
];

const PERCENTS: [(&str, Variable); 5] = [
    ("U", Variable::Id),
    ("Q", Variable::PercentUsed),
    ("R", Variable::Details),
    ("M", Variable::DiskUsage),
    ("C", Variable::Attribute),
];

/// The longest name of a header: it has to go on one line (RFC 5322 section 2.1.1), and leave room on it.
pub const LONGEST_NAME: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    headers: Vec<(String, Vec<Piece>)>,
    body: Vec<Piece>,
}

/// What is wrong with a template, and in which line of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct TemplateError {
    pub line: usize,
    pub fault: TemplateFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    #[error("a Subject: line is missing; a template is header lines, an empty line and the text")]
    NoSubject,
    #[error("`{0}` is no header line; accepted: Subject:, Reply-To: and X- fields, then an empty line")]
    NoHeader(String),
    #[error("the header {0} is not for a template; accepted: Subject:, Reply-To: and X- fields")]
    Header(String),
    #[error("the name of a header has {0} characters; at most {max} are accepted", max = LONGEST_NAME)]
    Long(usize),
    #[error("the header {0} stands twice")]
    Twice(String),
}

impl Template {
    /// One line as in `quotaexceededmsg`, where `$` begins a new line.
    pub fn one_line(text: &str) -> Result<Template, TemplateError> {
        Template::brackets(&text.replace('$', "\n"))
    }

    /// A text of several lines with variables in brackets.
    pub fn brackets(text: &str) -> Result<Template, TemplateError> {
        Template::read(text, &|text| pieces(text, '[', ']', &BRACKETS))
    }

    /// A message file of `imquotacheck`.
    pub fn percents(text: &str) -> Result<Template, TemplateError> {
        let unescaped = |text: String| text.replace("\\24", "$").replace("\\25", "%");
        Template::read(text, &|text| {
            let pieces = pieces(text, '%', '%', &PERCENTS).into_iter();
            let piece = |piece| match piece {
                Piece::Text(text) => Piece::Text(unescaped(text)),
                variable => variable,
            };
            pieces.map(piece).collect()
        })
    }

    fn read(text: &str, pieces: &dyn Fn(&str) -> Vec<Piece>) -> Result<Template, TemplateError> {
        let text = text.replace("\r\n", "\n");
        let mut headers: Vec<(String, Vec<Piece>)> = Vec::new();
        let mut rest = text.as_str();
        let mut number = 0;
        let fail = |line, fault| Err(TemplateError { line, fault });
        while !rest.is_empty() {
            number += 1;
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = after;
            if line.trim().is_empty() {
                break;
            }
            let name = line.split_once(':').map(|(name, value)| (name.trim_end(), value.trim()));
            let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
            let Some((name, value)) = name.filter(|(name, _)| is_name(name)) else {
                return fail(number, TemplateFault::NoHeader(line.into()));
            };
            if name.len() > LONGEST_NAME {
                return fail(number, TemplateFault::Long(name.len()));
            }
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return fail(number, TemplateFault::Twice(name.into()));
            }
            let lower = name.to_ascii_lowercase();
            if !(lower == "subject" || lower == "reply-to" || lower.starts_with("x-")) {
                return fail(number, TemplateFault::Header(name.into()));
            }
            headers.push((name.into(), pieces(value)));
        }
        match headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("subject")) {
            true => Ok(Template { headers, body: pieces(rest) }),
            false => fail(number.max(1), TemplateFault::NoSubject),
        }
    }

    /// The header fields, each on one line.
    pub fn headers<'a>(&'a self, value: &'a dyn Fn(Variable) -> String) -> impl Iterator<Item = (&'a str, String)> {
        self.headers.iter().map(move |(name, pieces)| (name.as_str(), one_line(&fill(pieces, value))))
    }

    pub fn body(&self, value: &dyn Fn(Variable) -> String) -> String {
        fill(&self.body, value)
    }
}

fn fill(pieces: &[Piece], value: &dyn Fn(Variable) -> String) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Variable(variable) => value(*variable),
    };
    pieces.iter().map(piece).collect()
}

/// Nothing that could end a header line, whatever the values held.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c };
    text.chars().map(plain).collect::<String>().trim().to_owned()
}

fn pieces(text: &str, open: char, close: char, known: &[(&str, Variable)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(open) {
        let inner = &rest[at + open.len_utf8()..];
        let named = inner.find(close).and_then(|end| {
            let variable = known.iter().find(|(name, _)| *name == &inner[..end])?.1;
            Some((variable, &inner[end + close.len_utf8()..]))
        });
        plain.push_str(&rest[..at]);
        match named {
            Some((variable, after)) => {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Variable(variable));
                rest = after;
            }
            None => {
                plain.push(open);
                rest = inner;
            }
        }
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    pieces
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = BRACKETS.iter().chain(&PERCENTS).find(|(_, variable)| variable == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(template: &Template) -> (Vec<(String, String)>, String) {
        let value = |variable: Variable| format!("<{variable}>");
        let headers = template.headers(&value).map(|(name, value)| (name.to_owned(), value)).collect();
        (headers, template.body(&value))
    }

    #[test]
    fn oracles_own_example_is_understood() {
        let template = Template::one_line(
            "Subject: Overquota Warning$$[ID],$$Your mailbox has exceeded [PERCENT] of its quota.$Disk Usage: \
             [DISKUSAGE]$Messages: [NUMMSG]$Mailquota: [QUOTA]$Message Quota: [MSGQUOTA]$$-Postmaster",
        );
        let (headers, body) = filled(&template.unwrap());
        assert_eq!(headers, [("Subject".to_owned(), "Overquota Warning".to_owned())]);
        assert_eq!(
            body,
            "<ID>,\n\nYour mailbox has exceeded <PERCENT> of its quota.\nDisk Usage: <DISKUSAGE>\nMessages: <NUMMSG>\n\
             Mailquota: <QUOTA>\nMessage Quota: <MSGQUOTA>\n\n-Postmaster"
        );
    }

    #[test]
    fn message_files_have_their_own_variables_and_escapes() {
        let template =
            Template::percents("Subject: %Q% used\r\nX-Quota: %C%\r\n\r\n%U% has 100\\25 of \\245.\n%R%\n%Z% 5%");
        let (headers, body) = filled(&template.unwrap());
        assert_eq!(headers[0].1, "<USED> used");
        assert_eq!(headers[1], ("X-Quota".to_owned(), "<C>".to_owned()));
        assert_eq!(body, "<ID> has 100% of $5.\n<R>\n%Z% 5%");
    }

    #[test]
    fn what_is_no_variable_stays() {
        let template = Template::brackets("Subject: [urgent] [ID\n\n[[ID]] [id] []").unwrap();
        let (headers, body) = filled(&template);
        assert_eq!((headers[0].1.as_str(), body.as_str()), ("[urgent] [ID", "[<ID>] [id] []"));
    }

    #[test]
    fn templates_that_cannot_be_sent_are_refused() {
        let long = format!("Subject: x\nX-{}: y\n\n", "a".repeat(1000));
        for (text, line, told) in [
            ("", 1, "Subject: line is missing"),
            ("Hello\n\nyou", 1, "`Hello` is no header line"),
            ("Subject: x\nTo: everybody@example.org\n\n", 2, "the header To is not"),
            ("subject: x\nBcc: y\n\n", 2, "the header Bcc is not"),
            ("Subject: x\nSUBJECT: y\n\n", 2, "stands twice"),
            ("X-A: x\n\nSubject: y", 2, "Subject: line is missing"),
            ("Subject : x\n folded\n\n", 2, "no header line"),
            (long.as_str(), 2, "has 1002 characters; at most 60"),
        ] {
            let error = Template::brackets(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_value_can_make_a_header(value in "(?s).{0,60}") {
            let template = Template::brackets("Subject: about [ID]\nX-Who: [DOMAIN]\n\n[ID]").unwrap();
            let headers: Vec<_> = template.headers(&|_| value.clone()).map(|(_, value)| value).collect();
            prop_assert_eq!(headers.len(), 2);
            prop_assert!(headers.iter().all(|line| !line.chars().any(char::is_control)));
        }

        #[test]
        fn reading_never_panics(text in "(?s).{0,80}") {
            let _ = (Template::brackets(&text), Template::percents(&text), Template::one_line(&text));
        }
    }
}
