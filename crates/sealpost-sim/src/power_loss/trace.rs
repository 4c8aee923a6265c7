//! Reads what `strace` wrote down: what was done to the files of one folder, and which answers were heard, in order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What one call did to what is on disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    Write {
        file: PathBuf,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        length: u64,
    },
    Sync {
        file: PathBuf,
    },
    Remove {
        file: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// The workload heard this.
    Answer {
        line: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) effect: Effect,
}

/// Files whose content nobody needs after a crash.
fn is_volatile(name: &Path) -> bool {
    let name = name.to_string_lossy();
    name.ends_with("-shm") || name.ends_with(".lock")
}

/// `folder` holds the store, `answers` is the file that answers are written to.
pub(super) fn read(log: &str, folder: &Path, answers: &Path) -> Result<Vec<Step>, String> {
    let mut reader =
        Reader { folder, answers, unfinished: HashMap::new(), offsets: HashMap::new(), steps: Vec::new() };
    for line in log.lines() {
        let Some((pid, call)) = line.trim_start().split_once(' ') else { continue };
        if let Some(whole) = reader.whole(pid, call.trim_start()) {
            reader.take(&whole)?;
        }
    }
    Ok(reader.steps)
}

struct Reader<'a> {
    folder: &'a Path,
    answers: &'a Path,
    /// By process: a call whose end was not written down yet.
    unfinished: HashMap<String, String>,
    /// By process' descriptor, as written down.
    offsets: HashMap<String, u64>,
    steps: Vec<Step>,
}

impl Reader<'_> {
    /// Calls of several threads interleave; each is taken when it ended.
    fn whole(&mut self, pid: &str, call: &str) -> Option<String> {
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(pid.to_owned(), begun.to_owned());
            return None;
        }
        if let Some(rest) = call.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>")?;
            return Some(format!("{}{rest}", self.unfinished.remove(pid)?));
        }
        Some(call.to_owned())
    }

    fn take(&mut self, call: &str) -> Result<(), String> {
        let Some((name, rest)) = call.split_once('(') else { return Ok(()) };
        let Some((arguments, result)) = rest.rsplit_once(") ") else { return Ok(()) };
        let result = result.trim_start().trim_start_matches('=').trim_start();
        let result: i64 = result.split([' ', '<']).next().and_then(|text| text.parse().ok()).unwrap_or(-1);
        if result < 0 {
            return Ok(());
        }
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let text = |place: usize| arguments.get(place).copied().unwrap_or_default();
        let number = |place: usize| text(place).parse::<u64>().ok();
        match name {
            "openat" => {
                let Some(file) = self.named(&unquoted(text(1))?) else { return Ok(()) };
                // A new descriptor begins at the start.
                if let Some(descriptor) = call.rsplit_once("= ").map(|(_, descriptor)| descriptor) {
                    self.offsets.insert(descriptor.trim().to_owned(), 0);
                }
                if text(2).contains("O_TRUNC") {
                    self.put(file, |file| Effect::Truncate { file, length: 0 });
                }
            }
            "lseek" => drop(self.offsets.insert(text(0).to_owned(), result as u64)),
            "write" => {
                let bytes = unquoted(text(1))?;
                let path = path_of(text(0))?;
                if path == self.answers {
                    let lines = String::from_utf8_lossy(&bytes).into_owned();
                    for line in lines.lines() {
                        self.steps.push(Step { effect: Effect::Answer { line: line.to_owned() } });
                    }
                } else if let Some(file) = self.inside(&path) {
                    let at = self.offsets.entry(text(0).to_owned()).or_default();
                    let begin = *at;
                    *at += result as u64;
                    let bytes = bytes[..result as usize].to_vec();
                    self.put(file, |file| Effect::Write { file, at: begin, bytes });
                }
            }
            "pwrite64" => {
                let at = number(3).ok_or_else(|| format!("no offset in {}", &call[..call.len().min(80)]))?;
                if let Some(file) = self.inside(&path_of(text(0))?) {
                    let bytes = unquoted(text(1))?[..result as usize].to_vec();
                    self.put(file, |file| Effect::Write { file, at, bytes });
                }
            }
            "ftruncate" => {
                let length = number(1).ok_or("no length")?;
                if let Some(file) = self.inside(&path_of(text(0))?) {
                    self.put(file, |file| Effect::Truncate { file, length });
                }
            }
            "fdatasync" | "fsync" => {
                if let Some(file) = self.inside(&path_of(text(0))?) {
                    self.put(file, |file| Effect::Sync { file });
                }
            }
            "unlink" => {
                if let Some(file) = self.named(&unquoted(text(0))?) {
                    self.put(file, |file| Effect::Remove { file });
                }
            }
            "unlinkat" => {
                if let Some(file) = self.named(&unquoted(text(1))?) {
                    self.put(file, |file| Effect::Remove { file });
                }
            }
            "rename" => {
                if let (Some(from), Some(to)) =
                    (self.named(&unquoted(text(0))?), self.named(&unquoted(text(1))?))
                {
                    self.steps.push(Step { effect: Effect::Rename { from, to } });
                }
            }
            other => {
                // Whatever else changes files of the folder is not understood here, and must not be overlooked.
                if path_of(text(0)).is_ok_and(|path| self.inside(&path).is_some()) {
                    return Err(format!("`{other}` was called on a file of the store"));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, file: PathBuf, effect: impl FnOnce(PathBuf) -> Effect) {
        if !is_volatile(&file) {
            self.steps.push(Step { effect: effect(file) });
        }
    }

    /// The name of a file within the folder; of the folder itself the empty one.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.folder).ok().map(Path::to_owned)
    }

    fn named(&self, bytes: &[u8]) -> Option<PathBuf> {
        self.inside(Path::new(&*String::from_utf8_lossy(bytes)))
    }
}

/// `7<\x2f...>`: the path that a descriptor stands for.
fn path_of(descriptor: &str) -> Result<PathBuf, String> {
    let inner =
        descriptor.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map(|(inner, _)| inner);
    let inner = inner.ok_or_else(|| format!("no path in {descriptor}"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&bytes(inner)?).into_owned()))
}

