//! Fairness, caps, rates and the careful start, as stories of a table.

use super::*;

fn info(tenant: i64, host: &str) -> HookInfo {
    let tenant = TenantNo(tenant);
    HookInfo { tenant, host: (tenant, host.into(), 443), max_in_flight: 8, rate_per_second: None, version: 1 }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn lane(webhook: i64) -> LaneNo {
    LaneNo::ordinary(WebhookNo(webhook))
}

fn said(grants: &[Grant]) -> String {
    grants.iter().map(|g| format!("{}x{}", g.lane, g.most)).collect::<Vec<_>>().join(" ")
}

impl Table {
    /// Whether a slot was had; a place that was had instead is given back.
    fn slot(&mut self, webhook: i64, info: &HookInfo, bytes: usize, now: Timestamp) -> bool {
        let reserved = self.reserve(WebhookNo(webhook), info, bytes, now);
        if reserved == Reserved::Place {
            self.leave_place(lane(webhook), info.tenant, bytes);
            self.note_waiting(lane(webhook), info, now, now);
        }
        reserved == Reserved::Slot
    }

    fn park_one(&mut self, webhook: i64, info: &HookInfo) {
        assert_eq!(self.reserve(WebhookNo(webhook), info, 10, at(0)), Reserved::Place);
        self.park(lane(webhook));
    }
}

#[test]
fn accepting_claims_until_the_webhooks_slots_are_used() {
    let mut table = Table::new(Caps::default());
    assert!(table.slot(1, &info(1, "a"), 100, at(0)));
    assert!(table.ended(WebhookNo(1), at(0), true), "a slow receiver has nothing parked");
    let taken = 1 + (1..10).filter(|_| table.slot(1, &info(1, "a"), 100, at(0))).count();
    assert_eq!(taken, 8);
    assert_eq!(said(&table.grants(at(0), 10)), "", "the lane is wet but has no free slot");
    table.release(lane(1), TenantNo(1), 100);
    assert!(!table.slot(1, &info(1, "a"), 100, at(0)), "new events do not overtake the backlog");
    assert_eq!(said(&table.grants(at(0), 10)), "1x1");
}

#[test]
fn what_finds_no_slot_is_parked_and_takes_the_slot_that_its_lane_frees() {
    let mut table = Table::new(Caps::default());
    let hook = info(1, "a");
    assert_eq!((0..8).filter(|_| table.slot(1, &hook, 10, at(0))).count(), 8);
    table.park_one(1, &hook);
    assert_eq!(said(&table.grants(at(0), 10)), "", "it waits for its own lane");
    assert!(table.pass_on(lane(1), TenantNo(1), 10, 10));
    assert_eq!((table.in_flight(), table.bytes, table.parked_in_all), (8, 80, 0));

    // Somebody else waits for what the permit holds: the parked one takes its turn like everybody.
    table.park_one(1, &hook);
    table.caps.tenant = 8;
    table.note_waiting(lane(2), &hook, at(0), at(0));
    assert_eq!(said(&table.grants(at(0), 10)), "");
    assert!(!table.pass_on(lane(1), TenantNo(1), 10, 10));
    table.release(lane(1), TenantNo(1), 10);
    let grants = table.grants(at(0), 10);
    assert_eq!((grants[0].lane, grants[0].most), (lane(2), 1));
}

#[test]
fn places_are_bounded_by_number_and_by_bytes_of_tenant_and_all() {
    let full = |caps: Caps, tenants: i64, bytes: usize| {
        let mut table = Table::new(Caps { global: 1, ..caps });
        assert!(table.slot(99, &info(99, "z"), 0, at(0)));
        table.caps.global = 2;
        assert!(table.slot(98, &info(98, "z"), 0, at(0)));
        table.caps.global = 3;
        let mut places = 0;
        for tenant in 1..=tenants {
            let hook = HookInfo { max_in_flight: 0, ..info(tenant, "a") };
            while table.reserve(WebhookNo(tenant), &hook, bytes, at(0)) == Reserved::Place {
                places += 1;
            }
        }
        places
    };
    assert_eq!(full(Caps::default(), 1, 1), bound::PARKED_PER_WEBHOOK);
    let caps = Caps { parked_bytes: 400, ..Caps::default() };
    assert_eq!(full(caps, 1, 10), 10, "a quarter");
    assert_eq!(full(caps, 9, 10), 40);
}

/// Enough attempts of webhook 1 end at this time for its lane to flow.
fn flow(table: &mut Table, at: Timestamp) {
    for _ in 0..bound::LANE_FLOWS_ENDS {
        assert!(!table.ended(WebhookNo(1), at, false));
    }
}

#[test]
fn a_lane_that_flows_is_full_before_it_goes_by_the_disk_and_one_that_stalls_or_is_slow_is_not() {
    let mut table = Table::new(Caps::default());
    let hook = HookInfo { max_in_flight: 0, ..info(1, "a") };
    for _ in 0..bound::PARKED_PER_WEBHOOK {
        table.park_one(1, &hook);
    }
    assert_eq!(table.lacks(lane(1), 1, 10, at(0)), None, "no attempt of it has ended yet");
    flow(&mut table, at(100));
    assert_eq!(table.reserve(WebhookNo(1), &hook, 10, at(200)), Reserved::Full);
    assert_eq!(table.lacks(lane(1), 1, 10, at(200)), Some(Lack::Places));
    assert_eq!(table.lacks(lane(1), 1, 10, at(201)), None, "it stalls");
    assert!(table.ended(WebhookNo(1), at(300), true), "what is parked is to be handed back");
    assert!(!table.ended(WebhookNo(1), at(300), true), "once");
    assert_eq!(table.reserve(WebhookNo(1), &hook, 10, at(300)), Reserved::Nothing);
}

#[test]
fn a_little_backlog_of_a_lane_that_flows_is_waited_for_and_a_large_or_unknown_one_is_not() {
    let mut table = Table::new(Caps::default());
    let hook = info(1, "a");
    for _ in 0..bound::PARKED_PER_WEBHOOK {
        table.note_stored(lane(1), &hook, at(0));
    }
    flow(&mut table, at(0));
    assert_eq!(table.reserve(WebhookNo(1), &hook, 10, at(0)), Reserved::Full);
    table.note_stored(lane(1), &hook, at(0));
    assert_eq!(table.reserve(WebhookNo(1), &hook, 10, at(0)), Reserved::Nothing);

    let grant = table.grants(at(0), 10).remove(0);
    table.claimed(&grant, &[10; 8], Some(at(0)), at(0));
    assert_eq!(table.lacks(lane(1), 1, 10, at(0)), Some(Lack::Places));
    table.note_waiting(lane(1), &hook, at(0), at(0));
    assert_eq!(table.lacks(lane(1), 1, 10, at(0)), None, "somebody else's rows are not counted");
}

#[test]
fn claims_go_ahead_of_the_slots_of_a_quick_lane_and_are_few_commits() {
    let mut table = Table::new(Caps::default());
    let hook = info(1, "a");
    table.note_waiting(lane(1), &hook, at(0), at(0));
    let grant = table.grants(at(0), 10).remove(0);
    assert_eq!((grant.parked, grant.most, grant.ahead), (0, 8, bound::PARKED_PER_WEBHOOK));
    let came = vec![10; 8 + bound::PARKED_PER_WEBHOOK as usize];
    table.claimed(&grant, &came, Some(at(0)), at(0));
    for _ in 0..bound::PARKED_PER_WEBHOOK {
        table.park(lane(1));
    }
    assert!(table.grants(at(0), 10).is_empty());
    let mut passed = 0;
    let again = loop {
        assert!(table.pass_on(lane(1), TenantNo(1), 10, 10));
        passed += 1;
        if let Some(grant) = table.grants(at(0), 10).pop() {
            break grant;
        }
    };
    assert_eq!((passed, again.most, again.ahead), (bound::PARKED_PER_WEBHOOK / 2, 0, passed));
}

#[test]
fn nothing_is_parked_for_a_rate_a_bulk_redelivery_or_while_starting_carefully() {
    let mut table = Table::new(Caps::default());
    let rate = HookInfo { rate_per_second: Some(1), ..info(1, "a") };
    assert_eq!(table.reserve(WebhookNo(1), &rate, 0, at(0)), Reserved::Slot);
    assert_eq!(table.reserve(WebhookNo(1), &rate, 0, at(0)), Reserved::Nothing);
    table.note_waiting(LaneNo::replay(WebhookNo(2)), &info(1, "b"), at(0), at(0));
    assert_eq!(table.grants(at(0), 10)[0].ahead, 0);

    let mut table = Table::new(Caps::default());
    table.begin_recovery(at(0), Vec::new());
    table.note_waiting(lane(3), &info(1, "c"), at(0), at(0));
    assert_eq!(table.grants(at(0), 10)[0].ahead, 0);
}

#[test]
fn a_dry_lane_is_claimed_at_acceptance_again() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(5), at(0));
    assert!(table.slot(1, &info(1, "a"), 0, at(0)), "a later retry is no backlog");
    let grants = table.grants(at(5), 10);
    assert_eq!(said(&grants), "1x7");
    table.claimed(&grants[0], &[0], None, at(5));
    assert!(table.slot(1, &info(1, "a"), 0, at(6)));
    assert_eq!(table.in_flight(), 3);
}

