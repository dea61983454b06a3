//! Dovecot's wildcard masks: `*` stands for any run of characters, `/` among them, and `?` for one.

use std::fmt;

/// A mask as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mask(Box<str>);

impl Mask {
    pub fn new(mask: &str) -> Mask {
        Mask(mask.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` fits, upper and lower case being different.
    pub fn fits(&self, name: &str) -> bool {
        fits(&self.0, name, |a, b| a == b)
    }

    /// The same where the case of ASCII letters does not matter.
    pub fn fits_in_any_case(&self, name: &str) -> bool {
        fits(&self.0, name, |a, b| a.eq_ignore_ascii_case(&b))
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Goes back to the last `*` only, never to one before it: what an earlier `*` could still give, the
/// last one can give as well. So the time is at most the product of the lengths, whatever the mask.
fn fits(mask: &str, name: &str, same: impl Fn(char, char) -> bool) -> bool {
    let (mut mask, mut name) = (mask.chars(), name.chars());
    let mut star = None;
    loop {
        let here = name.clone();
        match (mask.next(), name.next()) {
            (Some('*'), _) => {
                star = Some((mask.clone(), here.clone()));
                name = here;
            }
            (Some(wanted), Some(found)) if wanted == '?' || same(wanted, found) => {}
            (None, None) => return true,
            _ => {
                let Some((after, taken)) = &mut star else { return false };
                if taken.next().is_none() {
                    return false;
                }
                (mask, name) = (after.clone(), taken.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_takes_separators_too_and_a_question_mark_exactly_one_character() {
        for (mask, name, fit) in [
            ("Sub/*", "Sub/a/b", true),
            ("Sub/*", "Sub", false),
            ("box*", "box", true),
            ("box*", "Box", false),
            ("x?z", "xyz", true),
            ("x?z", "xyyz", false),
            ("x?z", "xz", false),
            ("*ra?h", "Trash", true),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axbxbx", false),
            ("**", "", true),
            ("?", "", false),
            ("", "", true),
            ("", "a", false),
            ("M?ll", "Müll", true),
        ] {
            assert_eq!(Mask::new(mask).fits(name), fit, "{mask} {name}");
        }
        assert!(Mask::new("*tru?*").fits_in_any_case("xTRUEx"));
        assert!(!Mask::new("TRU?").fits_in_any_case("TRU"));
    }

    /// The definition, in exponential time.
    fn by_definition(mask: &[char], name: &[char]) -> bool {
        match (mask, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|taken| by_definition(rest, &name[taken..])),
            ([wanted, rest @ ..], [found, others @ ..]) => {
                (*wanted == '?' || wanted == found) && by_definition(rest, others)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(mask in "[ab*?]{0,7}", name in "[ab]{0,7}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Mask::new(&mask).fits(&name), by_definition(&chars(&mask), &chars(&name)));
        }
    }
}
