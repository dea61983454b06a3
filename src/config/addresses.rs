//! Where services listen: two of them cannot at one address, and a unix socket's path has an end. The one to start would
//! be told so by the system, in its words.

use std::net::IpAddr;

use super::Config;
use super::reader::Section;
use crate::service::socket::LONGEST_PATH;
use crate::wire::endpoint::Endpoint;

/// Refuses an address that a service before it has already, and one that nobody can have.
pub(super) fn check(root: &Section, config: &Config) {
    let socket = [Endpoint::Unix(config.http.socket.clone())];
    let all: [(&str, &str, &[Endpoint]); 6] = [
        ("policy", "listen", &config.policy.listen),
        ("lookup", "listen", &config.lookup.listen),
        ("dovecot", "listen", &config.dovecot.listen),
        ("warnings", "listen", &config.warnings.listen),
        ("http", "listen", &config.http.listen),
        ("http", "socket", &socket),
    ];
    let all = all.iter().flat_map(|(name, key, at)| at.iter().map(move |at| (*name, *key, at)));
    let mut taken: Vec<(&str, &str, &Endpoint)> = Vec::new();
    for (name, key, at) in all {
        if let Endpoint::Unix(path) = at
            && path.as_os_str().len() > LONGEST_PATH
        {
            let what = format!("`{at}` is longer than the path of a socket may be; accepted: {LONGEST_PATH} bytes");
            root.section(name).refuse(key, what);
        }
        let Some((other_name, other_key, other)) = taken.iter().copied().find(|(.., other)| clash(at, other)) else {
            taken.push((name, key, at));
            continue;
        };
        let refuse = |name: &str, key: &str, at: &Endpoint, by: String, other: &Endpoint| {
            let shown = if at == other { String::new() } else { format!(" (`{other}`)") };
            let what = format!("`{at}` is taken by {by}{shown}; accepted: an address that nothing else listens at");
            root.section(name).refuse(key, what);
        };
        // A default is not where the mistake was made.
        match root.section(name).is_set(key) {
            true => refuse(name, key, at, format!("{other_name}.{other_key}"), other),
            false => refuse(other_name, other_key, other, format!("{name}.{key}"), at),
        }
    }
}

fn clash(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix(one), Endpoint::Unix(other)) => one == other,
        (Endpoint::Tcp { host: one, port: at }, Endpoint::Tcp { host: other, port }) => {
            // Port 0 lets the system choose, each time another one.
            at == port
                && *at != 0
                && (one.eq_ignore_ascii_case(other)
                    || numbers(one).is_some() && numbers(one) == numbers(other)
                    || takes(one, other)
                    || takes(other, one))
        }
        _ => false,
    }
}

/// Whether who listens at `every` has taken `host` as well. `[::]` takes IPv4 too: see `Bound::bind`.
fn takes(every: &str, host: &str) -> bool {
    match numbers(every) {
        Some(IpAddr::V6(every)) => every.is_unspecified(),
        Some(IpAddr::V4(every)) => every.is_unspecified() && numbers(host).is_some_and(|host| host.is_ipv4()),
        None => false,
    }
}

/// IPv4 in the clothes of IPv6 is IPv4 (RFC 4291 section 2.5.5.2). A name may stand for anything.
fn numbers(host: &str) -> Option<IpAddr> {
    host.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_clashes_with_itself_and_with_every_address() {
        for (one, other, clashes) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("192.0.2.1:1", "127.0.0.1:1", false),
            ("[::1]:1", "0.0.0.0:1", false),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "localhost:1", true),
            ("[::]:1", "[::]:2", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("[::ffff:127.0.0.1]:1", "0.0.0.0:1", true),
            ("[0:0::1]:1", "[::1]:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
            ("Localhost:1", "localhost:1", true),
            ("unix:/run/a", "unix:/run//a", true),
            ("unix:/run/a", "unix:/run/b", false),
            ("unix:/run/a", "127.0.0.1:1", false),
        ] {
            let (one, other): (Endpoint, Endpoint) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((clash(&one, &other), clash(&other, &one)), (clashes, clashes), "{one} and {other}");
        }
    }
}
