//! Where mailquotad does not do what Dovecot does: the deviations of `docs/dovecot-deviations.md` that a
//! recorded row can show. Each recognises the values that it is about by its own reading of them, not by
//! the parser's, and the error that it must lead to: a refusal for any other reason is a failure.

use mailquotad::quota::plugin::{PluginError, PluginFault};
use mailquotad::quota::quantity::QuantityFault;
use mailquotad::quota::roots::GraceFault;
use mailquotad::quota::rule::RuleFault;
use mailquotad::quota::warning::WarningFault;

use crate::replay::{Pass, Settings};

pub struct Deviation {
    pub name: &'static str,
    /// Whether the value of this setting is one that Dovecot takes and mailquotad refuses.
    pub concerns: fn(setting: Kind, value: &str) -> bool,
    pub refused: fn(&PluginError) -> bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Root,
    Rule,
    Warning,
    Grace,
    Other,
}

pub const ORDER: &str = "noenforcing-behind";

pub const REFUSALS: [Deviation; 10] = [
    Deviation {
        name: "trailing",
        concerns: |kind, value| quantities(kind, value).any(|q| q.unit_is_known() && q.trails()),
        refused: |error| matches!(quantity_fault(error), Some(QuantityFault::Trailing(_))),
    },
    Deviation {
        name: "too-large",
        concerns: |kind, value| quantities(kind, value).any(|q| q.wraps()),
        refused: |error| matches!(quantity_fault(error), Some(QuantityFault::TooLarge)),
    },
    Deviation {
        name: "large-percentage",
        concerns: |kind, value| quantities(kind, value).any(|q| q.percent().is_some_and(|p| p > i32::MAX.into())),
        refused: |error| matches!(quantity_fault(error), Some(QuantityFault::LargePercentage)),
    },
    Deviation {
        name: "two-signs",
        concerns: |kind, value| kind == Kind::Rule && value.contains("=+-"),
        refused: |error| matches!(rule_fault(error), Some(RuleFault::TwoSigns)),
    },
    Deviation {
        name: "negative-threshold",
        concerns: |kind, value| {
            kind == Kind::Warning && quantities(kind, value).any(|q| q.percent().is_some_and(|p| p < 0))
        },
        refused: |error| matches!(rule_fault(error), Some(RuleFault::NegativePart)),
    },
    Deviation {
        name: "no-threshold",
        concerns: |kind, value| kind == Kind::Warning && value.trim_start_matches(['+', '-']).starts_with(' '),
        refused: |error| matches!(warning_fault(error), Some(WarningFault::NoThreshold)),
    },
    Deviation {
        name: "blank-command",
        concerns: |kind, value| {
            let command = value.split_once(' ').map(|(_, command)| command);
            kind == Kind::Warning && command.is_some_and(|command| command.starts_with(' ') && command.trim() == "")
        },
        refused: |error| matches!(warning_fault(error), Some(WarningFault::NoCommand)),
    },
    Deviation {
        name: "negative-grace",
        concerns: |kind, value| kind == Kind::Grace && value.starts_with('-'),
        refused: |error| matches!(grace_fault(error), Some(GraceFault::Negative)),
    },
    Deviation {
        name: "empty-root",
        concerns: |kind, value| kind == Kind::Root && value.is_empty(),
        refused: |error| matches!(root_fault(error), Some(PluginFault::Empty)),
    },
    Deviation {
        name: "grace-words",
        concerns: |kind, value| kind == Kind::Grace && leading_number(value).is_none(),
        refused: |error| {
            matches!(grace_fault(error), Some(GraceFault::Quantity { fault: QuantityFault::NotANumber, .. }))
        },
    },
];

/// A row that Dovecot did not refuse.
pub fn refusal(settings: &Settings, error: &PluginError) -> Result<Pass, String> {
    listed(settings, error, |deviation| deviation.name != "grace-words")
}

/// A row that Dovecot refused in other words.
pub fn words(settings: &Settings, error: &PluginError) -> Result<Pass, String> {
    listed(settings, error, |_| true)
}

fn listed(settings: &Settings, error: &PluginError, may: fn(&Deviation) -> bool) -> Result<Pass, String> {
    let concerned = |deviation: &&Deviation| {
        settings.iter().any(|(name, value)| (deviation.concerns)(kind(name), value)) && (deviation.refused)(error)
    };
    let found = REFUSALS.iter().filter(|deviation| may(deviation)).find(concerned);
    found.map(|deviation| Pass::Deviation(deviation.name)).ok_or_else(|| format!("refused: {error}"))
}

