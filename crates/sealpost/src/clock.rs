//! Time and chance: the one room where a clock is read and dice are thrown.
//!
//! Two clocks, because they answer different questions. [`Clock::now`] orders what is stored: it begins at the wall
//! clock when the process starts and then advances with a clock that neither stops in suspend nor jumps when
//! somebody sets the time. Where several processes use one store it follows the store's clock, or a retry would begin
//! early at the one whose wall clock is ahead. [`Clock::wall`] is what receivers compare with their own clocks.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealpost_core::id::Chance;
use sealpost_core::retry::Jitter;
use sealpost_core::time::Timestamp;

pub trait Clock: Send + Sync + Debug {
    /// Never falls while the process lives. With several processes on one store it is not ahead of the store's clock.
    fn now(&self) -> Timestamp;
    /// What the store's clock shows at the most. What must not begin earlier is counted from here, and compared with
    /// [`Clock::now`].
    fn latest(&self) -> Timestamp {
        self.now()
    }
    /// The store's clock showed this some time between `asked`, by [`Clock::boot`], and now.
    fn follow(&self, _shown: Timestamp, _asked: Duration) {}
    /// The wall clock, for `created`, `expires` and `deliveryTimestamp`.
    fn wall(&self) -> Timestamp;
    /// Since some fixed point, suspend included; for deadlines.
    fn boot(&self) -> Duration;
    /// Bytes nobody can guess.
    fn fill(&self, bytes: &mut [u8]);

    fn chance(&self) -> Chance {
        let mut bytes = Chance::default();
        self.fill(&mut bytes);
        bytes
    }

    fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    fn jitter(&self) -> Jitter {
        let mut bytes = [0; 2];
        self.fill(&mut bytes);
        Jitter(u16::from_ne_bytes(bytes))
    }
}

#[derive(Debug)]
pub struct SystemClock {
    start: Timestamp,
    boot_at_start: Duration,
    followed: Mutex<Followed>,
}

/// The store's clock, beside our own; all in milliseconds.
#[derive(Debug, Default)]
struct Followed {
    /// By how much it is ahead: somewhere between these.
    ahead: Option<(i64, i64)>,
    /// The latest time that was given.
    given: i64,
}

impl Followed {
    /// What was shown before holds as far as what is shown now allows it.
    fn hear(&mut self, least: i64, most: i64) {
        let known = self.ahead.map(|(low, high)| (low.max(least), high.min(most)));
        self.ahead = Some(known.filter(|(low, high)| low <= high).unwrap_or((least, most)));
    }

    fn now(&mut self, own: i64) -> i64 {
        self.given = self.given.max(own.saturating_add(self.ahead.map_or(0, |(least, _)| least)));
        self.given
    }

    fn latest(&mut self, own: i64) -> i64 {
        own.saturating_add(self.ahead.map_or(0, |(_, most)| most)).max(self.now(own))
    }
}

impl SystemClock {
    pub fn start() -> Self {
        Self { start: wall_now(), boot_at_start: boot_now(), followed: Mutex::default() }
    }

    /// By our own clocks alone.
    fn own(&self, boot: Duration) -> i64 {
        (self.start + boot.saturating_sub(self.boot_at_start)).millis()
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the room where the wall clock is read")]
fn wall_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn boot_now() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(at.tv_sec.max(0) as u64, at.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// Names the run of the machine that [`Clock::boot`] counts in; empty where the system does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let own = self.own(boot_now());
        Timestamp::from_millis(self.followed().now(own))
    }

    fn latest(&self) -> Timestamp {
        let own = self.own(boot_now());
        Timestamp::from_millis(self.followed().latest(own))
    }

    fn follow(&self, shown: Timestamp, asked: Duration) {
        let (asked, heard) = (self.own(asked), self.own(boot_now()));
        let (least, most) = (shown.millis().saturating_sub(heard), shown.millis().saturating_sub(asked));
        // Each of the three readings is cut off to its millisecond.
        self.followed().hear(least.saturating_sub(1), most.saturating_add(1));
    }

    fn wall(&self) -> Timestamp {
        wall_now()
    }

    fn boot(&self) -> Duration {
        boot_now()
    }

    fn fill(&self, bytes: &mut [u8]) {
        // Keys are drawn for themselves; ids and jitter are small and many, and share a draw.
        if bytes.len() > SMALL_DRAW {
            return draw(bytes);
        }
        DRAWN.with_borrow_mut(|drawn| {
            if drawn.left < bytes.len() {
                draw(&mut drawn.bytes);
                drawn.left = DRAW_AHEAD;
            }
            let from = &mut drawn.bytes[drawn.left - bytes.len()..drawn.left];
            bytes.copy_from_slice(from);
            // Nothing is given twice, and nothing that was given is kept.
            from.fill(0);
            drawn.left -= bytes.len();
        });
    }
}

/// The largest piece that is taken from what was drawn ahead.
const SMALL_DRAW: usize = 16;
const DRAW_AHEAD: usize = 256;

/// Random bytes of one thread that nobody has got yet: the first `left` ones.
struct Drawn {
    bytes: [u8; DRAW_AHEAD],
    left: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAW_AHEAD], left: 0 }) };
}

