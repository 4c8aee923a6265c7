//! Every bound this crate puts on what strangers send, with its reason.

/// Longest structured field read. HTTP servers commonly refuse a header block above 16 KiB anyway.
pub const MAX_FIELD_BYTES: usize = 16 * 1024;

/// Members of a dictionary. A request carries one or two signatures; proxies may add a few.
pub const MAX_MEMBERS: usize = 32;

/// Components one signature may cover, and items of any inner list. Checked pairwise for duplicates.
pub const MAX_COMPONENTS: usize = 64;

/// Parameters of one item. RFC 9421 registers six.
pub const MAX_PARAMETERS: usize = 16;

/// Longest key id, in bytes. A thumbprint has 43.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// Longest `webhook-id`, in bytes. Ours are UUIDs.
pub const MAX_WEBHOOK_ID_BYTES: usize = 256;

/// Entries of one `webhook-signature`: each `v1a` entry may cost one curve operation per key.
pub const MAX_WEBHOOK_SIGNATURES: usize = 16;

/// Largest JWKS document read. A hundred Ed25519 keys fit in a quarter of it.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;

/// Keys of one JWKS, counted before unusable ones are left out.
pub const MAX_JWKS_KEYS: usize = 100;
