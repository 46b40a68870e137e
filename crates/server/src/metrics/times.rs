//! Histograms of times that cost two additions for each observation or batch of observations.
//!
//! Times are kept in nanoseconds. A scrape computes what Prometheus expects: seconds and cumulative counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// A histogram of how long something took.
#[derive(Debug)]
pub(crate) struct Times {
    bounds_ns: Box<[u64]>,
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

/// Times of an operation that may fail: the two series of a label `success`.
#[derive(Debug, Clone)]
pub(crate) struct TimesBySuccess([Arc<Times>; 2]);

/// A metric and its series.
#[derive(Debug)]
pub(super) struct TimesFamily {
    desc: Desc,
    bounds_s: Vec<f64>,
    series: Vec<(Vec<LabelPair>, Arc<Times>)>,
}

impl Times {
    fn new(bounds_s: &[f64]) -> Times {
        let bounds_ns = bounds_s.iter().map(|bound| (bound * 1e9).round() as u64).collect();
        let counts = (0..=bounds_s.len()).map(|_| AtomicU64::new(0)).collect();
        Times { bounds_ns, counts, sum_ns: AtomicU64::new(0) }
    }

    /// Counts one.
    pub(crate) fn observe(&self, time: Duration) {
        self.observe_all(time, 1);
    }

    /// Counts `count` that took `time` each.
    pub(crate) fn observe_all(&self, time: Duration, count: u64) {
        let ns = time.as_nanos() as u64;
        let bucket = self.bounds_ns.iter().position(|bound| ns <= *bound).unwrap_or(self.bounds_ns.len());
        self.counts[bucket].fetch_add(count, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns * count, Ordering::Relaxed);
    }

    fn metric(&self, bounds_s: &[f64]) -> Metric {
        let mut total = 0;
        let mut counts = self.counts.iter().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        let bucket = |(bound, count): (&f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let buckets = bounds_s.iter().zip(counts.by_ref()).map(bucket).collect();
        let count = counts.next().expect("there is one more count than there are bounds");
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

impl TimesBySuccess {
    /// Counts one.
    pub(crate) fn observe(&self, is_ok: bool, time: Duration) {
        self.observe_all(is_ok, time, 1);
    }

    /// Counts `count` that took `time` each.
    pub(crate) fn observe_all(&self, is_ok: bool, time: Duration, count: u64) {
        self.0[usize::from(is_ok)].observe_all(time, count);
    }
}

impl TimesFamily {
    pub(super) fn new(name: &str, help: &str, bounds_s: Vec<f64>) -> TimesFamily {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new());
        TimesFamily { desc: desc.expect("the name is valid"), bounds_s, series: Vec::new() }
    }

    /// Adds the series with these labels, in the order of their names.
    pub(super) fn series(&mut self, labels: &[(&str, &str)]) -> Arc<Times> {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let times = Arc::new(Times::new(&self.bounds_s));
        self.series.push((labels.iter().map(pair).collect(), Arc::clone(&times)));
        times
    }

    /// Adds the two series that differ in a label `success`, which stands behind those `before` it.
    pub(super) fn by_success(&mut self, before: &[(&str, &str)], after: &[(&str, &str)]) -> TimesBySuccess {
        TimesBySuccess(["false", "true"].map(|success| {
            let labels: Vec<_> = before.iter().chain(&[("success", success)]).chain(after).copied().collect();
            self.series(&labels)
        }))
    }

    pub(super) fn register(self, registry: &Registry) {
        registry.register(Box::new(self)).expect("each name is registered once");
    }
}

impl Collector for TimesFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    /// A series with labels exists once something was counted, one without from the start.
    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        for (labels, times) in &self.series {
            let mut metric = times.metric(&self.bounds_s);
            if labels.is_empty() || metric.get_histogram().get_sample_count() > 0 {
                metric.set_label(labels.clone());
                family.mut_metric().push(metric);
            }
        }
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn times_are_told_as_prometheus_tells_them() {
        let registry = Registry::new();
        let mut family = TimesFamily::new("x_seconds", "Help.", vec![0.001, 0.002]);
        let times = family.by_success(&[("op", "Put")], &[("version", "v3")]);
        family.register(&registry);
        for (ms, count) in [(1, 1), (2, 3), (9, 1)] {
            times.observe_all(true, Duration::from_millis(ms), count);
        }
        let labels = "op=\"Put\",success=\"true\",version=\"v3\"";
        let expected = format!(
            "# HELP x_seconds Help.\n# TYPE x_seconds histogram\n\
             x_seconds_bucket{{{labels},le=\"0.001\"}} 1\nx_seconds_bucket{{{labels},le=\"0.002\"}} 4\n\
             x_seconds_bucket{{{labels},le=\"+Inf\"}} 5\n\
             x_seconds_sum{{{labels}}} 0.016\nx_seconds_count{{{labels}}} 5\n"
        );
        assert_eq!(TextEncoder::new().encode_to_string(&registry.gather()).unwrap(), expected);
    }
}