/// Whether a `noenforcing` root stands behind one that is enforced. In Dovecot such a root, with a backend
/// that does not keep usage by itself, lifts the limits of those before it.
pub fn has_advisory_behind(settings: &Settings) -> bool {
    let roots = (1..).map(|n| if n == 1 { "quota".to_owned() } else { format!("quota{n}") });
    let roots = roots.map_while(|name| settings.get(&name));
    let advisory = |root: &&String| root.split(':').any(|argument| argument == "noenforcing");
    roots.skip_while(advisory).any(|root| advisory(&root))
}

fn kind(setting: &str) -> Kind {
    match setting.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "quota" => Kind::Root,
        name if !name.starts_with("quota") || name.contains("_over_") => Kind::Other,
        name if name.ends_with("_rule") => Kind::Rule,
        name if name.ends_with("_warning") => Kind::Warning,
        name if name.ends_with("_grace") => Kind::Grace,
        _ => Kind::Other,
    }
}

/// A number with what follows it, as it stands in a setting.
struct Quantity {
    number: i128,
    rest: String,
    plain: i128,
}

impl Quantity {
    fn factor(&self) -> Option<i128> {
        let unit = self.rest.chars().next().map(|c| c.to_ascii_uppercase());
        unit.map_or(Some(self.plain), |unit| "BKMGT".find(unit).map(|power| 1 << (10 * power)))
    }

    fn unit_is_known(&self) -> bool {
        self.rest.starts_with('%') || self.factor().is_some()
    }

    fn trails(&self) -> bool {
        let more = self.rest.get(1..).unwrap_or_default().to_ascii_lowercase();
        let byte_or_part = self.rest.starts_with(['%', 'b', 'B']);
        !more.is_empty() && (byte_or_part || !["i", "b", "ib"].contains(&&*more))
    }

    fn wraps(&self) -> bool {
        self.factor().is_some_and(|factor| i64::try_from(self.number * factor).is_err())
    }

    fn percent(&self) -> Option<i128> {
        self.rest.starts_with('%').then_some(self.number)
    }
}

/// The number of 63 bits and a sign at the head of `text`, and what follows it.
fn leading_number(text: &str) -> Option<(i64, &str)> {
    let sign = usize::from(text.starts_with('-'));
    let end = sign + text[sign..].chars().take_while(char::is_ascii_digit).count();
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn quantities(kind: Kind, value: &str) -> impl Iterator<Item = Quantity> {
    let texts: Vec<(String, i128)> = match kind {
        Kind::Grace => vec![(value.to_owned(), 1)],
        Kind::Rule | Kind::Warning => {
            let limits = if kind == Kind::Warning { value.split(' ').next().unwrap_or_default() } else { value };
            let named = limits.split(':').filter_map(|limit| limit.split_once('='));
            named
                .map(|(name, value)| {
                    let value = value.strip_prefix('+').unwrap_or(value);
                    (value.to_owned(), if name.ends_with("storage") { 1024 } else { 1 })
                })
                .collect()
        }
        Kind::Root | Kind::Other => Vec::new(),
    };
    texts.into_iter().filter_map(|(text, plain)| {
        let (number, rest) = leading_number(&text)?;
        Some(Quantity { number: number.into(), rest: rest.to_owned(), plain })
    })
}

fn root_fault(error: &PluginError) -> Option<&PluginFault> {
    match error {
        PluginError::Root { fault, .. } => Some(fault),
        _ => None,
    }
}

fn warning_fault(error: &PluginError) -> Option<&WarningFault> {
    match root_fault(error)? {
        PluginFault::Warning(error) => Some(&error.fault),
        _ => None,
    }
}

fn grace_fault(error: &PluginError) -> Option<&GraceFault> {
    match root_fault(error)? {
        PluginFault::Grace { fault, .. } => Some(fault),
        _ => None,
    }
}

fn rule_fault(error: &PluginError) -> Option<&RuleFault> {
    match (root_fault(error)?, warning_fault(error)) {
        (PluginFault::Rule(error), _) => Some(&error.fault),
        (_, Some(WarningFault::Limits(fault))) => Some(fault),
        _ => None,
    }
}

fn quantity_fault(error: &PluginError) -> Option<&QuantityFault> {
    match (rule_fault(error), grace_fault(error)) {
        (Some(RuleFault::Quantity { fault, .. }), _) => Some(fault),
        (_, Some(GraceFault::Quantity { fault, .. })) => Some(fault),
        _ => None,
    }
}