fn draw(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "this is the room where chance is drawn")]
    let drawn = getrandom::fill(bytes);
    // Without chance no id or key may be made; the kernel refuses only before it is seeded.
    drawn.expect("the operating system gives random bytes");
}

/// A clock that stands until it is moved, and dice that repeat; for tests of the whole service.
#[derive(Debug)]
pub struct ManualClock {
    inner: Mutex<Manual>,
}

#[derive(Debug)]
struct Manual {
    now: Timestamp,
    state: u64,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self { inner: Mutex::new(Manual { now, state: 0x9E37_79B9_7F4A_7C15 }) }
    }

    pub fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.now = inner.now + by;
    }

    fn lock(&self) -> MutexGuard<'_, Manual> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn wall(&self) -> Timestamp {
        self.lock().now
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(self.lock().now.millis().max(0) as u64)
    }

    /// xorshift64*: not random to anybody, the same every run.
    fn fill(&self, bytes: &mut [u8]) {
        let mut inner = self.lock();
        for chunk in bytes.chunks_mut(8) {
            inner.state ^= inner.state >> 12;
            inner.state ^= inner.state << 25;
            inner.state ^= inner.state >> 27;
            let word = inner.state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_time_runs_and_never_falls() {
        let clock = SystemClock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall().since(first) < Duration::from_secs(60));
    }

    #[test]
    fn the_clock_of_the_store_is_followed_and_time_never_falls() {
        let mut clock = Followed::default();
        assert_eq!((clock.now(1_000), clock.latest(1_000)), (1_000, 1_000), "nobody has shown another");
        clock.hear(-500, -400);
        assert_eq!((clock.now(1_100), clock.latest(1_300)), (1_000, 1_000), "it waits for the store's");
        assert_eq!((clock.now(2_000), clock.latest(2_000)), (1_500, 1_600));
        // A slow answer tells nothing new, a quick one does, and one that contradicts counts alone.
        clock.hear(-900, -100);
        assert_eq!(clock.ahead, Some((-500, -400)));
        clock.hear(-450, -440);
        assert_eq!(clock.ahead, Some((-450, -440)));
        clock.hear(2_000, 2_010);
        assert_eq!((clock.now(2_100), clock.latest(2_100)), (4_100, 4_110));
    }

    #[test]
    fn a_clock_that_is_shown_another_time_goes_by_it() {
        let clock = SystemClock::start();
        let (own, asked) = (clock.now(), clock.boot());
        let shown = own + Duration::from_secs(60);
        clock.follow(shown, asked);
        assert!(clock.now().since(own) >= Duration::from_secs(50) && clock.latest() >= shown);
        assert!(clock.wall().since(own) < Duration::from_secs(50), "receivers compare with their own");
    }

    #[test]
    fn chance_is_never_given_twice() {
        let clock = SystemClock::start();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(clock.chance()), "ten random bytes came again");
            clock.jitter();
        }
    }

    #[test]
    fn manual_dice_repeat() {
        let draw = || ManualClock::at(Timestamp::from_millis(0)).bytes32();
        assert_eq!(draw(), draw());
    }
}
