//! What parses prints to the same network, and an IPv4 address is the same in IPv6 clothes.

#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::network::Network;

fuzz_target!(|input: (&str, u32)| {
    let (text, address) = input;
    let Ok(network) = text.parse::<Network>() else { return };
    assert_eq!(network.to_string().parse(), Ok(network));
    let address = Ipv4Addr::from(address);
    assert_eq!(network.contains(address.into()), network.contains(address.to_ipv6_mapped().into()));
    if let Some(Ok(own)) = text.split('/').next().map(str::parse) {
        assert!(network.contains(own), "{network} {own}");
    }
});
