//! The daemon's `/metrics`, read as a scraper would: one HTTP request, Prometheus text.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::namespace::Namespace;

/// Where a daemon of the lab serves its metrics, on its namespace's own loopback.
pub(crate) const METRICS_ADDRESS: &str = "127.0.0.1:9473";

/// One scrape.
pub struct Metrics {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// What the daemon in this namespace counts now.
    pub fn scrape(router: &Namespace) -> Result<Metrics> {
        let response = router.enter(|| {
            let what = format!("scrape {METRICS_ADDRESS}");
            request().map_err(Error::io(what))
        })?;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        if !head.contains(" 200 ") {
            return Err(Error::Parse {
                what: "/metrics",
                text: response,
            });
        }
        Ok(Metrics::parse(body))
    }

    fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some(Sample {
                name: name.to_owned(),
                labels: labels.trim_end_matches('}').to_owned(),
                value: value.parse().ok()?,
            })
        });
        Metrics {
            samples: samples.collect(),
        }
    }

    /// The sum of the series of this name that carry all these labels. Counters are exact here:
    /// a test never counts to 2^53.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        self.samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                let has = |label| sample.labels.split(',').any(|own| own == label);
                wanted.iter().all(has)
            })
            .map(|sample| sample.value)
            .sum()
    }

    /// The bound that this share of a histogram's values since `before` kept to: that of its bucket,
    /// infinite for the last one.
    pub fn quantile_since(&self, before: &Metrics, histogram: &str, share: f64) -> f64 {
        let name = format!("{histogram}_bucket");
        let buckets = self.samples.iter().filter(|sample| sample.name == name);
        let counts = buckets.filter_map(|sample| {
            let bound = sample.labels.strip_prefix("le=\"")?.strip_suffix('"')?;
            let earlier = before.sum(&name, &[("le", bound)]);
            // "+Inf" is a number to Rust as well.
            Some((bound.parse().ok()?, sample.value - earlier))
        });
        let counts: Vec<(f64, f64)> = counts.collect();
        let all = counts.last().map_or(0.0, |(_, count)| *count);
        let mut enough = counts.iter().filter(|(_, count)| *count >= share * all);
        enough.next().map_or(f64::INFINITY, |(bound, _)| *bound)
    }

    /// Packets that the fast path forwarded, of one family.
    pub fn forwarded(&self, family: crate::Family) -> f64 {
        self.sum(
            "ixmap_forwarded_packets_total",
            &[("family", family.label())],
        )
    }

    /// Received packets of a port that were dropped for this reason.
    pub fn drops(&self, port: &str, reason: &str) -> f64 {
        self.sum("ixmap_drops_total", &[("port", port), ("reason", reason)])
    }

    /// Received packets of a port that went to the kernel for this reason.
    pub fn punts(&self, port: &str, reason: &str) -> f64 {
        let labels = [("port", port), ("reason", reason)];
        self.sum("ixmap_punted_packets_total", &labels)
    }
}

/// HTTP/1.0, so that the answer comes in one piece and ends with the connection.
fn request() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(METRICS_ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_add_up_by_label() {
        let metrics = Metrics::parse(
            "# TYPE ixmap_drops counter\n\
             ixmap_drops_total{port=\"p0\",reason=\"blackhole\"} 3\n\
             ixmap_drops_total{port=\"p1\",reason=\"blackhole\"} 4\n\
             ixmap_netlink_resyncs_total 1\n",
        );
        assert_eq!(metrics.sum("ixmap_drops_total", &[]), 7.0);
        assert_eq!(metrics.drops("p1", "blackhole"), 4.0);
        assert_eq!(metrics.drops("p", "blackhole"), 0.0);
        assert_eq!(metrics.sum("ixmap_netlink_resyncs_total", &[]), 1.0);
    }
    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let scrape = |counts: [u32; 3]| {
            let [low, high, all] = counts;
            Metrics::parse(&format!(
                "lag_bucket{{le=\"0.001\"}} {low}\nlag_bucket{{le=\"0.05\"}} {high}\n\
                 lag_bucket{{le=\"+Inf\"}} {all}\nlag_count {all}\n"
            ))
        };
        let before = scrape([5, 5, 5]);
        let quantile = |counts| scrape(counts).quantile_since(&before, "lag", 0.99);
        assert_eq!(quantile([104, 105, 105]), 0.001);
        assert_eq!(quantile([103, 104, 105]), 0.05);
        assert_eq!(quantile([5, 103, 105]), f64::INFINITY);
    }
}
