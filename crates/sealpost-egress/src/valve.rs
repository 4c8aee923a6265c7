//! The valve between HTTP and the wire: whether request bytes may pass now.
//!
//! The client arms it with the attempt's gate; the first write after that asks the gate. While it is shut every write
//! fails, so no code path above can put a byte on the wire outside an attempt.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gate::{Gate, GateGuard};

/// Interim (1xx) answers tolerated before the final one.
pub(crate) const MAX_INTERIM: u8 = 4;

/// What the client and its stream tell each other. The counters are per attempt: arming resets them.
#[derive(Default)]
pub(crate) struct Valve {
    state: Mutex<State>,
    /// Look at the socket itself before the next read, not only at what the runtime has noticed so far.
    probe: AtomicBool,
    /// Everything handed down so far has been flushed.
    flushed: AtomicBool,
    /// A write failed after the first; what the receiver may have answered is still worth reading.
    broken: AtomicBool,
    interim: AtomicU8,
    /// HTTP/2: many requests share the stream, so no failed write is ever hidden from it.
    shared: bool,
}

#[derive(Default)]
enum State {
    /// Nothing may be written.
    #[default]
    Shut,
    /// The next write asks this gate.
    Armed(Arc<dyn Gate>),
    /// The gate opened; its first write has not been taken yet.
    Opening {
        _guard: GateGuard,
    },
    Open,
    /// The gate refused; nothing of this attempt may be written.
    Refused,
}

/// How far the armed attempt got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// The gate has not been asked: nothing can have been written.
    Untouched,
    Refused,
    /// The gate opened: bytes may have left.
    Begun,
}

impl Valve {
    /// For HTTP/2, whose gate is asked before the request is handed over.
    pub(crate) fn always_open() -> Self {
        Self { state: Mutex::new(State::Open), shared: true, ..Self::default() }
    }

    pub(crate) fn arm(&self, gate: Arc<dyn Gate>, probe: bool) {
        self.probe.store(probe, Ordering::Relaxed);
        self.flushed.store(false, Ordering::Relaxed);
        self.interim.store(0, Ordering::Relaxed);
        *self.state() = State::Armed(gate);
    }

    pub(crate) fn shut(&self) {
        *self.state() = State::Shut;
    }

    pub(crate) fn progress(&self) -> Progress {
        match *self.state() {
            State::Shut | State::Armed(_) => Progress::Untouched,
            State::Refused => Progress::Refused,
            State::Opening { .. } | State::Open => Progress::Begun,
        }
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.flushed.load(Ordering::Relaxed) && !self.is_broken()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The peer no longer takes what is written. False on a shared stream, which must see its own failures.
    pub(crate) fn break_off(&self) -> bool {
        if !self.shared {
            self.broken.store(true, Ordering::Relaxed);
        }
        !self.shared
    }

    pub(crate) fn note_flushed(&self) {
        if self.progress() == Progress::Begun {
            self.flushed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether to look at the socket now; asked once.
    pub(crate) fn take_probe(&self) -> bool {
        self.probe.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn count_interim(&self) {
        let seen = self.interim.load(Ordering::Relaxed);
        self.interim.store(seen.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn too_many_interim(&self) -> bool {
        self.interim.load(Ordering::Relaxed) > MAX_INTERIM
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the gate if this is the first write. The lock is not held while the gate decides.
    pub(crate) fn admit(&self) -> io::Result<()> {
        let gate = {
            let mut state = self.state();
            match mem::replace(&mut *state, State::Refused) {
                State::Armed(gate) => gate,
                passing @ (State::Opening { .. } | State::Open) => {
                    *state = passing;
                    return Ok(());
                }
                closed @ (State::Shut | State::Refused) => {
                    *state = closed;
                    return Err(io::Error::other("no request may be written now"));
                }
            }
        };
        let guard = gate.open().ok_or_else(|| io::Error::other("the gate is closed"))?;
        *self.state() = State::Opening { _guard: guard };
        Ok(())
    }

    /// A write was taken: let go of the guard. True if it was the first.
    pub(crate) fn begun(&self) -> bool {
        let mut state = self.state();
        if matches!(*state, State::Opening { .. }) {
            let guard = mem::replace(&mut *state, State::Open);
            drop(state);
            drop(guard);
            return true;
        }
        false
    }
}