fn unquoted(argument: &str) -> Result<Vec<u8>, String> {
    let inner = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    bytes(inner.ok_or_else(|| format!("a text was cut off: {}", &argument[..argument.len().min(40)]))?)
}

/// `\x2f\x74` and so on.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let quads = text.as_bytes().chunks(4);
    quads
        .map(|quad| match quad {
            [b'\\', b'x', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| "a text is not in hexadecimal".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn calls_are_read_in_the_order_in_which_they_ended() {
        let (wal, db) = (hex("/d/sealpost.db-wal"), hex("/d/sealpost.db"));
        let log = format!(
            "1  openat(AT_FDCWD<{}>, \"{wal}\", O_RDWR|O_CREAT, 0644) = 7<{wal}>\n\
             1  lseek(7<{wal}>, 32, SEEK_SET) = 32\n\
             1  write(7<{wal}>, \"{}\", 2) = 2\n\
             1  fdatasync(7<{wal}> <unfinished ...>\n\
             2  pwrite64(9<{db}>, \"{}\", 1, 4096) = 1\n\
             1  <... fdatasync resumed>) = 0\n\
             2  write(3<{}>, \"{}\", 5) = 5\n\
             2  write(1<{}>, \"{}\", 1) = 1\n",
            hex("/"),
            hex("ab"),
            hex("c"),
            hex("/a"),
            hex("E 1\nF"),
            hex("/dev/null"),
            hex("x"),
        );
        let steps = read(&log, Path::new("/d"), Path::new("/a")).unwrap();
        let effects: Vec<Effect> = steps.into_iter().map(|step| step.effect).collect();
        let file = |name: &str| PathBuf::from(name);
        assert_eq!(
            effects,
            [
                Effect::Write { file: file("sealpost.db-wal"), at: 32, bytes: b"ab".to_vec() },
                Effect::Write { file: file("sealpost.db"), at: 4096, bytes: b"c".to_vec() },
                Effect::Sync { file: file("sealpost.db-wal") },
                Effect::Answer { line: "E 1".into() },
                Effect::Answer { line: "F".into() },
            ]
        );
        let unknown = format!("1  fallocate(7<{wal}>, 0, 0, 4096) = 0\n");
        assert!(read(&unknown, Path::new("/d"), Path::new("/a")).is_err());
    }
}
