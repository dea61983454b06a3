//! How the values of single keys are read. Each function returns the value, or what is wrong and what is
//! accepted.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::quota::Units;
use crate::quota::verdict::Allowance;
use crate::wire::endpoint::Endpoint;
use crate::wire::filter::Filter;

use super::store::Url;

type Parsed<T> = Result<T, String>;

/// What reads itself, with errors that say what is accepted.
pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Parsed<T> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn absolute(text: &str) -> Parsed<PathBuf> {
    match text.starts_with('/') && !text.contains('\0') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("`{text}` is no absolute path; accepted: a path that begins with /")),
    }
}

pub(super) fn any(text: &str) -> Parsed<String> {
    match text.is_empty() || text.contains(['\0', '\n', '\r']) {
        true => Err("is empty or holds a control character; accepted: a text of one line".into()),
        false => Ok(text.to_owned()),
    }
}

/// `90s`, `15m`, `120h`, `7d`; `250ms` where that makes sense.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let accepted =
        || format!("`{text}` is no duration; accepted: a number and ms, s, m, h or d, as in 90s, 15m, 120h, 7d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| accepted())?;
    let millis = match &text[end..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(accepted()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(accepted)
}

/// A duration that is not nothing.
pub(super) fn delay(text: &str) -> Parsed<Duration> {
    let delay = duration(text)?;
    match delay.is_zero() {
        true => Err(format!("`{text}` is no time at all; accepted: at least 1ms")),
        false => Ok(delay),
    }
}

/// A delay, or `never`: what would be done after it is not done at all.
pub(super) fn delay_or_never(text: &str) -> Parsed<Option<Duration>> {
    match text {
        "never" => Ok(None),
        text => delay(text).map(Some).map_err(|why| format!("{why}; or never")),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Clone>(words: &[(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        found.ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("`{text}` is not accepted; accepted: {}", words.join(", "))
        })
    }
}

/// Bytes; `-1` is no limit. Nothing at all would refuse every message, so it is taken for a mistake.
pub(super) fn maximum(units: Units) -> impl Fn(&str) -> Parsed<Option<u64>> {
    move |text| match (text, units.parse(text)) {
        ("-1", _) => Ok(None),
        (_, Ok(0)) => Err("`0` would refuse every message; accepted: a size as in 50M, or -1 for no limit".into()),
        (_, Ok(bytes)) => Ok(Some(bytes)),
        (_, Err(error)) => Err(format!("`{text}`, at character {}: {}", error.at + 1, error.fault)),
    }
}

/// A plain number is refused: it is more often a forgotten percent sign than a count of bytes.
pub(super) fn allowance(units: Units) -> impl Fn(&str) -> Parsed<Allowance> {
    move |text| {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let allowance = match (text, text.strip_suffix('%')) {
            ("none", _) => Some(Allowance::None),
            ("one-message", _) => Some(Allowance::OneMessage),
            (_, Some(percent)) if digits(percent) => percent.parse().ok().map(Allowance::Percent),
            _ if digits(text) => None,
            _ => units.parse(text).ok().map(Allowance::Bytes),
        };
        let wrong =
            || format!("`{text}` is no allowance; accepted: none, one-message, a part as in 10%, a size as in 50M");
        allowance.ok_or_else(wrong)
    }
}

/// The rights of a socket, in octal.
pub(super) fn mode(text: &str) -> Parsed<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| (0o600..=0o777).contains(mode) && text.len() <= 4);
    mode.ok_or_else(|| format!("`{text}` is no mode that leaves the socket usable; accepted: octal from 0600 to 0777"))
}

/// The name of a group; whether it exists is seen when the socket is made.
pub(super) fn group(text: &str) -> Parsed<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no name of a group; accepted: a name as in postfix"))
}

/// The name of a user of this machine, or its number; whether there is one is seen at the start.
pub(super) fn user(text: &str) -> Parsed<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    fits.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no name of a user; accepted: a name as in vmail"))
}

pub(super) fn filter(text: &str) -> Parsed<Filter> {
    let as_in = |error: String| match error.contains("accepted: ") {
        true => error,
        false => format!("{error}; accepted: an LDAP filter, as in (objectClass=inetMailUser)"),
    };
    Filter::parse(text).map_err(|error| as_in(error.to_string()))
}

/// An amount of memory.
pub(super) fn memory(text: &str) -> Parsed<u64> {
    const LEAST: u64 = 1 << 20;
    let bytes = Units::Binary.parse(text).ok().filter(|bytes| *bytes >= LEAST);
    bytes.ok_or_else(|| format!("`{text}` is no amount of memory; accepted: 1M and more, as in 128M"))
}

/// The name of an LDAP attribute (RFC 4512 section 1.4), options included.
pub(super) fn attribute(text: &str) -> Parsed<String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-;.".contains(&b));
    let fits = letters && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no attribute; accepted: a name as in mailQuota"))
}

pub(super) fn ldap_url(text: &str) -> Parsed<String> {
    let known = ["ldap://", "ldaps://", "ldapi://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    });
    known.then(|| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is no address of a server; accepted: ldap://, ldaps:// or ldapi:// and a host")
    })
}

pub(super) fn http_url(text: &str) -> Parsed<Url> {
    let wrong = || format!("`{text}` is not accepted; accepted: http://host:port/path or https://host:port/path");
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(wrong()),
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, "doveadm/v1"));
    if path.contains(|c: char| c.is_control() || c == ' ') {
        return Err(wrong());
    }
    let port = if tls { 443 } else { 80 };
    let place = if place.contains(':') && !place.ends_with(']') { place.to_owned() } else { format!("{place}:{port}") };
    match place.parse() {
        Ok(Endpoint::Tcp { host, port }) if !place.starts_with("inet:") => {
            Ok(Url { tls, host, port, path: format!("/{path}").into() })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(text).map(|d| d.as_secs());
        assert_eq!([seconds("90s"), seconds("15m"), seconds("120h")], [Ok(90), Ok(900), Ok(432_000)]);
        assert_eq!([seconds("7d"), seconds("0s"), seconds("2500ms")], [Ok(604_800), Ok(0), Ok(2)]);
        for bad in
            ["", "5", "h", "-1s", "1.5h", "1h30m", "5 s", "5S", "999999999999999999d", "99999999999999999999s", "５s"]
        {
            assert!(duration(bad).unwrap_err().contains("accepted: a number and ms, s, m, h or d"), "{bad}");
        }
        assert!(delay("0m").is_err());
    }

    #[test]
    fn allowances() {
        let read = allowance(Units::Binary);
        assert_eq!(read("none"), Ok(Allowance::None));
        assert_eq!(read("one-message"), Ok(Allowance::OneMessage));
        assert_eq!(read("10%"), Ok(Allowance::Percent(10)));
        assert_eq!(read("50M"), Ok(Allowance::Bytes(50 << 20)));
        for bad in ["", "%", "10", "-1", "-5%", "10 %", "10%%", "99999999999%", "some"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn attributes_and_modes() {
        assert!(attribute("mailQuota;x-1").is_ok() && attribute("").is_err() && attribute("a b").is_err());
        assert_eq!((mode("0660"), mode("666")), (Ok(0o660), Ok(0o666)));
        for bad in ["", "0", "0999", "01777", "rw", "00000660"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!((maximum(Units::Binary)("50M"), maximum(Units::Binary)("-1")), (Ok(Some(50 << 20)), Ok(None)));
        assert!(maximum(Units::Binary)("0").is_err() && maximum(Units::Binary)("1X").is_err());
    }
}