#[test]
fn work_noted_while_a_claim_runs_is_not_forgotten() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    let grants = table.grants(at(0), 10);
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    table.claimed(&grants[0], &[], None, at(1));
    assert_eq!(said(&table.grants(at(1), 10)), "1x8");
}

#[test]
fn turns_go_round_the_tenants_and_their_lanes() {
    let mut table = Table::new(Caps { global: 10, tenant: 6, ..Caps::default() });
    for webhook in [1, 2, 3] {
        table.note_waiting(lane(webhook), &HookInfo { max_in_flight: 2, ..info(1, "a") }, at(0), at(0));
    }
    table.note_waiting(lane(9), &HookInfo { max_in_flight: 2, ..info(2, "b") }, at(0), at(0));
    assert_eq!(said(&table.grants(at(0), 3)), "1x2 9x2 2x2");
    assert_eq!(said(&table.grants(at(0), 3)), "3x2");
}

#[test]
fn one_tenant_cannot_take_every_slot() {
    let mut table = Table::new(Caps { global: 10, tenant: 4, ..Caps::default() });
    for webhook in 1..=5 {
        table.note_waiting(lane(webhook), &info(1, "hangs"), at(0), at(0));
    }
    assert_eq!(said(&table.grants(at(0), 10)), "1x4");
    table.note_waiting(lane(9), &info(2, "b"), at(0), at(0));
    assert_eq!(said(&table.grants(at(0), 10)), "9x4");
    table.release(lane(1), TenantNo(1), 0);
    assert_eq!(said(&table.grants(at(0), 10)), "2x1", "the released slot goes to the next lane in turn");
}

