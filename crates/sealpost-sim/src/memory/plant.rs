//! Bugs on purpose. A simulation that does not find each of them proves nothing by finding none.

macro_rules! plants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Plant { $($(#[$doc])* $variant),* }

        impl Plant {
            pub const ALL: &'static [Plant] = &[$(Plant::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Plant::$variant => $name),* }
            }

            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|plant| plant.name() == name)
            }
        }
    };
}

plants! {
    /// A settlement is stored whoever holds the claim.
    NoFence = "no-fence",
    /// A retry is due after half its wait.
    ShortWait = "short-wait",
    /// A claim does not use an attempt up.
    UncountedClaim = "uncounted-claim",
    /// Requests leave without asking their gate.
    NoGate = "no-gate",
    /// What an earlier process had claimed is not found.
    NoOrphans = "no-orphans",
    /// A lane with waiting deliveries is not told.
    LostWakeUp = "lost-wake-up",
    /// Accepting answers before the commit: what was accepted last goes with the process.
    EarlyAnswer = "early-answer",
    /// A repeat is accepted again.
    NoIdempotency = "no-idempotency",
    /// Deliveries of a disabled or deleted webhook are handed out.
    StaleClaims = "stale-claims",
    /// Erasing cancels and destroys nothing.
    NoErasure = "no-erasure",
    /// An answer after the time limit counts.
    LateAnswer = "late-answer",
    /// A request never ends.
    EndlessRequest = "endless-request",
    /// What was handed back unsent is forgotten.
    LostHandBack = "lost-hand-back",
    /// Accepting does not look whether the registry moved.
    StaleRegistry = "stale-registry",
}
