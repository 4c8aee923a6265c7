//! Every bound of the service, with its reason. Bounds that belong to one parser stand in that parser's file.

use std::time::Duration;

// --- what a caller may send -------------------------------------------------------------------------------

/// One event's payload text. A real mobile driving licence with portrait is about 100 KB.
pub const EVENT_BYTES: usize = 1024 * 1024;
/// One publish request.
pub const REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// Any other request body: webhooks, settings and schemas are small.
pub const SMALL_REQUEST_BYTES: usize = 256 * 1024;
/// Events in an array, a batch or NDJSON.
pub const EVENTS_PER_REQUEST: usize = 1000;
/// Events times matching webhooks of one request: one transaction must stay short.
pub const ROWS_PER_REQUEST: usize = 20_000;
/// Nesting of a payload.
pub const PAYLOAD_DEPTH: usize = 64;
pub const SUBJECTS_PER_EVENT: usize = 64;
pub const SUBJECT_BYTES: usize = 512;
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
pub const EVENT_TYPE_BYTES: usize = 128;
pub const EVENT_TYPES_PER_TENANT: usize = 1000;
pub const DESCRIPTION_BYTES: usize = 1024;
/// Objects in an answer of Truvera's lists, and how far one may skip: as that API documents them.
pub const TRUVERA_PAGE_MAX: u32 = 64;
pub const TRUVERA_OFFSET_MAX: u32 = i32::MAX as u32;
pub const PAGE_MAX: u32 = 1000;
pub const PAGE_DEFAULT: u32 = 100;
pub const TENANT_NAME_BYTES: usize = 128;
pub const CLIENT_NAME_BYTES: usize = 128;
pub const CUSTOM_DOMAIN_NAME_BYTES: usize = 128;
/// Longer ones are cut by what shows them.
pub const LOGO_URL_BYTES: usize = 2048;
/// Values of one filter of analytic events: each is compared with every event on the way.
pub const FILTER_VALUES_MAX: usize = 100;
/// Webhooks of one tenant; the list is kept in memory by whoever publishes.
pub const WEBHOOKS_PER_TENANT: usize = 200_000;

// --- settings ---------------------------------------------------------------------------------------------

pub const RETRY_WAITS_MAX: usize = 16;
pub const RETRY_WAIT_LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// A receiver's `Retry-After` may lengthen a wait up to this.
pub const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(3600);
/// Jitter lengthens a wait by at most this many per cent.
pub const JITTER_PERCENT: u64 = 10;
pub const TIMEOUT_MS_MIN: u64 = 100;
pub const TIMEOUT_MS_MAX: u64 = 30_000;
pub const MAX_IN_FLIGHT_MAX: u32 = 256;
pub const RATE_PER_SECOND_MAX: u32 = 10_000;
pub const HEADERS_MAX: usize = 16;
pub const HEADERS_BYTES_MAX: usize = 8 * 1024;
pub const ALERT_AFTER_MAX: u32 = 1000;
pub const SIGNATURE_EXPIRES_MIN: Duration = Duration::from_secs(10);
pub const SIGNATURE_EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);
pub const SECRET_OVERLAP_MAX: Duration = Duration::from_secs(7 * 86_400);

// --- the engine -------------------------------------------------------------------------------------------

/// Sends in flight, all tenants together.
pub const IN_FLIGHT_GLOBAL: u32 = 1024;
/// Sends in flight of one tenant, so that one tenant's hanging receivers leave room for the others.
pub const IN_FLIGHT_PER_TENANT: u32 = 256;
/// Sends in flight to one (tenant, host, port), however many webhooks point there.
pub const IN_FLIGHT_PER_HOST: u32 = 128;
/// Payload bytes held for sends in flight.
pub const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;
/// Of these, what claims from disk may use and accepting may not.
pub const CLAIM_BYTES: usize = 8 * 1024 * 1024;
/// Deliveries claimed from one lane in one turn: few from many, never many from one.
pub const CLAIMS_PER_TURN: u32 = 32;
/// Claimed deliveries of one webhook that wait in memory for one of its slots: enough for the commit of a claim to be
/// over before they are sent. After a power cut each of them has used up an attempt.
pub const PARKED_PER_WEBHOOK: u32 = 512;
/// Payload bytes of all of them; a tenant gets a quarter.
pub const PARKED_BYTES: usize = 16 * 1024 * 1024;
/// A lane flows if in a span of this length, and up to now, so many of its attempts ended: a place in it will be free soon.
pub const LANE_FLOWS: Duration = Duration::from_millis(100);
pub const LANE_FLOWS_ENDS: u32 = 10;
/// How long a publisher waits at most for a place in a lane that flows.
pub const PLACE_WAIT: Duration = Duration::from_millis(250);
/// A receiver whose last attempt took this long has nothing parked.
pub const SLOW_ATTEMPT: Duration = Duration::from_millis(500);
/// Outcomes known but not yet stored.
pub const UNSETTLED_MAX: usize = 4096;
/// SIGTERM: sends in flight may end within this.
pub const DRAIN: Duration = Duration::from_secs(10);

/// A member of an analytic event's `data`, as JSON; a larger one is left out.
pub const ANALYTICS_MEMBER_BYTES: usize = 4 * 1024;
/// Analytic events of calls that wait to be stored; some 200 bytes each. More come only while the store is held up, and
/// then the oldest go.
pub const ANALYTICS_WAITING: usize = 10_000;
/// How long they wait for company.
pub const ANALYTICS_GATHER: Duration = Duration::from_millis(250);

// --- what comes back --------------------------------------------------------------------------------------

/// Kept of a failed attempt's response body.
pub const EXCERPT_BYTES: usize = 16 * 1024;
/// Kept of an error text.
pub const ERROR_TEXT_BYTES: usize = 512;
/// Payload bytes on one page of analytic events; the page ends there, and the next begins.
pub const ANALYTICS_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

// --- the store --------------------------------------------------------------------------------------------

/// Rows upkeep touches in one transaction. Whoever comes meanwhile waits for its end: a millisecond.
pub const UPKEEP_ROWS: u32 = 120;
/// With several processes on one store: from a look at it that ended well, for so long nobody takes this one for dead. More
/// than a process acts on what it saw, and an attempt that began at the end of that.
pub const HOLDS: Duration = Duration::from_secs(6);
/// Free bytes on the store's disk that accepting leaves for claims and settlements.
pub const DISK_RESERVE_BYTES: u64 = 64 * 1024 * 1024;
