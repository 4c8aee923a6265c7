//! A data folder of its own for each case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealpost_store::Store;
use sealpost_store::sqlite::{OpenOptions, SqliteStore};

use crate::conformance::Backend;

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("sealpost.db")
    }

    pub(crate) fn master_key(&self) -> PathBuf {
        self.path().join("master.key")
    }
}

impl Backend for Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(OpenOptions::new(self.database())).unwrap())
    }
}
