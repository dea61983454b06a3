//! Path templates: where the mailbox of an account lies, as in `/var/mail/%d/%n/Maildir`.
//!
//! Grammar: `%u` is the address, `%n` its local part, `%d` its domain, `%{name}` a directory attribute,
//! `%%` a percent sign; all else is taken as it stands. A template is an absolute path, or begins with
//! an attribute whose value is one (`%{homeDirectory}/Maildir`).
//!
//! Values come from a directory that its users may partly write, so no value may choose another place
//! in the tree than the template does: a slash, `.` or `..` as a path component, a control character
//! and the empty value are refused. The attribute at the very start is the exception: it is a path, and
//! must be an absolute one without `..`.

mod reverse;

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Address,
    Local,
    Domain,
    Attribute(String),
}

impl Part {
    /// What it is called, and what it is for an account.
    fn value<'p, 'a: 'p>(
        &'p self,
        address: &'a str,
        attribute: &impl Fn(&str) -> Option<&'a str>,
    ) -> (&'p str, Option<&'p str>) {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        match self {
            Part::Literal(literal) => ("text", Some(literal)),
            Part::Address => ("address", Some(address)),
            Part::Local => ("local part", Some(local)),
            Part::Domain => ("domain", Some(domain)),
            Part::Attribute(name) => (name, attribute(name)),
        }
    }
}

/// Never empty. That of a path begins with a literal that begins with `/`, or with an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\", character {}: {fault}", self.character())]
pub struct TemplateError {
    pub text: String,
    /// In bytes from the start of `text`.
    pub at: usize,
    pub fault: TemplateFault,
}

impl TemplateError {
    /// The place as people count, from 1.
    pub fn character(&self) -> usize {
        self.text.get(..self.at).map_or(0, |before| before.chars().count()).saturating_add(1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    #[error("is empty; a name such as %u is expected")]
    NoName,
    #[error("is empty; a path such as /var/mail/%d/%n/Maildir is expected")]
    Empty,
    #[error("is not absolute; it must begin with / or with an attribute such as %{{homeDirectory}}")]
    Relative,
    #[error("unknown variable %{0}; accepted are %u (address), %n (local part), %d (domain), %{{attribute}} and %%")]
    Unknown(char),
    #[error("ends after a percent sign; write %% for a percent sign")]
    Dangling,
    #[error("%{{ without its }}")]
    Unclosed,
    #[error("\"{0}\" is no attribute name; letters, digits, - . ; and _ are accepted")]
    AttributeName(String),
    #[error("has a control character")]
    Control,
    #[error("has a .. in it; the path must be written out")]
    Parent,
}

/// Why a template yields no path for an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("{account} has no {what}, which {template} needs")]
    Missing { account: String, what: String, template: String },
    #[error("{account}: the {what} \"{}\" cannot be part of {template}: {fault}", .value.escape_debug())]
    Refused { account: String, what: String, value: String, template: String, fault: ValueFault },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    #[error("it has a / in it")]
    Slash,
    #[error("it would make a path component . or ..")]
    Dots,
    #[error("it has a control character in it")]
    Control,
    #[error("it is not an absolute path")]
    Relative,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Template, TemplateError> {
        let fail = |at, fault| TemplateError { text: text.into(), at, fault };
        let parts = parts(text)?;
        if let Some(at) = parent_component(text) {
            return Err(fail(at, TemplateFault::Parent));
        }
        match parts.first() {
            None => Err(fail(0, TemplateFault::Empty)),
            Some(Part::Literal(start)) if start.starts_with('/') => Ok(Template(parts)),
            // What follows a path must be told apart from it.
            Some(Part::Attribute(_)) => match parts.get(1) {
                None => Ok(Template(parts)),
                Some(Part::Literal(next)) if next.starts_with('/') => Ok(Template(parts)),
                Some(_) => Err(fail(0, TemplateFault::Relative)),
            },
            Some(_) => Err(fail(0, TemplateFault::Relative)),
        }
    }
}

/// Literals and variables, whatever they are to make.
fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let fail = |at, fault| TemplateError { text: text.into(), at, fault };
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_control() {
            return Err(fail(at, TemplateFault::Control));
        }
        if c != '%' {
            literal.push(c);
            at += c.len_utf8();
            continue;
        }
        let (part, length) = variable(&text[at..]).map_err(|fault| fail(at, fault))?;
        match part {
            None => literal.push('%'),
            Some(part) => {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(part);
            }
        }
        at += length;
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// The variable that `text` begins with and its length; no part for `%%`.
fn variable(text: &str) -> Result<(Option<Part>, usize), TemplateFault> {
    let part = match text[1..].chars().next() {
        None => return Err(TemplateFault::Dangling),
        Some('%') => None,
        Some('u') => Some(Part::Address),
        Some('n') => Some(Part::Local),
        Some('d') => Some(Part::Domain),
        Some('{') => {
            let name = &text[2..];
            let end = name.find('}').ok_or(TemplateFault::Unclosed)?;
            let name = &name[..end];
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_');
            if name.is_empty() || !name.chars().all(good) {
                return Err(TemplateFault::AttributeName(name.into()));
            }
            return Ok((Some(Part::Attribute(name.into())), end + 3));
        }
        Some(other) => return Err(TemplateFault::Unknown(other)),
    };
    Ok((part, 2))
}

fn parent_component(path: &str) -> Option<usize> {
    let mut at = 0;
    for component in path.split('/') {
        if component == ".." {
            return Some(at);
        }
        at += component.len() + 1;
    }
    None
}

impl Template {
    /// A template of a name instead of a path, such as a login at another server: `%u`, `%n`, `%{uid}`.
    pub fn name(text: &str) -> Result<Template, TemplateError> {
        let parts = parts(text)?;
        let empty = TemplateError { text: text.into(), at: 0, fault: TemplateFault::NoName };
        if parts.is_empty() { Err(empty) } else { Ok(Template(parts)) }
    }

