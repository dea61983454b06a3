//! From a path back to the address whose mailbox lies there. Possible where a template names the address, or
//! both of its parts, each alone in its level of the path: then there is one answer, found without a search and
//! without an index of all accounts.

use super::{Part, Template};

/// What stands around the one variable of a level.
struct Level<'a> {
    before: &'a str,
    variable: Option<&'a Part>,
    after: &'a str,
}

impl Template {
    /// Whether [`address_of`](Template::address_of) can tell.
    pub fn reversible(&self) -> bool {
        let has = |part: &Part| self.0.contains(part);
        let plain = self.0.iter().all(|part| !matches!(part, Part::Attribute(_)));
        plain && (has(&Part::Address) || has(&Part::Local) && has(&Part::Domain)) && self.by_level().is_some()
    }

    /// How many levels an expanded path has; `None` where a value may bring some of its own.
    pub fn depth(&self) -> Option<usize> {
        let literal = |part: &Part| match part {
            Part::Literal(literal) => literal.matches('/').count(),
            _ => 0,
        };
        self.leading_attribute().is_none().then(|| self.0.iter().map(literal).sum())
    }

    /// The address that the template makes `path` of, if there is one and it is [`reversible`](Template::reversible).
    pub fn address_of(&self, path: &str) -> Option<String> {
        let (mut address, mut local, mut domain) = (None, None, None);
        let mut levels = self.by_level()?.into_iter();
        for found in path.split('/') {
            let level = levels.next()?;
            let value = found.strip_prefix(level.before)?.strip_suffix(level.after)?;
            let known = match level.variable {
                None if value.is_empty() => continue,
                None => return None,
                Some(Part::Address) => &mut address,
                Some(Part::Local) => &mut local,
                Some(_) => &mut domain,
            };
            if value.is_empty() || known.is_some_and(|known| known != value) {
                return None;
            }
            *known = Some(value);
        }
        let address = match (address, local, domain) {
            (Some(address), ..) => address.to_owned(),
            (None, Some(local), Some(domain)) => format!("{local}@{domain}"),
            _ => return None,
        };
        // Where a template names the address and a part of it, they must agree; and what a value may not hold counts.
        let same = levels.next().is_none() && self.expand(&address, |_| None).is_ok_and(|made| made == path);
        same.then_some(address)
    }

    /// The levels of the path, if none has two variables.
    fn by_level(&self) -> Option<Vec<Level<'_>>> {
        let mut levels = vec![Level { before: "", variable: None, after: "" }];
        for part in &self.0 {
            let Part::Literal(literal) = part else {
                let last = levels.last_mut()?;
                if last.variable.replace(part).is_some() {
                    return None;
                }
                continue;
            };
            for (at, text) in literal.split('/').enumerate() {
                if at > 0 {
                    levels.push(Level { before: "", variable: None, after: "" });
                }
                let last = levels.last_mut()?;
                match last.variable {
                    None => last.before = text,
                    Some(_) => last.after = text,
                }
            }
        }
        Some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_leads_back_to_its_address() {
        for (template, path, address) in [
            ("/var/mail/%d/%n/Maildir", "/var/mail/example.org/anna/Maildir", Some("anna@example.org")),
            ("/var/mail/%d/%n/Maildir", "/var/mail/example.org/anna/Maildir/.Sent", None),
            ("/var/mail/%d/%n/Maildir", "/var/mail/example.org/anna", None),
            ("/var/mail/%d/%n/Maildir", "/srv/mail/example.org/anna/Maildir", None),
            ("/var/mail/%d/%n/Maildir", "/var/mail//anna/Maildir", None),
            ("/m/%u", "/m/a@b@c", Some("a@b@c")),
            ("/m/u-%u.d", "/m/u-anna@example.org.d", Some("anna@example.org")),
            ("/m/%d/%u", "/m/example.org/anna@example.org", Some("anna@example.org")),
            ("/m/%d/%u", "/m/example.com/anna@example.org", None),
            ("/m/%d/%n", "/m/../anna", None),
            // An address without a domain is nobody's.
            ("/m/%d/%u", "/m/anna/anna", None),
        ] {
            let template: Template = template.parse().unwrap();
            assert!(template.reversible());
            assert_eq!(template.address_of(path).as_deref(), address, "{template} {path}");
        }
    }

    #[test]
    fn some_templates_do_not_tell() {
        for (template, depth) in [
            ("/m/%n", Some(2)),
            ("/m/%d-%n", Some(2)),
            ("/m/%{uid}/%u", Some(3)),
            ("%{homeDirectory}/Maildir", None),
            ("/var/mail", Some(2)),
        ] {
            let template: Template = template.parse().unwrap();
            assert!(!template.reversible(), "{template}");
            assert_eq!(template.depth(), depth, "{template}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(local in "[a-z.@-]{1,8}", domain in "[a-z.-]{1,8}", which in 0..4_usize) {
            let template = ["/v/%d/%n/Maildir", "/v/%u", "/a%d.b/x/%n", "/%u/m/"][which];
            let template: Template = template.parse().unwrap();
            let address = format!("{local}@{domain}");
            if let Ok(path) = template.expand(&address, |_| None) {
                prop_assert_eq!(template.address_of(&path), Some(address));
            }
        }
    }
}
