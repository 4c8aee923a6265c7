//! Which claims reached their first byte, told to the next process after a kill.
//!
//! A claim is on disk before its request begins, so that a crash can never add a send. But a process that dies between
//! the two would use an attempt up for nothing. So the gate marks each start in a small file, one slot for each send
//! whose outcome is not stored yet, without waiting for the disk: what was written survives the death of the process,
//! and a claim without a mark is handed back by the next one. It does not survive a power cut; then the machine has
//! another boot id, nothing in the file counts, and every orphan is `unknown`, as it must be.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sealpost_core::limits::UNSETTLED_MAX;
use sealpost_store::queue::ClaimTicket;

const FILE_NAME: &str = "started";
/// Slots never cross a page, and neither do they share one with the header.
const SLOT_BYTES: u64 = 32;
const HEADER_BYTES: u64 = 4096;
/// A delivery whose claims die again and again before they begin may be what kills the process: after this many times
/// its attempts count, so that it comes to an end.
const HANDED_BACK_MAX: i64 = 8;

/// What an earlier process left.
#[derive(Debug)]
enum Before {
    /// Another boot, no file, or not ours: nobody knows what began.
    Unknown,
    /// Delivery and fence of every claim that began and may be unsettled, among older ones.
    Known(HashSet<(i64, i64)>),
}

#[derive(Debug)]
pub struct StartMarks {
    file: Option<File>,
    boot_id: String,
    before: Before,
    free: Mutex<Vec<u32>>,
}

impl StartMarks {
    /// Marks nothing: every orphan counts as begun.
    pub fn none() -> Arc<Self> {
        Arc::new(Self { file: None, boot_id: String::new(), before: Before::Unknown, free: Mutex::default() })
    }

    /// Reads what the process before left in `folder`. Nothing is written before [`arm`](Self::arm).
    pub fn open(folder: &Path, boot_id: &str) -> io::Result<Arc<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(folder.join(FILE_NAME))?;
        let before = read(&file, boot_id)?;
        let free = Mutex::new((0..UNSETTLED_MAX as u32).rev().collect());
        Ok(Arc::new(Self { file: Some(file), boot_id: boot_id.to_owned(), before, free }))
    }

    /// Whether the claim of an earlier process may be handed back: it certainly sent nothing.
    pub fn never_began(&self, ticket: &ClaimTicket) -> bool {
        // The fence rises with every claim and again with its end, whether settled or handed back.
        let handed_back = (ticket.fence - 1) / 2 - (i64::from(ticket.attempt) - 1);
        match &self.before {
            Before::Unknown => false,
            Before::Known(began) => {
                handed_back < HANDED_BACK_MAX && !began.contains(&(ticket.delivery.0, ticket.fence))
            }
        }
    }

    /// From now on the file speaks of this boot. To be called when no claim of an earlier process is left, and before
    /// the first one of this.
    pub fn arm(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if matches!(self.before, Before::Known(_)) {
            return Ok(());
        }
        file.set_len(0)?;
        file.write_all_at(&vec![0; UNSETTLED_MAX * SLOT_BYTES as usize], HEADER_BYTES)?;
        file.write_all_at(self.boot_id.as_bytes(), 0)
    }

    /// A slot for one claim, to be kept until its outcome is stored. `None`: too many are unsettled.
    pub fn slot(self: &Arc<Self>) -> Option<StartSlot> {
        let number = match &self.file {
            Some(_) => self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?,
            None => 0,
        };
        Some(StartSlot { marks: Arc::clone(self), number })
    }
}

fn read(file: &File, boot_id: &str) -> io::Result<Before> {
    let mut bytes = vec![0; HEADER_BYTES as usize + UNSETTLED_MAX * SLOT_BYTES as usize];
    if boot_id.is_empty() || file.metadata()?.len() != bytes.len() as u64 {
        return Ok(Before::Unknown);
    }
    file.read_exact_at(&mut bytes, 0)?;
    let (header, slots) = bytes.split_at(HEADER_BYTES as usize);
    if header.get(..boot_id.len()) != Some(boot_id.as_bytes()) {
        return Ok(Before::Unknown);
    }
    let number = |at: &[u8]| at.try_into().map(i64::from_le_bytes).unwrap_or_default();
    let marks =
        slots.chunks_exact(SLOT_BYTES as usize).map(|slot| (number(&slot[..8]), number(&slot[8..16])));
    Ok(Before::Known(marks.filter(|mark| *mark != (0, 0)).collect()))
}

