//! The master key: 32 bytes in a file of its own, outside of the database and of every backup. It wraps the
//! tenants' keys and does nothing else.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::error::StoreError;

/// First word of the file, so that nobody mistakes it for something else.
const WORD: &str = "sealpost-master-key-1";
/// Longer files are not ours.
const FILE_BYTES_MAX: u64 = 4096;

#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Reads `sealpost-master-key-1 <64 hexadecimal digits>`. Refuses a file that others than its owner may read.
    pub fn read_file(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let refused = |why: String| StoreError::MasterKey(why);
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refused(format!(
                "the master key file {shown} is missing; without it the store cannot be opened"
            )),
            _ => refused(format!("the master key file {shown} cannot be read: {error}")),
        })?;
        // Of the open file, not of the path: the two could differ by now.
        let mode = file
            .metadata()
            .map_err(|error| refused(format!("the master key file {shown} cannot be read: {error}")))?
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(refused(format!(
                "the master key file {shown} has mode {mode:04o}, so others may read it; use chmod 600"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| refused(format!("the master key file {shown} cannot be read: {error}")))?;
        let mut words = text.split_ascii_whitespace();
        let key = match (words.next(), words.next(), words.next()) {
            (Some(WORD), Some(hex), None) => from_hex(hex),
            _ => None,
        };
        key.map(MasterKey).ok_or_else(|| {
            refused(format!("the master key file {shown} must hold `{WORD}` and 64 hexadecimal digits"))
        })
    }

    /// Makes a new key in a new file of mode 0600, on stable storage when this returns.
    pub fn make_file(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| {
            StoreError::MasterKey(format!(
                "the master key file {} could not be made: {error}",
                path.display()
            ))
        };
        let key = Self(Zeroizing::new(super::random()));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut line = Zeroizing::new(String::with_capacity(128));
        line.push_str(WORD);
        line.push(' ');
        push_hex(&mut line, key.bytes());
        line.push('\n');
        file.write_all(line.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The name has to survive a power loss as well, before anything is sealed under the key.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(key)
    }

    /// For keys that come from somewhere else than a file, and for tests.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Tells this key from others and gives nothing away: kept in the store to refuse a wrong key at start.
    pub fn check_value(&self) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes());
        let tag = hmac::sign(&key, b"sealpost master key check 1");
        let mut value = [0; 32];
        value.copy_from_slice(tag.as_ref());
        value
    }

    /// The mode of a key file, for `doctor`.
    pub fn file_mode(path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.mode() & 0o777)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn push_hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            line.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(*high)? * 16 + digit(*low)?) as u8;
    }
    Some(bytes)
}
