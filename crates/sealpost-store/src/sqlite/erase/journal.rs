//! `erasures.jsonl`: one line for each erasure that was asked for, appended and on stable storage before it begins.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use sealpost_core::id::{ErasureId, EventId, TenantId};
use sealpost_core::time::Timestamp;

use crate::error::StoreError;
use crate::sqlite::rows::{corrupt, to_json};
use crate::upkeep::{Erasure, ErasureScope};

/// The name of the list in a data folder.
pub const FILE: &str = "erasures.jsonl";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::sqlite) struct Entry {
    pub(in crate::sqlite) id: ErasureId,
    /// The public id: numbers of tenants may differ in another store.
    pub(in crate::sqlite) tenant: TenantId,
    /// When it was asked for, in milliseconds.
    pub(in crate::sqlite) at: i64,
    scope: Scope,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Events(Vec<EventId>),
    /// Keyed hash of the subject, in hexadecimal.
    Subject(String),
    Range {
        from: i64,
        to: i64,
    },
}

impl Entry {
    pub(super) fn new(erasure: &Erasure, tenant: TenantId) -> Self {
        let scope = match &erasure.scope {
            ErasureScope::Events(ids) => Scope::Events(ids.clone()),
            ErasureScope::Subject(hash) => Scope::Subject(hex(hash)),
            ErasureScope::Range { from, to } => Scope::Range { from: from.millis(), to: to.millis() },
        };
        Self { id: erasure.id, tenant, at: erasure.by.at.millis(), scope }
    }

    pub(in crate::sqlite) fn scope(&self) -> Result<ErasureScope, StoreError> {
        Ok(match &self.scope {
            Scope::Events(ids) => ErasureScope::Events(ids.clone()),
            Scope::Subject(text) => ErasureScope::Subject(from_hex(text).ok_or(corrupt("erasure"))?),
            Scope::Range { from, to } => {
                ErasureScope::Range { from: Timestamp::from_millis(*from), to: Timestamp::from_millis(*to) }
            }
        })
    }
}

/// As the `erasure` table keeps it.
pub(super) fn scope_text(entry: &Entry) -> Result<String, StoreError> {
    to_json(&entry.scope)
}

pub(super) fn append(folder: &Path, entry: &Entry) -> Result<(), StoreError> {
    append_all(folder, &[entry])
}

/// Takes over those entries that the folder's list does not have.
pub(in crate::sqlite) fn append_missing(folder: &Path, entries: &[Entry]) -> Result<(), StoreError> {
    let known: HashSet<ErasureId> = read(folder)?.into_iter().flatten().map(|entry| entry.id).collect();
    let missing: Vec<&Entry> = entries.iter().filter(|entry| !known.contains(&entry.id)).collect();
    if missing.is_empty() { Ok(()) } else { append_all(folder, &missing) }
}

