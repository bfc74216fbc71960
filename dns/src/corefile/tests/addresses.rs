//! What addresses become.

use super::cases::good;
use crate::corefile::address::{Scheme, reverse_zones};

fn zones(network: &str) -> Vec<String> {
    let (address, mask) = network.split_once('/').expect("a network");
    let zones =
        reverse_zones(address.parse().expect("an address"), mask.parse().expect("a number"));
    zones.expect("the mask is right").iter().map(ToString::to_string).collect()
}

#[test]
fn a_network_is_the_reverse_zones_that_cover_it() {
    for (network, want) in [
        ("10.0.0.0/8", vec!["10.in-addr.arpa."]),
        ("0.0.0.0/0", vec!["in-addr.arpa."]),
        ("10.1.2.3/32", vec!["3.2.1.10.in-addr.arpa."]),
        ("10.0.0.0/15", vec!["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]),
        ("192.168.1.1/23", vec!["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."]),
        ("2001:db8::/32", vec!["8.b.d.0.1.0.0.2.ip6.arpa."]),
        ("2001:db8::/31", vec!["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."]),
        ("::/0", vec!["ip6.arpa."]),
    ] {
        assert_eq!(zones(network), want, "{network}");
    }
    let many = zones("10.0.0.0/17");
    assert_eq!(
        (many.len(), &*many[0], &*many[127]),
        (128, "0.0.10.in-addr.arpa.", "127.0.10.in-addr.arpa.")
    );
    assert_eq!(reverse_zones("10.0.0.0".parse().expect("an address"), 33), None);
    assert_eq!(reverse_zones("::".parse().expect("an address"), 129), None);
}

#[test]
fn an_explicit_port_is_kept_and_a_missing_one_left_to_the_command_line() {
    let checked = good("example.org:1053 dns://10.0.0.0/9 {\nwhoami\n}\n");
    let [first, second] = checked.servers[0].addresses.as_slice() else { panic!("two addresses") };
    assert_eq!(
        (first.scheme, first.port, first.zones[0].as_str()),
        (Scheme::Dns, Some(1053), "example.org.")
    );
    assert_eq!((second.port, second.zones.len()), (None, 128));
    let served: Vec<_> = checked.servers[0].served(5353).collect();
    assert_eq!((served[0].2, served[1].2, served.len()), (1053, 5353, 129));
}

#[test]
fn encrypted_schemes_have_ports_of_their_own() {
    let ports =
        [Scheme::Dns, Scheme::Tls, Scheme::Quic, Scheme::Grpc, Scheme::Https, Scheme::Https3];
    assert_eq!(ports.map(|scheme| scheme.port(1053)), [1053, 853, 853, 443, 443, 443]);
}
