//! The address rule, row by row.
//!
//! `tests/data/ip-cases.tsv` was drawn from IANA's special-purpose registries: the edges of each block, their
//! neighbours, metadata services, spellings that embed IPv4, and public controls.

use sealpost_egress::{AddressRule, Verdict};

const CASES: &str = include_str!("../data/ip-cases.tsv");

#[test]
fn every_row_of_the_corpus_is_judged_as_written() {
    let rule = AddressRule::default();
    let mut rows = 0;
    for line in CASES.lines().skip(1) {
        let [address, expected, why] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let verdict = rule.judge(address.parse().unwrap());
        assert_eq!(verdict.may_dial(), expected == "allow", "{address}: {verdict:?}, but {why}");
        rows += 1;
    }
    assert_eq!(rows, 151);
}

#[test]
fn an_allowed_network_is_dialled_and_nothing_beside_it() {
    let rule = AddressRule { allow: vec!["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()] };
    for (address, expected) in [
        ("127.0.0.1", Verdict::Allowed),
        ("127.255.255.255", Verdict::Allowed),
        ("fd00::1", Verdict::Allowed),
        ("93.184.215.14", Verdict::Public),
        ("128.0.0.0", Verdict::Public),
        ("10.0.0.1", Verdict::Refused("private use")),
        ("::1", Verdict::Refused("not global unicast")),
        ("::ffff:127.0.0.1", Verdict::Refused("not global unicast")),
        ("64:ff9b::7f00:1", Verdict::Refused("not global unicast")),
    ] {
        assert_eq!(rule.judge(address.parse().unwrap()), expected, "{address}");
    }
}