fn append_all(folder: &Path, entries: &[&Entry]) -> Result<(), StoreError> {
    let path = folder.join(FILE);
    let failed = |error: io::Error| cannot("written", &path, &error);
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    let mut lines = String::new();
    for entry in entries {
        lines.push_str(&to_json(entry)?);
        lines.push('\n');
    }
    if !ends_whole(&file).map_err(failed)? {
        // A crash cut the last line; it was never answered, and must not swallow this one.
        lines.insert(0, '\n');
    }
    file.write_all(lines.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn ends_whole(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

/// Every erasure of the folder, each once, in order. `None`: the folder has no such list.
pub(in crate::sqlite) fn read(folder: &Path) -> Result<Option<Vec<Entry>>, StoreError> {
    let path = folder.join(FILE);
    match File::open(&path) {
        Ok(file) => read_file(file, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", &path, &error)),
    }
}

/// A list that somebody named: it must be there and be one.
pub(in crate::sqlite) fn read_named(path: &Path) -> Result<Vec<Entry>, StoreError> {
    let failed = |error: io::Error| {
        StoreError::Refused(format!("the list of erasures {} could not be read: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    let empty = file.metadata().map_err(failed)?.len() == 0;
    let entries = read_file(file, path)?;
    if entries.is_empty() && !empty {
        return Err(StoreError::Refused(format!("{} is not a list of erasures", path.display())));
    }
    Ok(entries)
}

fn read_file(file: File, path: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut known = HashSet::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| cannot("read", path, &error))?;
        // A line that was cut by a crash was never answered. Only such a line cannot be read.
        let Ok(entry) = serde_json::from_str::<Entry>(&line) else {
            if !line.is_empty() {
                tracing::warn!(file = %path.display(), "a line of the list of erasures is incomplete");
            }
            continue;
        };
        if known.insert(entry.id) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Backend(format!("the list of erasures {} could not be {what}: {error}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if !rest.is_empty() || pairs.len() != bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use sealpost_core::audit::{Action, By};
    use sealpost_core::id::TenantNo;

    fn entry(n: u8, scope: ErasureScope) -> Entry {
        let now = Timestamp::from_millis(1000 + i64::from(n));
        let erasure = Erasure {
            id: ErasureId::from_bytes([n; 16]),
            tenant: TenantNo(1),
            scope,
            by: By::new("client 1", Action::ErasePayloads, now),
        };
        Entry::new(&erasure, TenantId::from_bytes([9; 16]))
    }

    #[test]
    fn every_scope_is_a_line_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let range = ErasureScope::Range { from: Timestamp::from_millis(1), to: Timestamp::from_millis(2) };
        let entries = [
            entry(1, ErasureScope::Events(vec![EventId::from_bytes([5; 16])])),
            entry(2, ErasureScope::Subject([0xAB; 32])),
            entry(3, range),
        ];
        for entry in &entries {
            append(folder.path(), entry).unwrap();
        }
        expect![[r#"
            {"id":"01010101-0101-0101-0101-010101010101","tenant":"09090909-0909-0909-0909-090909090909","at":1001,"scope":{"events":["05050505-0505-0505-0505-050505050505"]}}
            {"id":"02020202-0202-0202-0202-020202020202","tenant":"09090909-0909-0909-0909-090909090909","at":1002,"scope":{"subject":"abababababababababababababababababababababababababababababababab"}}
            {"id":"03030303-0303-0303-0303-030303030303","tenant":"09090909-0909-0909-0909-090909090909","at":1003,"scope":{"range":{"from":1,"to":2}}}
        "#]].assert_eq(&std::fs::read_to_string(folder.path().join(FILE)).unwrap());
        let read = read(folder.path()).unwrap().unwrap();
        assert_eq!(read, entries);
        assert!(matches!(read[1].scope().unwrap(), ErasureScope::Subject(hash) if hash == [0xAB; 32]));
    }

    #[test]
    fn a_line_cut_by_a_crash_harms_neither_its_neighbours_nor_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let entries = [entry(1, ErasureScope::Subject([1; 32])), entry(2, ErasureScope::Subject([2; 32]))];
        append(folder.path(), &entries[0]).unwrap();
        let path = folder.path().join(FILE);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(br#"{"id":"0202"#).unwrap();
        append(folder.path(), &entries[1]).unwrap();
        append(folder.path(), &entries[1]).unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap(), entries);
    }

    #[test]
    fn a_named_list_must_be_one_and_only_what_is_missing_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let entries = [entry(1, ErasureScope::Subject([1; 32])), entry(2, ErasureScope::Subject([2; 32]))];
        assert_eq!(read(folder.path()).unwrap(), None);
        append(folder.path(), &entries[0]).unwrap();
        append_missing(elsewhere.path(), &entries).unwrap();
        let named = read_named(&elsewhere.path().join(FILE)).unwrap();
        assert_eq!(named, entries);
        append_missing(folder.path(), &named).unwrap();
        append_missing(folder.path(), &named).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap().lines().count(), 2);

        let other = folder.path().join("other.txt");
        std::fs::write(&other, "hello\n").unwrap();
        let refused = read_named(&other).unwrap_err().to_string();
        assert!(refused.ends_with("other.txt is not a list of erasures"), "{refused}");
        assert!(matches!(read_named(&folder.path().join("nothing")), Err(StoreError::Refused(_))));
    }
}
