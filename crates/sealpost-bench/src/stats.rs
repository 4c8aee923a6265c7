//! Quantiles of a run and medians over rounds.

use serde::{Deserialize, Serialize};

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// Of spans in microseconds, which are sorted by this.
    pub(crate) fn of(spans_us: &mut [u32]) -> Self {
        spans_us.sort_unstable();
        let at = |share: f64| {
            let rank = ((spans_us.len() as f64 * share).ceil() as usize).clamp(1, spans_us.len().max(1));
            spans_us.get(rank - 1).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        Self {
            count: spans_us.len() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut spans: Vec<u32> = (1..=1000).rev().map(|n| n * 1000).collect();
        let q = Quantiles::of(&mut spans);
        assert_eq!((q.p50, q.p90, q.p99, q.p999, q.max), (500.0, 900.0, 990.0, 999.0, 1000.0));
        assert_eq!(Quantiles::of(&mut []), Quantiles::default());
    }

    #[test]
    fn a_median_ignores_order_and_what_is_no_number() {
        assert_eq!(median([3.0, 1.0, f64::NAN, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
