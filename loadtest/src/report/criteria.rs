//! What decides whether a run passes.

use serde::Serialize;

use super::{Clients, Row, percent};
use crate::args::CriteriaOptions;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Criterion {
    /// What is looked at, and its unit.
    pub name: &'static str,
    /// What was found; none if there was nothing to look at, which fails.
    pub value: Option<f64>,
    /// How it must compare: `>`, `>=`, `<`, `<=`.
    pub must_be: &'static str,
    /// To what.
    pub bound: f64,
    /// True if it holds.
    pub pass: bool,
}

impl Criterion {
    fn new(name: &'static str, value: Option<f64>, must_be: &'static str, bound: f64) -> Self {
        let holds = |value| match must_be {
            ">" => value > bound,
            ">=" => value >= bound,
            "<" => value < bound,
            _ => value <= bound,
        };
        Self { name, value, must_be, bound, pass: value.is_some_and(holds) }
    }
}

/// Whether what was asked for holds: connects and errors in the whole run, the rest in what was measured.
pub(super) fn judge(options: &CriteriaOptions, clients: &Clients, measured: &Row) -> Vec<Criterion> {
    let connects = percent(clients.connected, clients.attempts);
    let error_percent = (clients.asked > 0).then_some(clients.error_percent);
    let mut criteria = vec![
        Criterion::new("connects (%)", connects, ">", options.min_connects),
        Criterion::new("average latency (ms)", measured.latency_ms.average_ms(), "<", options.max_latency),
        Criterion::new("clients with errors (%)", error_percent, "<", options.max_errors),
    ];
    if let Some(bound) = options.max_p99 {
        criteria.push(Criterion::new("p99 of latency (ms)", measured.latency_ms.percentile_ms(99.0), "<", bound));
    }
    if let Some(bound) = options.max_lost {
        criteria.push(Criterion::new("lost updates", Some(measured.continuity.lost as f64), "<=", bound as f64));
    }
    if let Some(bound) = options.min_updates {
        criteria.push(Criterion::new("updates/s", Some(measured.updates_per_s), ">=", bound));
    }
    criteria
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_not_enough_where_more_is_asked_for() {
        assert!(!Criterion::new("x", Some(99.0), ">", 99.0).pass);
        assert!(Criterion::new("x", Some(99.0), ">=", 99.0).pass);
        assert!(!Criterion::new("x", Some(100.0), "<", 100.0).pass);
        assert!(Criterion::new("x", Some(0.0), "<=", 0.0).pass);
        assert!(!Criterion::new("x", None, "<", 100.0).pass, "nothing was measured");
    }
}
