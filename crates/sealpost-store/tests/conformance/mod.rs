//! What every store promises, as seen through the roles: a second backend passes the same statements.
//!
//! A backend implements [`Backend`] and says `conformance!(itsType)` in a test file; each case runs on an empty
//! store of its own. Time and ids are made here, so a case is the same every run.

pub(crate) mod analytics;
pub(crate) mod audit;
pub(crate) mod history;
pub(crate) mod inbox;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod upkeep;
pub(crate) mod world;

use std::sync::Arc;

use sealpost_store::Store;

/// Makes empty stores, and opens again what was closed.
pub(crate) trait Backend: Send + Sync + 'static {
    /// A place with nothing in it.
    fn new() -> Self
    where
        Self: Sized;
    /// Opens the store of this place; made at the first time. The one opened before was closed.
    fn open(&self) -> Arc<dyn Store>;
}

/// Every case, once. A case that is not listed is dead code, which the compiler says.
macro_rules! conformance {
    ($backend:ty) => {
        $crate::conformance::cases! { $backend;
            registry: [
                a_tenant_needs_an_id_and_a_subdomain_of_its_own,
                clients_are_found_by_their_key_and_gone_when_deleted,
                several_roles_of_a_client_read_back,
                operators_are_found_by_their_key_and_gone_when_deleted,
                a_deleted_tenant_accepts_nothing_and_keeps_its_name,
                tenants_with_an_old_next_key_are_found_oldest_first,
                a_tenants_own_limits_are_replaced_and_read_back,
                token_keys_retire_one_after_the_other_and_are_forgotten,
                a_webhook_reads_back_as_it_was_written,
                another_tenants_webhook_is_unknown,
                a_change_raises_the_version_and_only_disabling_raises_the_epoch,
                a_deleted_webhook_is_listed_no_more,
                webhooks_are_listed_newest_first_by_time_and_id,
                webhooks_are_listed_by_dialect,
                webhooks_of_a_dialect_are_counted_from_the_newest,
                a_delta_gives_exactly_what_changed,
                the_versions_tell_whose_registry_changed,
                a_key_ring_is_replaced_only_on_the_version_it_was_decided_on,
                hashes_are_the_same_after_opening_again,
                a_tenant_has_one_domain_and_no_other_tenant_sees_it,
                only_a_domain_of_another_name_loses_its_verification,
                a_verification_holds_for_the_token_that_was_proven,
                a_domain_is_verified_for_one_tenant_at_a_time,
                of_two_verifications_at_once_one_wins,
            ],
            audit: [
                every_change_leaves_one_entry_and_a_refused_one_leaves_none,
                an_entry_shows_what_a_change_changed,
                no_secret_stands_in_the_audit_log,
                entries_are_listed_by_tenant_newest_first,
            ],
            analytics: [
                a_tenants_log_level_is_replaced_and_read_back,
                recorded_calls_read_back_newest_first,
                recorded_calls_go_in_their_time,
                an_event_and_its_deliveries_tell_their_steps,
                every_step_is_told_once_and_pages_have_no_gaps_or_repeats,
                pages_hold_together_where_sources_are_read_in_steps,
                analytic_events_are_filtered,
                another_tenants_analytic_events_are_not_told,
                what_is_forgotten_is_told_no_more,
            ],
            inbox: [
                what_was_accepted_reads_back_after_opening_again,
                an_event_without_subscribers_is_recorded,
                a_repeat_gives_the_first_result_and_delivers_nothing_again,
                other_content_conflicts_and_stores_nothing,
                the_same_id_in_another_tenant_is_free,
                one_conflict_refuses_the_whole_request,
                an_identical_repeat_inside_a_request_is_answered_with_its_first_result,
                an_idempotency_key_covers_its_range,
                an_idempotency_key_with_other_content_conflicts,
                another_registry_version_bounces_and_stores_nothing,
                a_delivery_accepted_claimed_is_not_claimable_again,
                a_derived_event_shares_the_payload_and_repeats_do_not_derive,
                deliveries_of_a_disabled_webhook_are_recorded_as_cancelled,
                a_cancelled_request_stores_all_or_nothing,
            ],
            queue: [
                a_claim_raises_the_attempt_and_the_fence,
                nothing_is_claimed_before_it_is_due,
                claims_come_in_order_of_due_time_and_in_the_wanted_number,
                claims_stop_at_the_wanted_bytes,
                the_next_due_time_of_a_lane_is_told,
                a_settled_delivery_is_over,
                a_retry_waits_for_its_time,
                settling_twice_is_told_apart_from_settling_late,
                a_lost_claim_changes_nothing,
                an_unclaimed_attempt_was_never_used,
                a_send_that_began_before_disabling_may_end_but_is_not_retried,
                pending_rows_of_a_disabled_webhook_are_cancelled_at_once,
                pending_rows_of_a_deleted_webhook_are_cancelled_at_once,
                enabling_again_does_not_revive_what_was_cancelled,
                a_change_of_url_cancels_nothing,
                lanes_are_listed_once_with_their_earliest_due_time,
                orphans_appear_after_opening_again_and_only_then,
                an_orphan_is_settled_like_any_claim,
                only_unknown_outcomes_before_are_told,
                cancelling_by_hand_ends_what_waits_and_stops_retries_of_what_is_sent,
                health_changes_once_each_way,
                a_settled_excerpt_reads_back,
            ],
            history: [
                an_event_shows_its_deliveries_and_their_states,
                a_delivery_shows_its_attempts_in_order,
                another_tenant_sees_nothing,
                pages_of_events_have_no_gaps_or_repeats_while_new_ones_come,
                pages_of_deliveries_have_no_gaps_or_repeats_while_new_ones_come,
                a_cursor_of_another_tenant_is_like_an_unknown_one,
                events_are_filtered_by_type_and_time,
                deliveries_are_filtered,
                lists_are_the_same_before_and_after_upkeep,
                a_filter_that_matches_little_still_fills_the_page,
                redelivering_makes_a_new_delivery_of_the_same_event,
                what_cannot_be_redelivered_is_refused,
                bulk_redelivery_counts_and_makes_each_event_once,
                bulk_redelivery_goes_on_after_opening_again,
                bulk_redelivery_ends_with_its_webhook,
                pending_deliveries_are_counted_up_to_a_bound,
                deliveries_are_measured_since_a_time_newest_first_and_up_to_a_bound,
            ],
            upkeep: [
                sweeping_an_idle_store_does_nothing,
                a_stale_lane_is_rewritten_in_slices,
                payloads_go_a_day_after_delivery_and_a_week_after_failure,
                a_payload_is_kept_while_anything_is_pending,
                a_redelivery_keeps_the_payload_longer,
                a_webhook_that_keeps_nothing_loses_the_payload_at_the_end_of_its_delivery,
                metadata_goes_after_its_time_but_never_what_is_pending,
                a_forgotten_id_and_key_are_free_again,
                a_key_is_free_as_soon_as_its_event_is_forgotten,
                a_cancelled_payload_is_kept_from_its_cancellation,
                each_tenant_keeps_for_its_own_time,
                erasing_by_event_cancels_what_is_pending_and_answers_erased,
                erasing_by_subject_reaches_every_event_of_it_and_no_other,
                erasing_by_range_is_inclusive_and_of_one_tenant,
                erasing_one_of_a_derived_pair_erases_both,
                an_erased_event_that_is_being_sent_is_not_retried,
                idempotency_answers_after_erasure,
                erasing_twice_under_one_id_counts_once,
                an_erased_payload_cannot_be_redelivered,
                statistics_count_what_was_done,
                a_healthy_store_has_only_good_findings,
                a_closed_store_refuses,
            ],
        }
    };
}

macro_rules! cases {
    ($backend:ty; $($role:ident: [$($case:ident),* $(,)?],)*) => {
        $(mod $role {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let world = $crate::conformance::world::World::<$backend>::start().await;
                    $crate::conformance::$role::$case(world).await;
                }
            )*
        })*
    };
}

pub(crate) use cases;
pub(crate) use conformance;