/// One send's place in the file.
#[derive(Debug)]
pub struct StartSlot {
    marks: Arc<StartMarks>,
    number: u32,
}

impl StartSlot {
    /// Says that the claim's first byte is about to leave.
    pub fn mark(&self, ticket: &ClaimTicket) -> io::Result<()> {
        let Some(file) = &self.marks.file else { return Ok(()) };
        let mut bytes = [0; SLOT_BYTES as usize];
        bytes[..8].copy_from_slice(&ticket.delivery.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&ticket.fence.to_le_bytes());
        file.write_all_at(&bytes, HEADER_BYTES + u64::from(self.number) * SLOT_BYTES)
    }
}

impl Drop for StartSlot {
    fn drop(&mut self) {
        if self.marks.file.is_some() {
            self.marks.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_core::id::{DeliveryId, DeliveryNo, WebhookNo};
    use sealpost_core::lane::LaneNo;

    fn ticket(delivery: i64, attempt: u8, fence: i64) -> ClaimTicket {
        let webhook = WebhookNo(1);
        ClaimTicket {
            delivery: DeliveryNo(delivery),
            id: DeliveryId::from_bytes([0; 16]),
            webhook,
            lane: LaneNo::ordinary(webhook),
            lane_epoch: 0,
            attempt,
            fence,
            only_unknown_before: true,
        }
    }

    fn opened(folder: &Path, boot: &str) -> Arc<StartMarks> {
        let marks = StartMarks::open(folder, boot).unwrap();
        marks.arm().unwrap();
        marks
    }

    #[test]
    fn only_what_began_is_remembered_and_only_within_one_boot() {
        let folder = tempfile::tempdir().unwrap();
        let first = opened(folder.path(), "boot a");
        assert!(!first.never_began(&ticket(1, 1, 1)), "a new file knows nothing");
        let slot = first.slot().unwrap();
        slot.mark(&ticket(1, 1, 1)).unwrap();
        let _claimed_and_not_begun = first.slot().unwrap();

        let second = opened(folder.path(), "boot a");
        assert!(!second.never_began(&ticket(1, 1, 1)));
        assert!(second.never_began(&ticket(2, 1, 1)));
        assert!(second.never_began(&ticket(1, 2, 3)), "a later claim of the same delivery is another one");

        let rebooted = opened(folder.path(), "boot b");
        assert!(!rebooted.never_began(&ticket(2, 1, 1)));
    }

    #[test]
    fn a_kill_before_the_first_start_of_a_boot_still_knows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path(), "boot a");
        // The next boot dies before it has settled what it found, and so before it arms the file.
        StartMarks::open(folder.path(), "boot b").unwrap();
        assert!(!StartMarks::open(folder.path(), "boot b").unwrap().never_began(&ticket(2, 1, 1)));
    }

    #[test]
    fn a_slot_is_used_again_only_after_it_was_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let marks = opened(folder.path(), "boot a");
        let slots: Vec<StartSlot> = std::iter::from_fn(|| marks.slot()).collect();
        assert_eq!(slots.len(), UNSETTLED_MAX);
        slots[0].mark(&ticket(7, 1, 1)).unwrap();
        drop(slots);
        let again = marks.slot().unwrap();
        again.mark(&ticket(8, 1, 1)).unwrap();
        let next = opened(folder.path(), "boot a");
        assert!(!next.never_began(&ticket(8, 1, 1)));
    }

    #[test]
    fn what_is_handed_back_again_and_again_comes_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path(), "boot a");
        let marks = opened(folder.path(), "boot a");
        assert!(marks.never_began(&ticket(1, 1, 15)));
        assert!(!marks.never_began(&ticket(1, 1, 17)), "handed back eight times");
        assert!(marks.never_began(&ticket(1, 2, 17)), "one settled, seven handed back");
    }
}
