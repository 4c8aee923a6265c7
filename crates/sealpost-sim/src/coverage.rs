//! What a run reached. A workload that never comes to a place proves nothing about it.

use std::collections::BTreeMap;

/// Everything that a run of some length must have come to.
pub const EXPECTED: &[&str] = &[
    // faults
    "store slow",
    "store failed",
    "store answer lost",
    "crash before a store call",
    "crash after a commit",
    "crash before a gate",
    "crash after a gate",
    "crash before an outcome was stored",
    "crash at a time",
    "power loss",
    "drain",
    "start failed",
    "wall clock stepped",
    // receivers
    "answered 2xx",
    "answered 3xx",
    "answered 4xx",
    "answered 5xx",
    "asked to wait",
    "hung",
    "answered too late",
    "dns",
    "connect",
    "tls",
    "protocol",
    "panic in an attempt",
    "gate closed",
    // callers
    "publish",
    "publish with an id",
    "publish with a key",
    "publish several",
    "publish failed",
    "publisher hung up",
    "repeated",
    "conflict",
    "create webhook",
    "change url",
    "disable",
    "enable",
    "delete webhook",
    "change settings",
    "rotate secret",
    "rotate token",
    "rotate keys",
    "send test",
    "redeliver",
    "redeliver all",
    "cancel delivery",
    "erase events",
    "erase subject",
    "erase range",
    // what the engine and the store did
    "registry had moved",
    "settled already",
    "handed back",
    "handed back too late",
    "orphan unknown",
    "orphan handed back",
    "payload pruned",
    "metadata forgotten",
    "redelivered many",
    "webhook failing told",
    "signature verified",
    // how deliveries ended, and attempts
    "delivered",
    "attempts_exhausted",
    "outcome_unknown",
    "webhook_disabled",
    "webhook_deleted",
    "payload_erased",
    "cancelled_by_caller",
    "attempt delivered",
    "attempt http_status",
    "attempt timeout",
    "attempt dns",
    "attempt connect",
    "attempt tls",
    "attempt protocol",
    "attempt unknown",
];

#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, n: u64) {
        *self.0.entry(what).or_default() += n;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub fn merge(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            self.add(what, *n);
        }
    }

    pub fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| self.of(what) == 0).collect()
    }

    pub fn lines(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, n)| (*what, *n))
    }
}
