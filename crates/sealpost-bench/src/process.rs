//! Other processes: started, steered, measured by what the kernel says of them, and ended.

use std::process::Stdio;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A helper process that answers words with JSON lines.
pub(crate) struct Helper {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        Ok(Self { child, stdin, lines })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    pub(crate) async fn line(&mut self) -> Result<String, Failure> {
        Ok(self.lines.next_line().await?.ok_or("the process ended early")?)
    }

    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, word: &str) -> Result<T, Failure> {
        self.stdin.write_all(word.as_bytes()).await?;
        self.stdin.write_all(b"\n").await?;
        self.hear().await
    }

    /// SIGTERM, and the end of the process.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(id) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// User and system seconds of a process so far.
pub(crate) fn cpu_s(id: u32) -> f64 {
    ticks_s(id, 11)
}

/// The same of those of its children that ended.
pub(crate) fn cpu_s_of_the_dead(id: u32) -> f64 {
    ticks_s(id, 13)
}

/// Two fields of `/proc/ID/stat` that stand beside each other, the first one by its place behind the name.
fn ticks_s(id: u32, first: usize) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return f64::NAN };
    // The name, in parentheses, may hold anything.
    let Some((_, rest)) = stat.rsplit_once(')') else { return f64::NAN };
    let ticks = |at: usize| rest.split_whitespace().nth(at).and_then(|n| n.parse::<f64>().ok());
    let spent = ticks(first).zip(ticks(first + 1)).map(|(user, system)| user + system);
    spent.map_or(f64::NAN, |spent| spent / rustix::param::clock_ticks_per_second() as f64)
}

pub(crate) fn own_cpu_s() -> f64 {
    cpu_s(std::process::id())
}

/// Resident memory now, in MB.
pub(crate) fn rss_mb(id: u32) -> f64 {
    status_mb(id, "VmRSS:")
}

/// The most that was ever resident, in MB.
pub(crate) fn peak_rss_mb(id: u32) -> f64 {
    status_mb(id, "VmHWM:")
}

fn status_mb(id: u32, field: &str) -> f64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { return f64::NAN };
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
