use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn pools(ranges: &[&str]) -> Pools {
    let ranges: Vec<IpNetwork> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    Pools::new(&ranges).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn network_gateway_and_broadcast_are_never_handed_out_and_exhaustion_names_the_range() {
    let mut pools = pools(&["10.0.0.0/29"]);
    let taken: Vec<IpAddr> = (0..5).flat_map(|_| pools.take(&[]).unwrap()).collect();
    let all = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    assert_eq!(taken, addresses(&all));
    let error = pools.take(&[]).unwrap_err();
    assert_eq!(error.code, code::EXHAUSTED);
    assert!(error.message.contains("10.0.0.0/29"), "{error}");
    assert_eq!(pools.check().unwrap_err(), error);
    pools.release(&taken[2..3]);
    assert_eq!(pools.check(), Ok(()));
    assert_eq!(pools.take(&[]).unwrap(), taken[2..3]);
}

#[test]
fn the_search_goes_on_behind_the_last_one() {
    let mut pools = pools(&["10.0.0.0/24"]);
    let first = pools.take(&[]).unwrap();
    pools.release(&first);
    assert_eq!(pools.take(&[]).unwrap(), addresses(&["10.0.0.3"]));
    pools.restore(&addresses(&["10.0.0.254"]));
    assert_eq!(pools.take(&[]).unwrap(), first, "around the end");
}

#[test]
fn both_families_are_given_or_none() {
    let mut pools = pools(&["10.0.0.0/30", "fd00::/120"]);
    assert_eq!(pools.take(&[]).unwrap(), addresses(&["10.0.0.2", "fd00::2"]));
    pools.take(&[]).unwrap_err();
    assert_eq!(pools.fill()[1].taken, 1, "nothing of the other family");
    assert_eq!(pools.gateway(false), Some("fd00::1".parse().unwrap()));
}

#[test]
fn requested_addresses_are_given_if_they_are_free_and_ours() {
    let mut pools = pools(&["10.0.0.0/24", "fd00::/64"]);
    let given = pools.take(&addresses(&["fd00::99"])).unwrap();
    assert_eq!(given, addresses(&["10.0.0.2", "fd00::99"]));
    let rows = [
        (vec!["fd00::99"], "taken"),
        (vec!["10.0.0.1"], "no pod's address"),
        (vec!["10.0.0.255"], "no pod's address"),
        (vec!["192.0.2.7"], "no pod's address"),
        (vec!["10.0.0.7", "10.0.0.8"], "another of its family"),
    ];
    for (asked, why) in rows {
        let error = pools.take(&addresses(&asked)).unwrap_err();
        assert_eq!(error.code, code::ADDRESS);
        assert!(error.message.contains(why), "{error}");
    }
    assert_eq!(pools.fill()[0].taken, 1);
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    for range in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127"] {
        let range: IpNetwork = range.parse().unwrap();
        assert_eq!(Pools::new(&[range]).unwrap_err(), RangeError::Small(range));
    }
    let two = ["10.0.0.0/24", "10.0.1.0/24"].map(|range| range.parse().unwrap());
    assert_eq!(Pools::new(&two).unwrap_err(), RangeError::Second(two[1]));
    assert_eq!(pools(&[]).take(&[]).unwrap_err().code, code::EXHAUSTED);
    assert!(pools(&["::/0"]).take(&[]).is_ok(), "the largest");
}

proptest! {
    #[test]
    fn no_address_is_given_twice(steps in prop::collection::vec(any::<(bool, u8)>(), 1..200)) {
        let mut pools = pools(&["10.0.0.0/28", "fd00::/64"]);
        let mut held: Vec<Vec<IpAddr>> = Vec::new();
        for (give, which) in steps {
            if give {
                let free = held.len() < 13;
                let given = pools.take(&[]);
                prop_assert_eq!(given.is_ok(), free);
                held.extend(given);
            } else if !held.is_empty() {
                let back = held.swap_remove(usize::from(which) % held.len());
                pools.release(&back);
            }
            let all: Vec<IpAddr> = held.iter().flatten().copied().collect();
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            prop_assert!(all.iter().all(|&address| pools.is_taken(address)));
        }
    }
}
