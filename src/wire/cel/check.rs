//! The type check: from the tree that was written to one that can be evaluated.

use regex::{Regex, RegexBuilder};

use super::parser::{Kind, Operator, Term};
use super::{DEPTH_LIMIT, PATTERN_LIMIT, Type, Variable, Wrong};
use crate::wire::network::Network;

/// A checked part. What it yields is known from its kind.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Bool(bool),
    Int(i64),
    Text(Box<str>),
    Variable(usize),
    List(Box<[Node]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Or(Box<[Node]>),
    And(Box<[Node]>),
    Choice(Box<[Node; 3]>),
    Index(Box<[Node; 2]>),
    Binary(Operator, Box<[Node; 2]>),
    Test(Test, Box<[Node; 2]>),
    Matches(Box<Node>, Regex),
    Inside(Box<Node>, Network),
    Size(Box<Node>),
    Lower(Box<Node>),
}

/// A question about two strings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Starts,
    Ends,
    Contains,
}

const FUNCTIONS: &str =
    "size, startsWith, endsWith, contains, matches, lowerAscii, cidr('192.0.2.0/24').containsIP(client)";

/// The condition, and the variables that it names.
pub(super) fn condition(term: &Term, variables: &[Variable]) -> Result<(Node, u64), Wrong> {
    let mut check = Check { variables, named: 0, depth: 0 };
    let (node, kind) = check.term(term)?;
    match kind {
        Type::Bool => Ok((node, check.named)),
        other => Err(Wrong::new(term.at, format!("the whole yields {other}; accepted: a condition, which is bool"))),
    }
}

struct Check<'a> {
    variables: &'a [Variable],
    named: u64,
    depth: usize,
}

type Checked = Result<(Node, Type), Wrong>;

