//! What the operator of the installation calls: tenants and their clients, in the shapes of MATTR's management API.

pub(super) mod clients;
pub(super) mod tenants;
