//! Counters and latencies for `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Labels of a finished request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// The function; empty when no deployed one was asked for.
    pub function: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// Labels of a failure.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FailureLabels {
    /// The function.
    pub function: String,
    /// What failed, see [`crate::job::Failure::reason`].
    pub reason: &'static str,
}

/// Labels of a latency.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StageLabels {
    /// The function.
    pub function: String,
    /// Which part of the request's way.
    pub stage: Stage,
}

/// The parts of a request's way.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a worker.
    Queue,
    /// Creating the VM, which happened ahead of the request.
    Create,
    /// Restoring the snapshot.
    Restore,
    /// Running the guest.
    Run,
    /// Rolling the VM back to its seed, after the response.
    Rewind,
    /// From the request's arrival to the end of its response.
    Total,
}

impl prometheus_client::encoding::EncodeLabelValue for Stage {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Queue => "queue",
            Self::Create => "create",
            Self::Restore => "restore",
            Self::Run => "run",
            Self::Rewind => "rewind",
            Self::Total => "total",
        };
        name.encode(encoder)
    }
}

/// Labels of the pool's gauge.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PoolLabels {
    /// `starting`, `ready`, `rewound` or `busy`.
    pub state: &'static str,
}

/// Why a worker is not used again: what its rewinder says, and what the gateway sees.
const RETIREMENTS: &[&str] = &[
    "giant",
    "tables",
    "replaced",
    "msr",
    "differs",
    "error",
    "unanswered",
    "lost",
    "timeout",
    "protocol",
    "count",
    "unneeded",
];

/// Everything the gateway counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    latency: Family<StageLabels, Histogram, fn() -> Histogram>,
    pool: Family<PoolLabels, Gauge>,
    retired: Family<FailureLabels, Counter>,
    /// Workers that could not be started.
    pub start_failures: Counter,
    /// Workers that died while they waited for a request.
    pub lost_workers: Counter,
}

/// 100 us to 26 s, a factor of two and a half each.
fn latency_histogram() -> Histogram {
    Histogram::new((0..14).map(|step| 1e-4 * 2.5f64.powi(step)))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sprout");
        let requests = Family::default();
        let failures = Family::default();
        let latency = Family::new_with_constructor(latency_histogram as fn() -> Histogram);
        let pool = Family::default();
        let retired = Family::default();
        let start_failures = Counter::default();
        let lost_workers = Counter::default();
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("failures", "Requests without a response of the function", {
            failures.clone()
        });
        registry.register_with_unit(
            "latency",
            "Time a request spends in each stage; create happens ahead of it",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register("workers", "Worker processes by state", pool.clone());
        registry.register(
            "workers_retired",
            "Workers whose VM was not used again though it was to be, by reason",
            retired.clone(),
        );
        registry.register(
            "worker_start_failures",
            "Workers that could not be started",
            start_failures.clone(),
        );
        registry.register(
            "workers_lost",
            "Workers that died while waiting for a request",
            lost_workers.clone(),
        );
        Self {
            registry,
            requests,
            failures,
            latency,
            pool,
            retired,
            start_failures,
            lost_workers,
        }
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, function: &str, status: u16) {
        let labels = RequestLabels {
            function: function.into(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a failure.
    pub fn failed(&self, function: &str, reason: &'static str) {
        let labels = FailureLabels {
            function: function.into(),
            reason,
        };
        self.failures.get_or_create(&labels).inc();
    }

    /// Counts a worker that is not used again; `kind` is what itself or the gateway calls it.
    pub fn retired(&self, function: &str, kind: &str) {
        let known = RETIREMENTS.iter().find(|known| **known == kind);
        let labels = FailureLabels {
            function: function.into(),
            reason: known.copied().unwrap_or("other"),
        };
        self.retired.get_or_create(&labels).inc();
    }

    /// Records the time of one stage.
    pub fn took(&self, function: &str, stage: Stage, time: Duration) {
        let labels = StageLabels {
            function: function.into(),
            stage,
        };
        self.latency
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// Counts a worker into a state for as long as the result lives.
    pub fn worker(&self, state: &'static str) -> InState {
        let gauge = self.pool.get_or_create(&PoolLabels { state }).clone();
        gauge.inc();
        InState(gauge)
    }

    /// The page `/metrics` shows.
    pub fn page(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// A worker counted in a state.
#[derive(Debug)]
pub struct InState(Gauge);

impl Drop for InState {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.answered("hello", 200);
        metrics.failed("hello", "timeout");
        metrics.took("hello", Stage::Restore, Duration::from_millis(3));
        let ready = metrics.worker("ready");
        let page = metrics.page().unwrap();
        for line in [
            r#"sprout_requests_total{function="hello",status="200"} 1"#,
            r#"sprout_failures_total{function="hello",reason="timeout"} 1"#,
            r#"sprout_latency_seconds_count{function="hello",stage="restore"} 1"#,
            r#"sprout_workers{state="ready"} 1"#,
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        drop(ready);
        assert!(
            metrics
                .page()
                .unwrap()
                .contains(r#"sprout_workers{state="ready"} 0"#)
        );
    }
}