impl Check<'_> {
    fn term(&mut self, term: &Term) -> Checked {
        // Evaluation goes down by function calls, on the small stack of a connection's thread.
        if self.depth >= DEPTH_LIMIT {
            return Err(Wrong::new(term.at, format!("nested deeper than {DEPTH_LIMIT} levels")));
        }
        self.depth += 1;
        let checked = self.kind(term);
        self.depth -= 1;
        checked
    }

    fn kind(&mut self, term: &Term) -> Checked {
        Ok(match &term.kind {
            Kind::Bool(flag) => (Node::Bool(*flag), Type::Bool),
            Kind::Int(number) => (Node::Int(*number), Type::Int),
            Kind::Text(text) => (Node::Text(text.as_str().into()), Type::Text),
            Kind::Name(name) => self.variable(term.at, name)?,
            Kind::List(elements) => self.list(elements)?,
            Kind::Not(inner) => (Node::Not(Box::new(self.of(inner, &Type::Bool, "!")?)), Type::Bool),
            Kind::Negate(inner) => (Node::Negate(Box::new(self.of(inner, &Type::Int, "-")?)), Type::Int),
            Kind::Or(parts) => (Node::Or(self.bools(parts, "||")?), Type::Bool),
            Kind::And(parts) => (Node::And(self.bools(parts, "&&")?), Type::Bool),
            Kind::Binary(operator, sides) => self.binary(term.at, *operator, sides)?,
            Kind::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.of(condition, &Type::Bool, "?")?;
                let (then, kind) = self.term(then)?;
                let otherwise = self.of(otherwise, &kind, ": after a value of that type")?;
                (Node::Choice(Box::new([condition, then, otherwise])), kind)
            }
            Kind::Index(parts) => {
                let [list, index] = &**parts;
                let (list, kind) = self.term(list)?;
                let Type::List(kind) = kind else {
                    return Err(Wrong::new(term.at, format!("{kind} has no elements; accepted: a list")));
                };
                (Node::Index(Box::new([list, self.of(index, &Type::Int, "[ ]")?])), *kind)
            }
            Kind::Call { receiver, name, arguments } => self.call(term.at, receiver.as_deref(), name, arguments)?,
        })
    }

    fn variable(&mut self, at: usize, name: &str) -> Checked {
        let Some(number) = self.variables.iter().position(|(known, _)| *known == name) else {
            let known: Vec<&str> = self.variables.iter().map(|(name, _)| *name).collect();
            return Err(Wrong::new(at, format!("unknown name `{name}`; accepted: {}", known.join(", "))));
        };
        self.named |= 1u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
        Ok((Node::Variable(number), self.variables[number].1.clone()))
    }

    /// A part that must be of a type.
    fn of(&mut self, term: &Term, wanted: &Type, by: &str) -> Result<Node, Wrong> {
        let (node, kind) = self.term(term)?;
        match kind == *wanted || is_empty_list(&node, wanted) {
            true => Ok(node),
            false => Err(Wrong::new(term.at, format!("{kind} where `{by}` takes {wanted}"))),
        }
    }

    fn bools(&mut self, parts: &[Term], by: &str) -> Result<Box<[Node]>, Wrong> {
        parts.iter().map(|part| self.of(part, &Type::Bool, by)).collect()
    }

    fn list(&mut self, elements: &[Term]) -> Checked {
        let mut nodes = Vec::new();
        let mut kind = None;
        for element in elements {
            let (node, of) = self.term(element)?;
            if *kind.get_or_insert_with(|| of.clone()) != of {
                return Err(Wrong::new(element.at, format!("{of} in a list that began otherwise; accepted: one type")));
            }
            nodes.push(node);
        }
        // Of an empty list any type will do.
        Ok((Node::List(nodes.into()), Type::List(Box::new(kind.unwrap_or(Type::Text)))))
    }

    fn binary(&mut self, at: usize, operator: Operator, sides: &[Term; 2]) -> Checked {
        let ((left, left_kind), (right, right_kind)) = (self.term(&sides[0])?, self.term(&sides[1])?);
        let same = left_kind == right_kind || is_empty_list(&left, &right_kind) || is_empty_list(&right, &left_kind);
        let kind = match operator {
            Operator::Equal | Operator::Unequal => same.then_some(Type::Bool),
            Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => {
                (same && !matches!(left_kind, Type::List(_))).then_some(Type::Bool)
            }
            Operator::In => match &right_kind {
                Type::List(of) => (**of == left_kind || is_empty_list(&right, &right_kind)).then_some(Type::Bool),
                _ => None,
            },
            Operator::Add => (same && left_kind != Type::Bool)
                .then(|| if is_empty_list(&left, &right_kind) { right_kind.clone() } else { left_kind.clone() }),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                (same && left_kind == Type::Int).then_some(Type::Int)
            }
        };
        let sides = Box::new([left, right]);
        let node = Node::Binary(operator, sides);
        let shown = operator.shown();
        kind.map(|kind| (node, kind))
            .ok_or_else(|| Wrong::new(at, format!("`{shown}` does not go between {left_kind} and {right_kind}")))
    }

    fn call(&mut self, at: usize, receiver: Option<&Term>, name: &str, arguments: &[Term]) -> Checked {
        let wrong = |what: String| Err(Wrong::new(at, what));
        let test = match name {
            "startsWith" => Some(Test::Starts),
            "endsWith" => Some(Test::Ends),
            "contains" => Some(Test::Contains),
            _ => None,
        };
        match (name, receiver, arguments) {
            // CEL has both spellings.
            ("size", None, [of]) | ("size", Some(of), []) => {
                let (node, kind) = self.term(of)?;
                match kind {
                    Type::Text | Type::List(_) => Ok((Node::Size(Box::new(node)), Type::Int)),
                    other => Err(Wrong::new(of.at, format!("{other} has no size; accepted: string, list"))),
                }
            }
            (_, Some(text), [part]) if test.is_some() => {
                let text = self.of(text, &Type::Text, name)?;
                let part = self.of(part, &Type::Text, name)?;
                let test = test.unwrap_or(Test::Contains);
                Ok((Node::Test(test, Box::new([text, part])), Type::Bool))
            }
            ("lowerAscii", Some(text), []) => {
                Ok((Node::Lower(Box::new(self.of(text, &Type::Text, name)?)), Type::Text))
            }
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                let text = self.of(text, &Type::Text, name)?;
                Ok((Node::Matches(Box::new(text), regex(pattern)?), Type::Bool))
            }
            ("containsIP", Some(network), [address]) => {
                let network = cidr(network)?;
                Ok((Node::Inside(Box::new(self.of(address, &Type::Text, name)?), network), Type::Bool))
            }
            ("cidr", None, [_]) => {
                wrong("a network is asked by containsIP: cidr('192.0.2.0/24').containsIP(client)".into())
            }
            (
                "size" | "startsWith" | "endsWith" | "contains" | "lowerAscii" | "matches" | "containsIP" | "cidr",
                ..,
            ) => wrong(format!("`{name}` is not called so; accepted: {FUNCTIONS}")),
            ("all" | "exists" | "exists_one" | "map" | "filter" | "has", ..) => {
                wrong(format!("the macro `{name}` is not supported; accepted: {FUNCTIONS}"))
            }
            _ => wrong(format!("unknown function `{name}`; accepted: {FUNCTIONS}")),
        }
    }
}

fn is_empty_list(node: &Node, wanted: &Type) -> bool {
    matches!((node, wanted), (Node::List(elements), Type::List(_)) if elements.is_empty())
}

fn literal(term: &Term) -> Option<&str> {
    match &term.kind {
        Kind::Text(text) => Some(text),
        _ => None,
    }
}

fn regex(term: &Term) -> Result<Regex, Wrong> {
    let Some(pattern) = literal(term) else {
        return Err(Wrong::new(term.at, "a pattern must be a literal: it is compiled once"));
    };
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT).dfa_size_limit(PATTERN_LIMIT).build();
    built.map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Wrong::new(term.at, format!("the pattern {pattern:?}: {why}; accepted: RE2's syntax, as CEL has it"))
    })
}

fn cidr(term: &Term) -> Result<Network, Wrong> {
    let network = match &term.kind {
        Kind::Call { receiver: None, name, arguments } if name == "cidr" => arguments.first().and_then(literal),
        _ => None,
    };
    let Some(network) = network else {
        return Err(Wrong::new(
            term.at,
            "containsIP asks a network; accepted: cidr('192.0.2.0/24').containsIP(client)",
        ));
    };
    network.parse().map_err(|error: crate::wire::network::NetworkError| Wrong::new(term.at, error.to_string()))
}
