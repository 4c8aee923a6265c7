//! PostgreSQL passes.

use super::backend::Database;

crate::conformance::conformance!(Database);
