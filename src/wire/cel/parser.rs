//! From words to a tree, by the grammar of CEL's language definition.

use super::lexer::{Word, words};
use super::{DEPTH_LIMIT, Wrong};

/// A part of an expression, with the byte where it begins, or where its operator stands.
#[derive(Debug)]
pub(super) struct Term {
    pub at: usize,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Bool(bool),
    Int(i64),
    Text(String),
    Name(String),
    List(Vec<Term>),
    Not(Box<Term>),
    Negate(Box<Term>),
    /// Two and more.
    Or(Vec<Term>),
    And(Vec<Term>),
    Binary(Operator, Box<[Term; 2]>),
    Choice(Box<[Term; 3]>),
    Index(Box<[Term; 2]>),
    /// `name(arguments)`, or `receiver.name(arguments)`.
    Call {
        receiver: Option<Box<Term>>,
        name: String,
        arguments: Vec<Term>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn shown(self) -> &'static str {
        let known = RELATIONS.iter().chain(&SUMS).chain(&PRODUCTS).find(|(_, operator)| *operator == self);
        known.map_or("in", |(mark, _)| mark)
    }
}

const RELATIONS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];
const SUMS: [(&str, Operator); 2] = [("+", Operator::Add), ("-", Operator::Subtract)];
const PRODUCTS: [(&str, Operator); 3] =
    [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];

/// Words that CEL keeps for itself, which are no names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn parse(text: &str) -> Result<Term, Wrong> {
    let mut parser = Parser { words: words(text)?, next: 0, depth: 0 };
    let term = parser.expression()?;
    match parser.peek() {
        Word::End => Ok(term),
        other => Err(Wrong::new(parser.at(), format!("{} is not expected here", other.shown()))),
    }
}

struct Parser {
    words: Vec<(usize, Word)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Word {
        self.words.get(self.next).map_or(&Word::End, |(_, word)| word)
    }

    fn at(&self) -> usize {
        self.words.get(self.next).or(self.words.last()).map_or(0, |(at, _)| *at)
    }

    fn take(&mut self) -> Word {
        let word = self.peek().clone();
        self.next += 1;
        word
    }

    fn takes(&mut self, mark: &str) -> bool {
        let here = matches!(self.peek(), Word::Mark(found) if *found == mark);
        self.next += usize::from(here);
        here
    }

    fn expect(&mut self, mark: &str) -> Result<(), Wrong> {
        if self.takes(mark) {
            return Ok(());
        }
        Err(Wrong::new(self.at(), format!("{} where `{mark}` is expected", self.peek().shown())))
    }

    fn expression(&mut self) -> Result<Term, Wrong> {
        // Checked while the parser goes down, which is by function calls; the tree itself is measured by `check`.
        if self.depth >= DEPTH_LIMIT {
            return Err(Wrong::new(self.at(), format!("nested deeper than {DEPTH_LIMIT} levels")));
        }
        self.depth += 1;
        let condition = self.any()?;
        let at = self.at();
        let term = match self.takes("?") {
            false => condition,
            true => {
                let then = self.any()?;
                self.expect(":")?;
                let otherwise = self.expression()?;
                Term { at, kind: Kind::Choice(Box::new([condition, then, otherwise])) }
            }
        };
        self.depth -= 1;
        Ok(term)
    }

    fn any(&mut self) -> Result<Term, Wrong> {
        self.chain("||", Parser::all, Kind::Or)
    }

    fn all(&mut self) -> Result<Term, Wrong> {
        self.chain("&&", Parser::relation, Kind::And)
    }

