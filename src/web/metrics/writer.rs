//! Writes one family after another.

use std::fmt;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Names and values of labels, with the value they are for.
pub type Sample<const N: usize, V> = ([(&'static str, String); N], V);

/// The encoder with fewer words. Names come without unit and `_total`: both are added.
pub struct Writer<'e>(pub DescriptorEncoder<'e>);

impl Writer<'_> {
    /// A counter.
    pub fn counter<const N: usize, V: EncodeCounterValue>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        samples: impl IntoIterator<Item = Sample<N, V>>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// A gauge.
    pub fn gauge<const N: usize>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        samples: impl IntoIterator<Item = Sample<N, f64>>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// One that does not change.
    pub fn info<const N: usize>(&mut self, name: &str, help: &str, labels: [(&str, &str); N]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }
}

/// A count as a gauge's value.
#[allow(clippy::cast_precision_loss, reason = "what is measured is far below 2^53")]
pub fn count(value: u64) -> f64 {
    value as f64
}

/// 1 or 0.
pub fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Seconds since 1970.
#[allow(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
pub fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}
