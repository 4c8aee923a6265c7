//! SQLite's own whole check: every page, every row, every index against its table. Too dear for `doctor`, which asks for
//! the quick one.

use std::path::Path;

use super::open;
use crate::error::StoreError;

/// What the check says of a database file that is open in this process; `ok` and nothing else if all is well.
pub fn integrity(path: &Path) -> Result<Vec<String>, StoreError> {
    let said = || -> rusqlite::Result<Vec<String>> {
        let conn = open::reader(path)?;
        let mut statement = conn.prepare("PRAGMA integrity_check(5)")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    said().map_err(|error| StoreError::Backend(error.to_string()))
}
