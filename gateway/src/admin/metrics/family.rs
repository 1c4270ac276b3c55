//! The text format of OpenMetrics 1.0: families of metrics, each with one value for each set of labels.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// All families of one scrape, in their order.
#[derive(Debug, Default)]
pub(super) struct Page {
    families: Vec<Family>,
}

/// A metric with one value for each set of labels.
#[derive(Debug)]
struct Family {
    name: String,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
pub(super) enum Values {
    Counter(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    /// A number that only SRS's name keeps from being a counter.
    Unknown(f64),
    Histogram(Vec<(Labels, Histogram)>),
}

/// How many values there are up to each bound.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) sum: f64,
    pub(super) count: u64,
    pub(super) buckets: Vec<(f64, u64)>,
}

pub(super) type Labels = Vec<(&'static str, String)>;

impl Page {
    pub(super) fn add(&mut self, name: &str, help: &'static str, values: Values) {
        self.families.push(Family { name: name.into(), help, values });
    }

    pub(super) fn counter(&mut self, name: &str, help: &'static str, value: f64) {
        self.add(name, help, Values::Counter(vec![(Labels::new(), value)]));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.add(name, help, Values::Gauge(vec![(Labels::new(), value)]));
    }

    pub(super) fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, values } in &self.families {
            let metric_type = match values {
                Values::Counter(_) => MetricType::Counter,
                Values::Gauge(_) => MetricType::Gauge,
                Values::Unknown(_) => MetricType::Unknown,
                Values::Histogram(_) => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
            match values {
                Values::Counter(values) => {
                    for (labels, value) in values {
                        labelled(&mut metric, labels, &mut |metric| {
                            metric.encode_counter::<NoLabelSet, f64, f64>(value, None)
                        })?;
                    }
                }
                Values::Gauge(values) => {
                    for (labels, value) in values {
                        labelled(&mut metric, labels, &mut |metric| metric.encode_gauge(value))?;
                    }
                }
                Values::Unknown(value) => metric.encode_gauge(value)?,
                Values::Histogram(values) => {
                    for (labels, Histogram { sum, count, buckets }) in values {
                        labelled(&mut metric, labels, &mut |metric| {
                            metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
                        })?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Encodes one value, without empty braces where there are no labels.
fn labelled(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: &mut dyn FnMut(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; 2^53 bytes are far")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}
