//! What surrounds the simulated process and outlives it: true time, chance, faults, the record of what was seen, and a
//! hash over everything that happened, in order.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sealpost_core::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::ledger::{Ledger, Seq};

/// 2026-01-02T03:04:05.000Z
const START_MS: i64 = 1_767_323_045_000;

/// So many findings are told; one is enough.
const WRONG_MOST: usize = 20;

#[derive(Debug)]
pub struct World {
    inner: Mutex<Inner>,
    died: Notify,
}

#[derive(Debug)]
pub struct Inner {
    pub dice: Dice,
    pub coverage: Coverage,
    pub ledger: Ledger,
    /// Faults happen.
    pub stormy: bool,
    /// How far the wall clock is off.
    pub skew_ms: i64,
    pub life: u32,
    /// What must not be, as it was seen.
    pub wrong: Vec<String>,
    trace: u64,
    seq: Seq,
    dead: bool,
    /// The process dies at the point that makes this nothing.
    points_left: Option<u64>,
    /// True time when this life began, and the runtime's clock then.
    base_ms: u64,
    began: Option<Instant>,
}

impl World {
    pub fn new(dice: Dice) -> Self {
        let inner = Inner {
            dice,
            coverage: Coverage::default(),
            ledger: Ledger::default(),
            stormy: true,
            skew_ms: 0,
            life: 0,
            wrong: Vec::new(),
            trace: 0xCBF2_9CE4_8422_2325,
            seq: 0,
            dead: false,
            points_left: None,
            base_ms: 0,
            began: None,
        };
        Self { inner: Mutex::new(inner), died: Notify::new() }
    }

    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next process dies at this one of the places where it may.
    pub fn set_points(&self, points: Option<u64>) {
        self.inner().points_left = points;
    }

    /// A process begins, on a runtime whose clock stands.
    pub fn begin(&self) {
        let mut inner = self.inner();
        inner.life += 1;
        inner.dead = false;
        inner.began = Some(Instant::now());
    }

    /// True time in milliseconds since the beginning of the world.
    pub fn ms(&self) -> u64 {
        self.inner().ms()
    }

    pub fn wall(&self) -> Timestamp {
        let inner = self.inner();
        Timestamp::from_millis(START_MS + inner.ms() as i64 + inner.skew_ms)
    }

    /// Nothing fails any more, and nobody dies.
    pub fn calm_down(&self) {
        let mut inner = self.inner();
        inner.stormy = false;
        inner.points_left = None;
    }

    /// The process ends; true time goes on from here with the next.
    pub fn end(&self) {
        let mut inner = self.inner();
        inner.base_ms = inner.ms();
        inner.began = None;
        inner.dead = true;
    }

    /// The process dies now: nothing it does has an effect any more.
    pub fn kill(&self) {
        self.inner().dead = true;
        self.died.notify_one();
    }

    pub fn is_dead(&self) -> bool {
        self.inner().dead
    }

    pub async fn death(&self) {
        self.died.notified().await;
    }

    /// A place where the process may die. Who is dead goes no further.
    pub async fn pass(&self, place: &'static str) {
        let dead = {
            let mut inner = self.inner();
            if let Some(left) = inner.points_left.filter(|_| !inner.dead) {
                inner.points_left = left.checked_sub(1);
                if left == 1 {
                    inner.dead = true;
                    inner.coverage.count(place);
                    inner.note(place, &[]);
                    self.died.notify_one();
                }
            }
            inner.dead
        };
        if dead {
            std::future::pending::<()>().await;
        }
    }

    pub fn count(&self, what: &'static str) {
        self.inner().coverage.count(what);
    }
}

impl Inner {
    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn ms(&self) -> u64 {
        self.base_ms + self.began.map_or(0, |began| began.elapsed().as_millis() as u64)
    }

    pub fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    pub fn wrong(&mut self, what: String) {
        if self.wrong.len() < WRONG_MOST {
            let ms = self.ms();
            self.wrong.push(format!(
                "{} h {} ms, life {}: {what}",
                ms / 3_600_000,
                ms % 3_600_000,
                self.life
            ));
        }
    }

    /// Takes something that happened into the hash, with its time: FNV-1a.
    pub fn note(&mut self, what: &str, of: &[&[u8]]) {
        let ms = self.ms().to_le_bytes();
        for bytes in [what.as_bytes(), &ms].iter().chain(of) {
            for byte in bytes.iter().chain(&[0xFF]) {
                self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
            }
        }
    }
}
