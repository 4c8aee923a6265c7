//! SQLite passes.

use super::backend::Folder;

crate::conformance::conformance!(Folder);
