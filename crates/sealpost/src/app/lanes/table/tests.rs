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

#[test]
fn accepting_claims_until_the_webhooks_slots_are_used() {
    let mut table = Table::new(Caps::default());
    let taken = (0..10).filter(|_| table.reserve(WebhookNo(1), &info(1, "a"), 100, at(0))).count();
    assert_eq!(taken, 8);
    assert_eq!(said(&table.grants(at(0), 10)), "", "the lane is wet but has no free slot");
    table.release(lane(1), TenantNo(1), 100);
    assert!(
        !table.reserve(WebhookNo(1), &info(1, "a"), 100, at(0)),
        "new events do not overtake the backlog"
    );
    assert_eq!(said(&table.grants(at(0), 10)), "1x1");
}

#[test]
fn a_dry_lane_is_claimed_at_acceptance_again() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(5), at(0));
    assert!(table.reserve(WebhookNo(1), &info(1, "a"), 0, at(0)), "a later retry is no backlog");
    let grants = table.grants(at(5), 10);
    assert_eq!(said(&grants), "1x7");
    table.claimed(&grants[0], 1, 0, None, at(5));
    assert!(table.reserve(WebhookNo(1), &info(1, "a"), 0, at(6)));
    assert_eq!(table.in_flight(), 3);
}

#[test]
fn work_noted_while_a_claim_runs_is_not_forgotten() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    let grants = table.grants(at(0), 10);
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    table.claimed(&grants[0], 0, 0, None, at(1));
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
    let taken = (0..8).filter(|_| table.reserve(WebhookNo(1), &info(1, "a"), 0, at(0))).count();
    assert_eq!(taken, 6, "both lanes together stay within the webhook's slots");
}

#[test]
fn a_rate_is_kept_over_any_second() {
    let mut table = Table::new(Caps::default());
    let slow = HookInfo { rate_per_second: Some(2), ..info(1, "a") };
    assert!(table.reserve(WebhookNo(1), &slow, 0, at(0)));
    assert!(table.reserve(WebhookNo(1), &slow, 0, at(0)));
    assert!(!table.reserve(WebhookNo(1), &slow, 0, at(0)));
    assert_eq!(said(&table.grants(at(0), 10)), "");
    assert_eq!(table.next_wake(), Some(at(500)));
    assert_eq!(said(&table.grants(at(500), 10)), "1x1");
}

#[test]
fn bytes_are_bounded() {
    let mut table = Table::new(Caps { bytes: 200, claim_bytes: 100, ..Caps::default() });
    assert!(table.reserve(WebhookNo(1), &info(1, "a"), 90, at(0)));
    assert!(!table.reserve(WebhookNo(2), &info(1, "a"), 20, at(0)));
    assert!(!table.reserve(WebhookNo(3), &info(2, "b"), 20, at(0)), "the rest is for claims");
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
    table.claimed(&first[0], 1, 0, None, at(0));
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
    assert!(table.reserve(WebhookNo(1), &info(1, "a"), 7, at(0)));
    table.release(lane(1), TenantNo(1), 7);
    assert_eq!((table.lanes_known(), table.in_flight(), table.bytes), (0, 0, 0));
    assert!(table.tenants.is_empty() && table.hosts.is_empty());
}

#[test]
fn a_closed_table_grants_nothing() {
    let mut table = Table::new(Caps::default());
    table.note_waiting(lane(1), &info(1, "a"), at(0), at(0));
    table.close();
    assert!(!table.reserve(WebhookNo(2), &info(1, "a"), 0, at(0)));
    assert_eq!(said(&table.grants(at(0), 10)), "");
}