#[test]
fn a_full_host_blocks_its_lanes_only_and_releases_wake_them() {
    let mut table = Table::new(Caps { host: 8, ..Caps::default() });
    for webhook in [1, 2] {
        table.note_waiting(lane(webhook), &info(1, "a"), at(0), at(0));
    }
    table.note_waiting(lane(3), &info(1, "b"), at(0), at(0));
    assert_eq!(said(&table.grants(at(0), 10)), "1x8 3x8");
    table.release(lane(1), TenantNo(1), 0);
    assert_eq!(said(&table.grants(at(0), 10)), "2x1");
}

#[test]
fn bulk_redelivery_takes_a_quarter_of_the_slots() {
    let mut table = Table::new(Caps::default());
    let replay = LaneNo::replay(WebhookNo(1));
    table.note_waiting(replay, &info(1, "a"), at(0), at(0));
    assert_eq!(said(&table.grants(at(0), 10)), "1rx2");
    let taken = (0..8).filter(|_| table.slot(1, &info(1, "a"), 0, at(0))).count();
    assert_eq!(taken, 6, "both lanes together stay within the webhook's slots");
}

#[test]
fn a_rate_is_kept_over_any_second() {
    let mut table = Table::new(Caps::default());
    let slow = HookInfo { rate_per_second: Some(2), ..info(1, "a") };
    assert!(table.slot(1, &slow, 0, at(0)));
    assert!(table.slot(1, &slow, 0, at(0)));
    assert!(!table.slot(1, &slow, 0, at(0)));
    assert_eq!(said(&table.grants(at(0), 10)), "");
    assert_eq!(table.next_wake(), Some(at(500)));
    assert_eq!(said(&table.grants(at(500), 10)), "1x1");
}

#[test]
fn bytes_are_bounded() {
    let mut table = Table::new(Caps { bytes: 200, claim_bytes: 100, ..Caps::default() });
    assert!(table.slot(1, &info(1, "a"), 90, at(0)));
    assert!(!table.slot(2, &info(1, "a"), 20, at(0)));
    assert!(!table.slot(3, &info(2, "b"), 20, at(0)), "the rest is for claims");
    assert_eq!(table.reserve_bytes(120, 150), None);
    table.release(lane(1), TenantNo(1), 90);
    assert_eq!(table.reserve_bytes(120, 150), Some(150));
}

#[test]
fn after_an_unclean_start_one_then_two_then_four() {
    let mut table = Table::new(Caps::default());
    table.begin_recovery(at(0), vec![at(10_000)]);
    for webhook in 1..=9 {
        table.note_waiting(lane(webhook), &info(1, "a"), at(0), at(0));
    }
    let first = table.grants(at(0), 10);
    assert_eq!(said(&first), "1x1");
    table.claimed(&first[0], &[0], None, at(0));
    table.release(lane(1), TenantNo(1), 0);
    let second = table.grants(at(0), 10);
    assert_eq!(second.iter().map(|g| g.most).sum::<u32>(), 2);
    // Those two hang: after each span survived, twice as many.
    assert_eq!(table.grants(at(200), 10).iter().map(|g| g.most).sum::<u32>(), 2);
    assert_eq!(table.grants(at(400), 10).iter().map(|g| g.most).sum::<u32>(), 4);
    // What was cut off falls due: careful again.
    assert!(table.grants(at(10_000), 10).is_empty());
}

#[test]
fn nothing_is_remembered_of_an_idle_webhook() {
    let mut table = Table::new(Caps::default());
    assert!(table.slot(1, &info(1, "a"), 7, at(0)));
    table.release(lane(1), TenantNo(1), 7);
    assert_eq!((table.lanes_known(), table.in_flight(), table.bytes), (0, 0, 0));
    assert!(table.tenants.is_empty() && table.hosts.is_empty());
}

#[test]
fn a_closed_table_grants_nothing() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    table.close();
    assert!(!table.slot(2, &info(1, "a"), 0, at(0)));
    assert_eq!(said(&table.grants(at(0), 10)), "");
}
