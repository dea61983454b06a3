//! Networks as an admin writes them: `192.0.2.0/24`, `2001:db8::/32`, a single address without a length.
//!
//! An address is looked up for every request, so a network is kept as a number and a mask. An IPv4 address in
//! IPv6 clothes (`::ffff:192.0.2.1`, as a dual-stack socket reports it) is the IPv4 address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {fault}; accepted: an address, or a network as in 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetworkError {
    pub text: String,
    pub fault: &'static str,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same_start(network.to_bits().into(), address.to_bits().into(), 32, self.length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same_start(network.to_bits(), address.to_bits(), 128, self.length)
            }
            _ => false,
        }
    }
}

/// Whether the first `length` of `width` bits are the same.
fn same_start(a: u128, b: u128, width: u8, length: u8) -> bool {
    (a ^ b).checked_shr(u32::from(width.saturating_sub(length))).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let fail = |fault| NetworkError { text: text.into(), fault };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fail("is no address"))?;
        let address = if length.is_none() { address.to_canonical() } else { address };
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|length| *length <= width)
                .ok_or_else(|| fail("is longer than an address"))?,
            Some(_) => return Err(fail("has no number of bits after its /")),
        };
        // A typing error in the address of a network would let in whom nobody meant.
        let bits = match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let host = 1u128.checked_shl(u32::from(width - length)).map_or(u128::MAX, |size| size - 1);
        if bits & host != 0 {
            return Err(fail("has bits set behind its length"));
        }
        Ok(Network { address, length })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9") && contains("::ffff:192.0.2.9", "192.0.2.9"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("0.0.0.0/0", "203.0.113.5") && !contains("0.0.0.0/0", "::1") && contains("::/0", "::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "x", "192.0.2.0/33", "192.0.2.1/24", "192.0.2.0/", "192.0.2.0/-1", "::1/129", "192.0.2/24"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_again_gives_the_same(bits: u32, length in 0u8..=32) {
            let kept = (u64::from(bits) >> (32 - length) << (32 - length)) as u32;
            let network: Network = format!("{}/{length}", std::net::Ipv4Addr::from_bits(kept)).parse().unwrap();
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
            prop_assert!(network.contains(std::net::Ipv4Addr::from_bits(bits).into()));
        }
    }
}