    /// The name of one account, of a template that [`name`](Template::name) has read. Only control characters
    /// are refused.
    pub fn fill<'a>(
        &self,
        address: &'a str,
        attribute: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<String, ExpandError> {
        let mut name = String::new();
        for part in &self.0 {
            let (what, value) = part.value(address, &attribute);
            let value = value.filter(|value| !value.is_empty()).ok_or_else(|| self.missing(address, what))?;
            if value.chars().any(char::is_control) {
                return Err(self.refused(address, what, value, ValueFault::Control));
            }
            name.push_str(value);
        }
        Ok(name)
    }

    fn missing(&self, account: &str, what: &str) -> ExpandError {
        ExpandError::Missing { account: account.into(), what: what.into(), template: self.to_string() }
    }

    fn refused(&self, account: &str, what: &str, value: &str, fault: ValueFault) -> ExpandError {
        ExpandError::Refused {
            account: account.into(),
            what: what.into(),
            value: value.into(),
            template: self.to_string(),
            fault,
        }
    }

    /// The directory attributes that the template asks for.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Attribute(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The attribute that the path begins with, if it begins with one.
    pub fn leading_attribute(&self) -> Option<&str> {
        match self.0.first() {
            Some(Part::Attribute(name)) => Some(name),
            _ => None,
        }
    }

    /// The directory that all mailboxes lie below: what stands before the first variable, up to its last
    /// slash. `None` where the path begins with an attribute.
    pub fn fixed_prefix(&self) -> Option<&str> {
        match self.0.first() {
            Some(Part::Literal(literal)) if self.0.len() == 1 => Some(literal),
            Some(Part::Literal(literal)) => match literal.rfind('/') {
                Some(0) => Some("/"),
                Some(end) => Some(&literal[..end]),
                None => None,
            },
            _ => None,
        }
    }

    /// The path of one account's mailbox. `attribute` looks an attribute up.
    pub fn expand<'a>(
        &self,
        address: &'a str,
        attribute: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<String, ExpandError> {
        let mut path = String::new();
        for (at, part) in self.0.iter().enumerate() {
            if let Part::Literal(literal) = part {
                path.push_str(literal);
                continue;
            }
            let (what, value) = part.value(address, &attribute);
            let value = value.filter(|value| !value.is_empty()).ok_or_else(|| self.missing(address, what))?;
            let start = path.rfind('/').map_or(0, |slash| slash + 1);
            path.push_str(value);
            let fault = match at {
                0 => path_fault(value),
                _ => value_fault(value).or_else(|| self.makes_dots(at, &path[start..])),
            };
            if let Some(fault) = fault {
                return Err(self.refused(address, what, value, fault));
            }
        }
        Ok(path)
    }

    /// Whether a component that ends after part `at` is `.` or `..`; one that goes on is looked at when
    /// it is whole.
    fn makes_dots(&self, at: usize, component: &str) -> Option<ValueFault> {
        let rest = match self.0.get(at + 1) {
            None => "",
            Some(Part::Literal(next)) => next.split('/').next().unwrap_or_default(),
            Some(_) => return None,
        };
        matches!((component, rest), ("." | "..", "") | (".", ".")).then_some(ValueFault::Dots)
    }
}

fn value_fault(value: &str) -> Option<ValueFault> {
    if value.chars().any(char::is_control) {
        Some(ValueFault::Control)
    } else if value.contains('/') {
        Some(ValueFault::Slash)
    } else {
        None
    }
}

fn path_fault(value: &str) -> Option<ValueFault> {
    if value.chars().any(char::is_control) {
        Some(ValueFault::Control)
    } else if !value.starts_with('/') {
        Some(ValueFault::Relative)
    } else if parent_component(value).is_some() {
        Some(ValueFault::Dots)
    } else {
        None
    }
}

/// Prints what parses to the same template.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(literal) => f.write_str(&literal.replace('%', "%%")),
            Part::Address => f.write_str("%u"),
            Part::Local => f.write_str("%n"),
            Part::Domain => f.write_str("%d"),
            Part::Attribute(name) => write!(f, "%{{{name}}}"),
        })
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
