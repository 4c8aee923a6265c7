//! Figures of a span of time, from single deliveries: how many, how they ended, how long they took. Pure.

use std::time::Duration;

use sealpost_core::delivery::Status;
use sealpost_core::time::Timestamp;
use sealpost_store::history::DeliveryMeasure;

/// One part of the span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bucket {
    pub(super) delivered: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
    pub(super) pending: u32,
    /// Of first attempts, sorted.
    took_ms: Vec<u32>,
}

impl Bucket {
    fn add(&mut self, measure: &DeliveryMeasure) {
        match measure.status {
            Status::Delivered => self.delivered += 1,
            Status::Failed => self.failed += 1,
            Status::Cancelled => self.cancelled += 1,
            Status::Pending => self.pending += 1,
        }
        self.took_ms.extend(measure.took_ms);
    }

    pub(super) fn all(&self) -> u32 {
        self.delivered + self.failed + self.cancelled + self.pending
    }

    /// Of those that ended by themselves, in per cent; `None` if none did.
    pub(super) fn success(&self) -> Option<f64> {
        let ended = self.delivered + self.failed;
        (ended > 0).then(|| f64::from(self.delivered) * 100.0 / f64::from(ended))
    }

    /// So many per cent took at most this long.
    pub(super) fn percentile(&self, percent: usize) -> Option<u32> {
        let place = (self.took_ms.len() * percent).div_ceil(100).max(1) - 1;
        self.took_ms.get(place).copied()
    }
}

/// The whole span, and its parts in order.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) whole: Bucket,
    pub(super) parts: Vec<Bucket>,
}

/// `each`: the length of one of the `many` parts; `until`: the last moment of the last one.
pub(super) fn figures(
    measures: &[DeliveryMeasure],
    until: Timestamp,
    each: Duration,
    many: usize,
) -> Figures {
    let each_ms = i64::try_from(each.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut figures = Figures { whole: Bucket::default(), parts: vec![Bucket::default(); many] };
    for measure in measures {
        let ago = until.millis() - measure.created_at.millis();
        let back = usize::try_from(ago.max(0) / each_ms).unwrap_or(usize::MAX);
        if back < many {
            figures.parts[many - 1 - back].add(measure);
            figures.whole.add(measure);
        }
    }
    figures.whole.took_ms.sort_unstable();
    for part in &mut figures.parts {
        part.took_ms.sort_unstable();
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_fall_into_parts_by_the_time_they_were_made() {
        let measure =
            |ms, status, took_ms| DeliveryMeasure { created_at: Timestamp::from_millis(ms), status, took_ms };
        let measures = [
            measure(1001, Status::Delivered, Some(9)),
            measure(3000, Status::Pending, None),
            measure(2999, Status::Failed, Some(5)),
            measure(2000, Status::Delivered, Some(7)),
            measure(999, Status::Delivered, Some(100)),
            measure(3001, Status::Cancelled, None),
        ];
        let Figures { whole, parts } =
            figures(&measures, Timestamp::from_millis(2999), Duration::from_secs(1), 2);
        let counts = |b: &Bucket| (b.delivered, b.failed, b.cancelled, b.pending);
        assert_eq!(parts.iter().map(counts).collect::<Vec<_>>(), [(1, 0, 0, 0), (1, 1, 1, 1)]);
        assert_eq!((counts(&whole), whole.all()), ((2, 1, 1, 1), 5));
        assert_eq!(parts[1].success(), Some(50.0));
        assert_eq!((parts[1].percentile(50), parts[1].percentile(95)), (Some(5), Some(7)));
        assert_eq!(Bucket::default().percentile(50), None);
        assert_eq!(Bucket::default().success(), None);
    }
}
