//! The last question before the first byte.
//!
//! A claim may have become worthless between being taken and being sent: the webhook was disabled, the start
//! window passed. The gate is asked exactly once per attempt, at the last possible moment, so that whoever
//! closes it can promise that nothing starts afterwards.

use std::any::Any;
use std::fmt;

/// Decides whether an attempt may still begin.
///
/// Over HTTP/1 it is asked inside the first write of request bytes to the socket (below TLS encryption's
/// caller, above the kernel). Over HTTP/2, where many requests share one writer, it is asked immediately
/// before the request is handed to the connection; at most the connection task's turn lies between.
/// It is asked on an executor thread, so it must not block for long.
pub trait Gate: Send + Sync {
    /// `None` refuses: the attempt then ends with `GateClosed` and no request byte leaves.
    fn open(&self) -> Option<GateGuard>;
}

/// Held from the gate's answer until the first write returned (HTTP/2: until the connection took the
/// request's head). Whoever closes a gate can wait for the guards that are still out.
pub struct GateGuard {
    _held: Option<Box<dyn Any + Send>>,
}

impl GateGuard {
    /// `held` is dropped when the first write has returned.
    pub fn holding(held: impl Any + Send) -> Self {
        Self { _held: Some(Box::new(held)) }
    }

    /// For gates that nobody waits on.
    pub fn empty() -> Self {
        Self { _held: None }
    }
}

impl fmt::Debug for GateGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateGuard")
    }
}

/// Always open: for requests that nothing can withdraw.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn open(&self) -> Option<GateGuard> {
        Some(GateGuard::empty())
    }
}
