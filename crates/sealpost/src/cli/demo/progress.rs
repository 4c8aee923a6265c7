//! How far the demo is: bars on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::receivers::Part;
use crate::cli::output;

const LINE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Progress {
    expected: usize,
    counts: BTreeMap<Part, (usize, usize)>,
    bars: Option<BTreeMap<Part, ProgressBar>>,
    quiet: bool,
    said: Option<(Duration, String)>,
}

impl Progress {
    pub(super) fn new(expected: usize, quiet: bool) -> Self {
        let bars = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("  {prefix:8} {bar:32} {pos:>3}/{len}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = |part: Part| {
                let bar = all.add(ProgressBar::new(expected as u64).with_style(style.clone()));
                bar.set_prefix(part.name());
                (part, bar)
            };
            Part::ALL.map(bar).into()
        });
        Self { expected, counts: BTreeMap::new(), bars, quiet, said: None }
    }

    pub(super) fn set(&mut self, part: Part, delivered: usize, failed: usize) {
        self.counts.insert(part, (delivered, failed));
    }

    pub(super) fn show(&mut self, since: Duration) {
        if let Some(bars) = &self.bars {
            for (part, (delivered, failed)) in &self.counts {
                if let Some(bar) = bars.get(part) {
                    bar.set_position((delivered + failed) as u64);
                    bar.set_message(format!("{delivered} delivered, {failed} failed"));
                }
            }
            return;
        }
        let line = self.line();
        let due = self.said.as_ref().is_none_or(|(at, said)| *said != line && since >= *at + LINE_EVERY);
        if !self.quiet && due {
            output::note(format!("  {}.{} s  {line}", since.as_secs(), since.subsec_millis() / 100));
            self.said = Some((since, line));
        }
    }

    fn line(&self) -> String {
        let of = |(part, (delivered, failed)): (&Part, &(usize, usize))| {
            let ended = delivered + failed;
            format!("{} {ended}/{} ({failed} failed)", part.name(), self.expected)
        };
        self.counts.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn end(&mut self) {
        for bar in self.bars.iter().flat_map(BTreeMap::values) {
            bar.abandon();
        }
    }
}
