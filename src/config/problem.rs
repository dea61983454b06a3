//! What is wrong with a configuration: everything at once, each with its place.

use std::fmt;
use std::path::PathBuf;

/// One fault. Printed as `place: key: what is wrong, what is accepted`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `file:line`, or the name of an environment variable.
    pub place: String,
    /// The key as it is written in the documents (`enforcement.threshold`); empty for a syntax error.
    pub key: String,
    /// What is wrong and what is accepted.
    pub what: String,
}

impl Problem {
    /// Orders problems as a reader of the file meets them.
    pub(super) fn position(&self) -> (&str, u32, &str) {
        let (file, line) = self.place.rsplit_once(':').unwrap_or((&self.place, ""));
        (file, line.parse().unwrap_or(0), &self.key)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_empty() {
            true => write!(f, "{}: {}", self.place, self.what),
            false => write!(f, "{}: {}: {}", self.place, self.key, self.what),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {why}; name another file with -c FILE or MAILQUOTAD_CONFIG", file.display())]
    Unreadable { file: PathBuf, why: std::io::Error },
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

/// The known name that was probably meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = wrong.chars().count() / 3 + 1;
    let measured = known.map(|name| (distance(wrong, name), name));
    measured.filter(|(distance, _)| *distance <= near).min().map(|(_, name)| name)
}

/// Levenshtein's distance: letters inserted, left out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let known = ["threshold", "grace_period", "grace_starts"];
        let nearest = |wrong| nearest(wrong, known.into_iter());
        assert_eq!(nearest("treshold"), Some("threshold"));
        assert_eq!(nearest("graceperiod"), Some("grace_period"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
