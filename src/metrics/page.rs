//! The answer to a scrape: the values of all families, in the text format of Prometheus.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary,
};

use super::counts::{Counts, Measured};
use super::family::{Family, Kind, Origin};

/// The quantiles of summaries, as in the original.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// A microsecond, in nanoseconds.
const MICROSECOND: f64 = 1e3;

/// Gathers values. A family without a value is left out.
#[derive(Debug)]
pub struct Page {
    /// The value of the label `instance` in the original's families.
    instance: String,
    /// The time of the scrape, by the clock that also times the ticks.
    pub now: Duration,
    families: Vec<MetricFamily>,
    places: HashMap<&'static str, usize>,
}

impl Page {
    pub fn new(instance: String, now: Duration) -> Self {
        Self { instance, now, families: Vec::new(), places: HashMap::new() }
    }

    /// The value of a counter or a gauge. `labels` are in the order of the family.
    pub fn value(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut metric = self.metric(family, labels);
        if family.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(family, metric);
    }

    pub fn histogram(&mut self, family: &Family, labels: &[&str], measured: Measured, counts: &Counts) {
        let mut cumulative = 0;
        let bounded = counts.buckets.iter().zip(measured.bounds());
        let buckets = bounded.map(|(count, bound)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(measured.reported(*bound as f64));
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.count());
        histogram.set_sample_sum(measured.reported(counts.sum as f64));
        let mut metric = self.metric(family, labels);
        metric.set_histogram(histogram);
        self.push(family, metric);
    }

    /// Durations in microseconds. `total` since the start of the process, quantiles of the last minute.
    pub fn summary(&mut self, family: &Family, labels: &[&str], total: &Counts, minute: &Counts) {
        let quantiles = QUANTILES.map(|share| {
            let mut quantile = Quantile::default();
            quantile.set_quantile(share);
            quantile.set_value(minute.quantile(Measured::Time, share) / MICROSECOND);
            quantile
        });
        let mut summary = Summary::default();
        summary.set_quantile(quantiles.to_vec());
        summary.set_sample_count(total.count());
        summary.set_sample_sum(total.sum as f64 / MICROSECOND);
        let mut metric = self.metric(family, labels);
        metric.set_summary(summary);
        self.push(family, metric);
    }

    fn metric(&self, family: &Family, labels: &[&str]) -> Metric {
        let instance = (family.origin == Origin::Original).then_some(("instance", self.instance.as_str()));
        let given = family.labels.iter().copied().zip(labels.iter().copied());
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        Metric::from_label(instance.into_iter().chain(given).map(pair).collect())
    }

    fn push(&mut self, family: &Family, metric: Metric) {
        let families = &mut self.families;
        let place = *self.places.entry(family.name).or_insert_with(|| {
            let mut made = MetricFamily::default();
            made.set_name(family.full_name());
            made.set_help(family.help.to_owned());
            made.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
                Kind::Summary => MetricType::SUMMARY,
            });
            families.push(made);
            families.len() - 1
        });
        if let Some(family) = families.get_mut(place) {
            family.mut_metric().push(metric);
        }
    }

    /// The text, sorted by name.
    pub fn text(mut self) -> String {
        self.families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = String::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.families, &mut text) {
            // A family that is not empty has a text.
            log::error!("the metrics cannot be written: {error}");
        }
        text
    }
}
