//! The measurements of one name, told apart by labels; their number is bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Label sets of one name at most. Names of bots and jobs come from the file and words from our own lists, so this
/// is reached by no ordinary life; what comes after it counts as [`OTHER`].
const MOST: usize = 2_000;
/// The value of every label of a set that is one too many.
pub const OTHER: &str = "other";

/// Names and values of labels.
pub type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// Measurements of one name. Cheap to clone.
#[derive(Debug)]
pub struct Series<const N: usize, M> {
    names: [&'static str; N],
    make: fn() -> M,
    most: usize,
    all: Arc<Mutex<BTreeMap<Labels<N>, M>>>,
}

impl<const N: usize, M> Clone for Series<N, M> {
    fn clone(&self) -> Self {
        Self { all: Arc::clone(&self.all), ..*self }
    }
}

impl<const N: usize, M: Clone> Series<N, M> {
    /// None yet; `make` makes each.
    pub fn new(names: [&'static str; N], make: fn() -> M) -> Self {
        Self { names, make, most: MOST, all: Arc::default() }
    }

    /// The one with these values of the labels, made when it is not there.
    pub fn of(&self, values: [&str; N]) -> M {
        let mut all = self.all();
        let mut labels = std::array::from_fn(|n| (self.names[n], Cow::Owned(values[n].to_owned())));
        if let Some(found) = all.get(&labels) {
            return found.clone();
        }
        if all.len() >= self.most {
            labels = self.names.map(|name| (name, Cow::Borrowed(OTHER)));
        }
        all.entry(labels).or_insert_with(self.make).clone()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Labels<N>, M>> {
        // The map is whole after each line that changes it.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize, M: EncodeMetric + TypedMetric + Clone> EncodeMetric for Series<N, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let all = self.all().clone();
        for (labels, metric) in &all {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn more_label_sets_than_may_be_are_counted_together() {
        let mut series: Series<1, Counter> = Series::new(["word"], Counter::default);
        series.most = 3;
        for word in ["a", "b", "c", "d", "e", "a", "d"] {
            series.of([word]).inc();
        }
        assert_eq!(series.of(["a"]).get(), 2);
        assert_eq!(series.of([OTHER]).get(), 3);
        assert_eq!(series.all().len(), 4);
    }
}