    fn chain(
        &mut self,
        mark: &str,
        part: fn(&mut Parser) -> Result<Term, Wrong>,
        kind: fn(Vec<Term>) -> Kind,
    ) -> Result<Term, Wrong> {
        let first = part(self)?;
        let at = self.at();
        let mut parts = vec![first];
        while self.takes(mark) {
            parts.push(part(self)?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(Term { at, kind: kind(parts) }),
        }
    }

    fn relation(&mut self) -> Result<Term, Wrong> {
        let mut left = self.sum()?;
        loop {
            let at = self.at();
            let operator = match self.peek() {
                Word::Name(name) if name == "in" => {
                    self.next += 1;
                    Some(Operator::In)
                }
                _ => self.operator(&RELATIONS),
            };
            let Some(operator) = operator else { return Ok(left) };
            let right = self.sum()?;
            left = Term { at, kind: Kind::Binary(operator, Box::new([left, right])) };
        }
    }

    fn operator(&mut self, known: &[(&str, Operator)]) -> Option<Operator> {
        let found = known.iter().find(|(mark, _)| self.takes(mark));
        found.map(|(_, operator)| *operator)
    }

    fn sum(&mut self) -> Result<Term, Wrong> {
        self.left(&SUMS, Parser::product)
    }

    fn product(&mut self) -> Result<Term, Wrong> {
        self.left(&PRODUCTS, Parser::unary)
    }

    fn left(
        &mut self,
        operators: &[(&str, Operator)],
        part: fn(&mut Parser) -> Result<Term, Wrong>,
    ) -> Result<Term, Wrong> {
        let mut left = part(self)?;
        loop {
            let at = self.at();
            let Some(operator) = self.operator(operators) else { return Ok(left) };
            let right = part(self)?;
            left = Term { at, kind: Kind::Binary(operator, Box::new([left, right])) };
        }
    }

    /// Signs in a row cancel each other out in pairs, so a long row nests no deeper than a short one.
    fn unary(&mut self) -> Result<Term, Wrong> {
        let at = self.at();
        let count = |parser: &mut Parser, mark| std::iter::from_fn(|| parser.takes(mark).then_some(())).count();
        let (nots, minuses) = (count(self, "!"), count(self, "-"));
        if nots > 0 && minuses > 0 {
            return Err(Wrong::new(at, "`!` and `-` do not go together: one is of bool, the other of int"));
        }
        if minuses % 2 == 1
            && let Word::Int(number) = *self.peek()
        {
            let here = self.at();
            self.next += 1;
            let least = 0i64.checked_sub_unsigned(number);
            let number = least.ok_or_else(|| Wrong::new(here, format!("-{number} is past 64 bits")))?;
            return self.member_of(Term { at, kind: Kind::Int(number) });
        }
        let mut term = self.member()?;
        // An even number of signs still says what is signed: two of them keep the type check.
        for _ in 0..nots.min(2 - nots % 2) {
            term = Term { at, kind: Kind::Not(Box::new(term)) };
        }
        for _ in 0..minuses.min(2 - minuses % 2) {
            term = Term { at, kind: Kind::Negate(Box::new(term)) };
        }
        Ok(term)
    }

    fn member(&mut self) -> Result<Term, Wrong> {
        let primary = self.primary()?;
        self.member_of(primary)
    }

    fn member_of(&mut self, mut term: Term) -> Result<Term, Wrong> {
        loop {
            let at = self.at();
            if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                term = Term { at, kind: Kind::Index(Box::new([term, index])) };
            } else if self.takes(".") {
                let at = self.at();
                let Word::Name(name) = self.take() else {
                    return Err(Wrong::new(at, "a `.` without the name of a function behind it"));
                };
                if !self.takes("(") {
                    return Err(Wrong::new(at, format!("nothing has a field `{name}`; variables are plain names")));
                }
                let arguments = self.list(")")?;
                term = Term { at, kind: Kind::Call { receiver: Some(Box::new(term)), name, arguments } };
            } else {
                return Ok(term);
            }
        }
    }

    /// Up to the closing bracket.
    fn list(&mut self, end: &str) -> Result<Vec<Term>, Wrong> {
        let mut terms = Vec::new();
        while !self.takes(end) {
            if !terms.is_empty() {
                self.expect(",")?;
                // CEL takes a comma at the end of a list.
                if end == "]" && self.takes(end) {
                    break;
                }
            }
            terms.push(self.expression()?);
        }
        Ok(terms)
    }

    fn primary(&mut self) -> Result<Term, Wrong> {
        let at = self.at();
        let kind = match self.take() {
            Word::Int(number) => {
                let number = i64::try_from(number);
                Kind::Int(number.map_err(|_| Wrong::new(at, "the number is past 64 bits"))?)
            }
            Word::Text(text) => Kind::Text(text),
            Word::Name(name) if name == "true" || name == "false" => Kind::Bool(name == "true"),
            Word::Name(name) if name == "null" => return Err(Wrong::new(at, "null is not supported; \"\" is nothing")),
            Word::Name(name) if name == "in" || RESERVED.contains(&name.as_str()) => {
                return Err(Wrong::new(at, format!("`{name}` is a word of CEL and no name")));
            }
            Word::Name(name) => match self.takes("(") {
                true => Kind::Call { receiver: None, name, arguments: self.list(")")? },
                false => Kind::Name(name),
            },
            Word::Mark("[") => Kind::List(self.list("]")?),
            Word::Mark("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Word::Mark("{") => return Err(Wrong::new(at, "maps are not supported")),
            other => return Err(Wrong::new(at, format!("{} where a value is expected", other.shown()))),
        };
        Ok(Term { at, kind })
    }
}
