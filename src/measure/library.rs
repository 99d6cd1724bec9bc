//! What whatsapp-rust counts: it reports through the facade `metrics`, whose recorder this is.
//!
//! Its counts are of the whole process, all native bots together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry;

use super::SECONDS;

/// "1 while the client is connected": of several bots the last that changed would decide. The state of each link
/// is measured by us.
const LEFT_OUT: &str = "wa_connected";
/// Label sets of one name at most; the library's labels are words of short lists.
const MOST: usize = 200;

/// Keeps what was reported. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<BTreeMap<String, Family>>>);

/// Of one name.
#[derive(Debug, Default)]
struct Family {
    help: String,
    unit: Option<Unit>,
    counters: BTreeMap<Labels, Arc<AtomicU64>>,
    histograms: BTreeMap<Labels, Histogram>,
    is_histogram: bool,
}

type Labels = Vec<(String, String)>;

struct Record(Histogram);

impl HistogramFn for Record {
    fn record(&self, value: f64) {
        self.0.observe(value);
    }
}

impl Recorder {
    fn families(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        // The map is whole after each line that changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: &SharedString, is_histogram: bool) {
        let mut families = self.families();
        let family = families.entry(name.as_str().to_owned()).or_default();
        (family.help, family.unit) = (help.replace(['\n', '\\'], " "), unit);
        family.is_histogram = is_histogram;
    }
}

fn labels(key: &Key, known: usize) -> Labels {
    let own = |value: &str| if known < MOST { value.to_owned() } else { super::OTHER.to_owned() };
    key.labels().map(|label| (label.key().to_owned(), own(label.value()))).collect()
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help, false);
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help, true);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut families = self.families();
        let family = families.entry(key.name().to_owned()).or_default();
        let labels = labels(key, family.counters.len());
        Counter::from_arc(Arc::clone(family.counters.entry(labels).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if key.name() != LEFT_OUT {
            tracing::debug!(name = key.name(), "a gauge of the client library is not measured");
        }
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let mut families = self.families();
        let family = families.entry(key.name().to_owned()).or_default();
        family.is_histogram = true;
        let labels = labels(key, family.histograms.len());
        let histogram = family.histograms.entry(labels).or_insert_with(|| Histogram::new(SECONDS));
        metrics::Histogram::from_arc(Arc::new(Record(histogram.clone())))
    }
}

impl Collector for Recorder {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, family) in &*self.families() {
            let help = format!("{} (whatsapp-rust, all native bots together).", family.help);
            let unit = matches!(family.unit, Some(Unit::Seconds)).then_some(registry::Unit::Seconds);
            let kind = if family.is_histogram { MetricType::Histogram } else { MetricType::Counter };
            let name = name.strip_suffix("_total").unwrap_or(name);
            let name = unit.as_ref().and_then(|_| name.strip_suffix("_seconds")).unwrap_or(name);
            let mut metric = encoder.encode_descriptor(name, &help, unit.as_ref(), kind)?;
            for (labels, count) in &family.counters {
                let count = count.load(Ordering::Acquire);
                metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
            for (labels, histogram) in &family.histograms {
                histogram.encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}
