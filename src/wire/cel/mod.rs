//! Expressions of the Common Expression Language (CEL): `sender_domain == 'example.org' && size > 1000000`.
//!
//! Grammar and meaning are those of CEL's language definition, for the part that conditions about a message
//! need: `bool`, `int`, `string` and lists of one of them; `? :`, `||`, `&&`, `!`, `== != < <= > >= in`,
//! `+ - * / %`, unary `-`, `[...]`, indexes; `size`, `startsWith`, `endsWith`, `contains`, `matches`,
//! `lowerAscii`, and `cidr('192.0.2.0/24').containsIP(client)`; every form of string literal; `//` comments.
//!
//! Types are checked when an expression is read, so an unknown name or a comparison of a string with a number is
//! an error with its line and column, and not a condition that never holds. What CEL leaves to run time is
//! left there: overflow, division by zero and an index beyond a list are faults, and `||` and `&&` absorb
//! a fault where the other side decides.
//!
//! Deliberately left out, and refused by name: floating point, `uint`, bytes, maps, messages, `null`, `dyn`,
//! time stamps, macros (`exists`, `all`). A pattern of `matches` must be a literal: it is compiled once.
//!
//! Limits: [`LENGTH_LIMIT`], [`DEPTH_LIMIT`], [`PATTERN_LIMIT`]. Evaluation visits every part of an expression
//! once at most; it allocates only for `+` on strings and lists, and for `lowerAscii` of capitals.

mod check;
mod evaluate;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

/// The longest expression, in bytes.
pub const LENGTH_LIMIT: usize = 4096;

/// How deep an expression may nest. A chain of `||` or of `&&` counts as one level, however long it is.
pub const DEPTH_LIMIT: usize = 24;

/// The most memory that a compiled pattern may take, in bytes.
pub const PATTERN_LIMIT: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int,
    Text,
    List(Box<Type>),
}

/// As CEL names it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Text => f.write_str("string"),
            Type::List(of) => write!(f, "list({of})"),
        }
    }
}

/// A variable that expressions may name. Its place in the list is the number that a [`Scope`] is asked for.
pub type Variable = (&'static str, Type);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
}

/// What the variables stand for. A value must be of the type that was declared.
pub trait Scope {
    fn value(&self, variable: usize) -> Value<'_>;
}

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("a number is past 64 bits")]
    Overflow,
    #[error("a division by zero")]
    DivisionByZero,
    #[error("an index beyond its list")]
    Index,
    /// A [`Scope`] that breaks its word.
    #[error("a value of another type than was declared")]
    Type,
}

/// What is wrong with an expression, and where. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct CelError {
    pub line: usize,
    pub column: usize,
    pub what: String,
}

/// An error by its byte in the text.
#[derive(Debug)]
struct Wrong {
    at: usize,
    what: String,
}

impl Wrong {
    fn new(at: usize, what: impl Into<String>) -> Wrong {
        Wrong { at, what: what.into() }
    }

    fn placed(self, text: &str) -> CelError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        CelError { line, column, what: self.what }
    }
}

/// A condition that has been checked.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Box<str>,
    root: check::Node,
    /// One bit for each variable that it names.
    named: u64,
}

impl Expression {
    /// Reads a condition over `variables`, of which there are at most 64.
    pub fn condition(text: &str, variables: &[Variable]) -> Result<Expression, CelError> {
        let read = || {
            if text.len() > LENGTH_LIMIT {
                return Err(Wrong::new(LENGTH_LIMIT, format!("longer than {LENGTH_LIMIT} bytes")));
            }
            let term = parser::parse(text)?;
            check::condition(&term, variables)
        };
        let (root, named) = read().map_err(|wrong| wrong.placed(text))?;
        Ok(Expression { text: text.into(), root, named })
    }

    pub fn holds(&self, scope: &impl Scope) -> Result<bool, Fault> {
        match evaluate::value(&self.root, scope)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(Fault::Type),
        }
    }

    /// Whether it names the variable of that number.
    pub fn names(&self, variable: usize) -> bool {
        u32::try_from(variable).ok().and_then(|bit| self.named.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Two expressions are the same if they are written the same.
impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}
