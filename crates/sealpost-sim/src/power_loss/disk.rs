//! A disk with a cache: what it holds for sure, and what it may hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::trace::Effect;
use crate::dice::Dice;

/// What a disk writes whole.
const SECTOR: usize = 512;

/// What is left of that which was not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keep {
    Everything,
    Nothing,
    /// Each write or not.
    Some,
    /// Each sector of each write or not.
    Torn,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// Synced.
    sure: Vec<u8>,
    /// Since then.
    open: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

#[derive(Debug, Default)]
pub(super) struct Simulated {
    files: BTreeMap<PathBuf, File>,
    /// Removed, and not for sure: a sync of anything makes it so, as a file system with a journal does.
    removed: BTreeMap<PathBuf, File>,
}

impl Simulated {
    pub(super) fn take(&mut self, effect: &Effect) {
        match effect {
            Effect::Write { file, at, bytes } => {
                let change = Change::Write { at: *at as usize, bytes: bytes.clone() };
                self.files.entry(file.clone()).or_default().open.push(change);
            }
            Effect::Truncate { file, length } => {
                let change = Change::Truncate { length: *length as usize };
                self.files.entry(file.clone()).or_default().open.push(change);
            }
            Effect::Sync { file } => {
                self.removed.clear();
                if let Some(file) = self.files.get_mut(file) {
                    let open = std::mem::take(&mut file.open);
                    open.iter().for_each(|change| change.apply(&mut file.sure));
                }
            }
            Effect::Remove { file } => {
                if let Some(gone) = self.files.remove(file) {
                    self.removed.insert(file.clone(), gone);
                }
            }
            Effect::Rename { from, to } => {
                if let Some(moved) = self.files.remove(from) {
                    self.files.insert(to.clone(), moved);
                }
            }
            Effect::Answer { .. } => {}
        }
    }

    /// A folder as it may be after the power failed now.
    pub(super) fn build(&self, folder: &Path, keep: Keep, dice: &mut Dice) -> io::Result<()> {
        for (name, file) in &self.files {
            write(&folder.join(name), &file.after_loss(keep, dice))?;
        }
        for (name, file) in &self.removed {
            let back = keep != Keep::Everything && dice.one_in(2);
            if back && !self.files.contains_key(name) {
                write(&folder.join(name), &file.after_loss(keep, dice))?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

impl File {
    fn after_loss(&self, keep: Keep, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.sure.clone();
        for change in &self.open {
            match (keep, change) {
                (Keep::Everything, _) => change.apply(&mut bytes),
                (Keep::Nothing, _) => {}
                (Keep::Torn, Change::Write { at, bytes: written }) => {
                    // By the sectors of the file, not of the write.
                    let mut begin = 0;
                    while begin < written.len() {
                        let end = ((at + begin) / SECTOR + 1) * SECTOR - at;
                        let end = end.min(written.len());
                        if dice.one_in(2) {
                            put(&mut bytes, at + begin, &written[begin..end]);
                        }
                        begin = end;
                    }
                }
                (Keep::Some | Keep::Torn, _) => {
                    if dice.one_in(2) {
                        change.apply(&mut bytes);
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes: written } => put(bytes, *at, written),
            Change::Truncate { length } => bytes.resize(*length, 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_stays_and_the_rest_may_go() {
        let file = || PathBuf::from("a");
        let mut disk = Simulated::default();
        disk.take(&Effect::Write { file: file(), at: 0, bytes: vec![1; 1024] });
        disk.take(&Effect::Sync { file: file() });
        disk.take(&Effect::Write { file: file(), at: 256, bytes: vec![2; 1024] });
        let mut dice = Dice::seeded(1);
        let held = |keep, dice: &mut Dice| disk.files[&file()].after_loss(keep, dice);
        assert_eq!(held(Keep::Nothing, &mut dice), vec![1; 1024]);
        assert_eq!(held(Keep::Everything, &mut dice).len(), 1280);
        let images: std::collections::BTreeSet<_> = (0..64).map(|_| held(Keep::Torn, &mut dice)).collect();
        assert_eq!(images.len(), 8, "three sectors are written to, each there or not");
        for image in images {
            assert!(image.len() >= 1024 && image[..256].iter().all(|byte| *byte == 1));
            let sector = &image[256..512];
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
        }
    }
}
