//! One measured figure, its bar, and what becomes of it over the rounds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::median;

/// Which way is better, and how good it must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bar {
    /// Nothing is asked of it.
    None,
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) bar: Bar,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, value, bar: Bar::None }
    }

    pub(crate) fn at_least(self, bar: f64) -> Self {
        Self { bar: Bar::AtLeast(bar), ..self }
    }

    pub(crate) fn at_most(self, bar: f64) -> Self {
        Self { bar: Bar::AtMost(bar), ..self }
    }
}

/// A figure over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
    pub(crate) bar: Bar,
}

impl Summary {
    /// `None`: nothing is asked.
    pub(crate) fn holds(&self) -> Option<bool> {
        match self.bar {
            Bar::None => None,
            Bar::AtLeast(bar) => Some(self.median >= bar),
            Bar::AtMost(bar) => Some(self.median <= bar),
        }
    }
}

/// Every figure's median, in the order in which the figures first came.
pub(crate) fn summarise(rounds: &[Vec<Figure>]) -> Vec<Summary> {
    let mut order: Vec<&Figure> = Vec::new();
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for figure in rounds.iter().flatten() {
        let of_this = values.entry(&figure.name).or_default();
        if of_this.is_empty() {
            order.push(figure);
        }
        of_this.push(figure.value);
    }
    let summary = |figure: &Figure| {
        let values = values.get(figure.name.as_str()).cloned().unwrap_or_default();
        Summary {
            name: figure.name.clone(),
            unit: figure.unit,
            median: median(values.iter().copied()),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            rounds: values.len(),
            bar: figure.bar,
        }
    };
    order.into_iter().map(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_medians_that_are_held_against_their_bars() {
        let round =
            |rate: f64| vec![Figure::new("rate", "/s", rate).at_least(2.0), Figure::new("x", "", 1.0)];
        let summaries = summarise(&[round(1.0), round(3.0), round(2.0)]);
        let seen: Vec<_> =
            summaries.iter().map(|s| (s.name.as_str(), s.median, s.rounds, s.holds())).collect();
        assert_eq!(seen, [("rate", 2.0, 3, Some(true)), ("x", 1.0, 3, None)]);
        assert_eq!(summarise(&[vec![Figure::new("p99", "ms", 3.1).at_most(3.0)]])[0].holds(), Some(false));
    }
}
