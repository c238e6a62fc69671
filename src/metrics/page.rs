use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{TEXT_FORMAT, TextEncoder};

use super::kinds::{self, BOUNDS_US};

/// What a family of numbers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// What Prometheus reads: families of numbers, each with a name and a help text.
#[derive(Debug, Default)]
pub struct Page(Vec<MetricFamily>);

impl Page {
    /// The `Content-Type` of [`Page::encode`].
    pub const CONTENT_TYPE: &'static str = TEXT_FORMAT;

    /// The most numbers of one name that stand for things which others name, such as symbols.
    pub const MOST_OF_A_KIND: usize = 1_000;

    /// Adds a number without labels.
    pub fn number(&mut self, kind: Kind, name: &str, help: &str, value: f64) {
        self.add(kind, name, help, &[], value);
    }

    /// Adds a number with labels. Those of one name must have the same labels; the help text of the first one counts.
    pub fn add(&mut self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut metric = Metric::default();
        metric.set_label(labels.iter().map(|(name, value)| label(name, value)).collect());
        let kind = match kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
                MetricType::COUNTER
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
                MetricType::GAUGE
            }
        };
        self.insert(kind, name, help, metric);
    }

    /// Adds a distribution of times, in seconds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, times: &kinds::Histogram) {
        let (counts, sum) = times.get();
        let mut so_far = 0;
        let buckets = BOUNDS_US.iter().zip(&counts).map(|(bound_us, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound_us as f64 / 1e6);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.insert(MetricType::HISTOGRAM, name, help, metric);
    }

    /// Adds what the kernel knows of this process: memory, processor time, files, under the names that are usual.
    pub fn process(&mut self) {
        #[cfg(target_os = "linux")]
        {
            use prometheus::core::Collector;
            use prometheus::process_collector::ProcessCollector;

            // Whole seconds of processor time are what it counts, from the beginning of the process.
            self.0.extend(ProcessCollector::for_self().collect());
        }
    }

    /// As text.
    pub fn encode(&self) -> String {
        // Families have metrics, and names that are ours: there is nothing to refuse.
        TextEncoder::new().encode_to_string(&self.0).unwrap_or_default()
    }

    fn insert(&mut self, kind: MetricType, name: &str, help: &str, metric: Metric) {
        match self.0.iter_mut().find(|family| family.name() == name) {
            Some(family) => family.mut_metric().push(metric),
            None => {
                let mut family = MetricFamily::default();
                family.set_name(name.to_owned());
                family.set_help(help.to_owned());
                family.set_field_type(kind);
                family.set_metric(vec![metric]);
                self.0.push(family);
            }
        }
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_family() {
        let mut page = Page::default();
        page.add(Kind::Counter, "a_total", "Some \\ of\nit.", &[("kind", "x\"y")], 1.0);
        page.number(Kind::Gauge, "b", "B.", -2.5);
        page.add(Kind::Counter, "a_total", "", &[("kind", "z")], 9_007_199_254_740_991.0);
        assert_eq!(
            page.encode(),
            "# HELP a_total Some \\\\ of\\nit.\n# TYPE a_total counter\na_total{kind=\"x\\\"y\"} 1\n\
             a_total{kind=\"z\"} 9007199254740991\n# HELP b B.\n# TYPE b gauge\nb -2.5\n"
        );
    }

    #[test]
    fn the_buckets_of_a_distribution_add_up() {
        let times = kinds::Histogram::default();
        for us in [50, 50, 700, 20_000_000] {
            times.observe(std::time::Duration::from_micros(us));
        }
        let mut page = Page::default();
        page.histogram("t_seconds", "T.", &times);
        let text = page.encode();
        for line in ["{le=\"0.0001\"} 2", "{le=\"0.0005\"} 2", "{le=\"0.001\"} 3", "{le=\"10\"} 3", "{le=\"+Inf\"} 4"] {
            assert!(text.contains(&format!("t_seconds_bucket{line}\n")), "{line}\n{text}");
        }
        assert!(text.ends_with("t_seconds_sum 20.0008\nt_seconds_count 4\n"), "{text}");
    }
}
