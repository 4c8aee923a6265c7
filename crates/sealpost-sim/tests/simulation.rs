//! A run repeats, and finds what is wrong. Long runs are the program's; see docs/reliability.md.

use sealpost_sim::memory::Plant;
use sealpost_sim::run::run;

#[test]
fn a_seed_repeats_bit_by_bit_and_another_does_not() {
    let trace = |seed| {
        let report = run(seed, 6, None).unwrap();
        assert_eq!(report.wrong, Vec::<String>::new());
        let requests = report.coverage.of("request");
        assert!(requests > 20, "{requests}");
        report.trace
    };
    let first = trace(7);
    assert_eq!(trace(7), first);
    assert_ne!(trace(8), first);
}

/// Two of them, so that the suite notices a simulation that sees nothing. The program looks for all.
#[test]
fn planted_bugs_are_found() {
    for plant in [Plant::NoGate, Plant::NoFence] {
        let found = (1..8).any(|seed| !run(seed, 4, Some(plant)).unwrap().wrong.is_empty());
        assert!(found, "{}", plant.name());
    }
}
