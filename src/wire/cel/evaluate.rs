//! Evaluation of a checked expression.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::check::{Node, Test};
use super::parser::Operator;
use super::{Fault, Scope, Value};

pub(super) fn value<'a>(node: &'a Node, scope: &'a impl Scope) -> Result<Value<'a>, Fault> {
    Ok(match node {
        Node::Bool(flag) => Value::Bool(*flag),
        Node::Int(number) => Value::Int(*number),
        Node::Text(text) => Value::Text(Cow::Borrowed(text)),
        Node::Variable(number) => scope.value(*number),
        Node::List(elements) => Value::List(elements.iter().map(|part| value(part, scope)).collect::<Result<_, _>>()?),
        Node::Not(inner) => Value::Bool(!flag(inner, scope)?),
        Node::Negate(inner) => Value::Int(int(inner, scope)?.checked_neg().ok_or(Fault::Overflow)?),
        Node::Or(parts) => Value::Bool(decided(parts, scope, true)?),
        Node::And(parts) => Value::Bool(decided(parts, scope, false)?),
        Node::Choice(parts) => {
            let [condition, then, otherwise] = &**parts;
            return value(if flag(condition, scope)? { then } else { otherwise }, scope);
        }
        Node::Index(parts) => index(&parts[0], &parts[1], scope)?,
        Node::Binary(operator, sides) => binary(*operator, &sides[0], &sides[1], scope)?,
        Node::Test(test, sides) => {
            let (whole, part) = (text(&sides[0], scope)?, text(&sides[1], scope)?);
            Value::Bool(match test {
                Test::Starts => whole.starts_with(&*part),
                Test::Ends => whole.ends_with(&*part),
                Test::Contains => whole.contains(&*part),
            })
        }
        Node::Matches(inner, regex) => Value::Bool(regex.is_match(&text(inner, scope)?)),
        // Postfix says "unknown" where there is no address: that is in no network.
        Node::Inside(inner, network) => {
            Value::Bool(text(inner, scope)?.parse().is_ok_and(|address| network.contains(address)))
        }
        Node::Size(inner) => {
            let count = match value(inner, scope)? {
                Value::Text(text) => text.chars().count(),
                Value::List(elements) => elements.len(),
                _ => return Err(Fault::Type),
            };
            Value::Int(i64::try_from(count).map_err(|_| Fault::Overflow)?)
        }
        Node::Lower(inner) => {
            let text = text(inner, scope)?;
            match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => Value::Text(Cow::Owned(text.to_ascii_lowercase())),
                false => Value::Text(text),
            }
        }
    })
}

/// A chain of `||` (decided by `true`) or `&&` (by `false`). A part that decides does so whether it stands before
/// or behind one that has no value.
fn decided(parts: &[Node], scope: &impl Scope, by: bool) -> Result<bool, Fault> {
    let mut fault = None;
    for part in parts {
        match flag(part, scope) {
            Ok(found) if found == by => return Ok(by),
            Ok(_) => {}
            Err(found) => fault = fault.or(Some(found)),
        }
    }
    fault.map_or(Ok(!by), Err)
}

fn flag(node: &Node, scope: &impl Scope) -> Result<bool, Fault> {
    match value(node, scope)? {
        Value::Bool(flag) => Ok(flag),
        _ => Err(Fault::Type),
    }
}

fn int(node: &Node, scope: &impl Scope) -> Result<i64, Fault> {
    match value(node, scope)? {
        Value::Int(number) => Ok(number),
        _ => Err(Fault::Type),
    }
}

fn text<'a>(node: &'a Node, scope: &'a impl Scope) -> Result<Cow<'a, str>, Fault> {
    match value(node, scope)? {
        Value::Text(text) => Ok(text),
        _ => Err(Fault::Type),
    }
}

fn index<'a>(list: &'a Node, at: &'a Node, scope: &'a impl Scope) -> Result<Value<'a>, Fault> {
    let Value::List(elements) = value(list, scope)? else { return Err(Fault::Type) };
    let at = usize::try_from(int(at, scope)?).map_err(|_| Fault::Index)?;
    elements.into_iter().nth(at).ok_or(Fault::Index)
}

fn binary<'a>(operator: Operator, left: &'a Node, right: &'a Node, scope: &'a impl Scope) -> Result<Value<'a>, Fault> {
    let left = value(left, scope)?;
    // By far the commonest list is one that is written down: it is searched where it stands.
    if let (Operator::In, Node::List(elements)) = (operator, right) {
        for element in elements {
            if value(element, scope)? == left {
                return Ok(Value::Bool(true));
            }
        }
        return Ok(Value::Bool(false));
    }
    let right = value(right, scope)?;
    let order = |fits: fn(Ordering) -> bool| order(&left, &right).map(|order| Value::Bool(fits(order)));
    match operator {
        Operator::Equal => Ok(Value::Bool(left == right)),
        Operator::Unequal => Ok(Value::Bool(left != right)),
        Operator::Less => order(Ordering::is_lt),
        Operator::AtMost => order(Ordering::is_le),
        Operator::Greater => order(Ordering::is_gt),
        Operator::AtLeast => order(Ordering::is_ge),
        Operator::In => match right {
            Value::List(elements) => Ok(Value::Bool(elements.contains(&left))),
            _ => Err(Fault::Type),
        },
        Operator::Add => match (left, right) {
            (Value::Text(left), Value::Text(right)) => Ok(Value::Text(left + right)),
            (Value::List(mut left), Value::List(right)) => {
                left.extend(right);
                Ok(Value::List(left))
            }
            (Value::Int(left), Value::Int(right)) => left.checked_add(right).map(Value::Int).ok_or(Fault::Overflow),
            _ => Err(Fault::Type),
        },
        Operator::Subtract => numbers(left, right, i64::checked_sub),
        Operator::Multiply => numbers(left, right, i64::checked_mul),
        Operator::Divide | Operator::Remainder if right == Value::Int(0) => Err(Fault::DivisionByZero),
        Operator::Divide => numbers(left, right, i64::checked_div),
        Operator::Remainder => numbers(left, right, i64::checked_rem),
    }
}

fn numbers<'a>(left: Value<'a>, right: Value<'a>, reckon: fn(i64, i64) -> Option<i64>) -> Result<Value<'a>, Fault> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => reckon(left, right).map(Value::Int).ok_or(Fault::Overflow),
        _ => Err(Fault::Type),
    }
}

fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, Fault> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        // By code points, which is the order of their bytes in UTF-8.
        (Value::Text(left), Value::Text(right)) => Ok(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Ok(left.cmp(right)),
        _ => Err(Fault::Type),
    }
}
