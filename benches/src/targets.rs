//! What our pair is to cost, and whether it does.

use serde::Serialize;

use crate::summary::{Measured, Round, Spread};

/// Limits of one figure, least strict first: first light, product goal, stretch.
type Limits = [f64; 3];

/// One figure of ours next to its targets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) figure: String,
    /// `None` when this run did not measure it.
    pub(crate) value: Option<Spread>,
    pub(crate) limits: Limits,
}

impl Verdict {
    /// Whether the value keeps each of the limits.
    pub(crate) fn kept(&self) -> Option<[bool; 3]> {
        let value = self.value?;
        Some(self.limits.map(|limit| value.median <= limit))
    }
}

/// Every target, with what this run says about it.
pub(crate) fn judge(subjects: &[Measured]) -> Vec<Verdict> {
    let find = |names: &[&str]| subjects.iter().find(|subject| names.contains(&subject.name.as_str()));
    let ours = find(&["ours"]);
    let ratio = |figure: &str, names: &[&str], limits: Limits| Verdict {
        figure: figure.to_owned(),
        value: ours.zip(find(names)).and_then(|(ours, other)| ours.against(other, |round| round.cpu_us, |a, b| a / b)),
        limits,
    };
    let plain =
        |figure: &str, value: Option<Spread>, limits: Limits| Verdict { figure: figure.to_owned(), value, limits };

    let single = |round: &Round| round.single_p50_us;
    let over_hops = ours.zip(find(&["hops"])).and_then(|(ours, hops)| ours.against(hops, single, |a, b| a - b));
    let exact = |value: f64| Spread { median: value, least: value, most: value };
    let largest = |values: &[f64]| values.iter().copied().max_by(f64::total_cmp).map(exact);

    vec![
        ratio("CPU per request ÷ two raw TCP hops", &["hops"], [2.2, 1.7, 1.2]),
        ratio("CPU per request ÷ Envoy pair", &["envoy"], [0.30, 0.20, 0.14]),
        ratio("CPU per request ÷ linkerd2-proxy pair", &["linkerd", "linkerd2-proxy"], [0.42, 0.28, 0.20]),
        ratio("CPU per request ÷ stock sidecar pair", &["daprd", "stock"], [0.12, 0.08, 0.055]),
        plain("p50 at one connection − two raw hops, µs", over_hops, [120.0, 90.0, 40.0]),
        plain(
            "system calls per request",
            ours.and_then(|ours| ours.system_calls.as_ref()).map(|calls| exact(calls.per_request)),
            [6.0, 5.5, 5.0],
        ),
        plain("allocations per request", ours.and_then(|ours| ours.allocations).map(exact), [40.0, 20.0, 8.0]),
        plain("RSS idle, larger of the two, MB", ours.and_then(|ours| largest(&ours.idle_mb)), [10.0, 10.0, 7.0]),
        plain(
            "RSS under load, larger of the two, MB",
            ours.and_then(|ours| largest(&ours.loaded_mb)),
            [16.0, 14.0, 10.0],
        ),
        plain("exec to first 204, SVID held, ms", ours.and_then(Measured::ready), [150.0, 120.0, 50.0]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, cpu: [f64; 3]) -> Measured {
        let round = |cpu_us| Round {
            requests_per_second: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            cpu_us,
            single_p50_us: cpu_us,
            single_p99_us: 1.0,
            single_cpu_us: 1.0,
            errors: 0,
        };
        Measured {
            name: name.to_owned(),
            version: String::new(),
            rounds: cpu.into_iter().map(round).collect(),
            idle_mb: vec![9.0, 11.0],
            loaded_mb: Vec::new(),
            peak_mb: Vec::new(),
            system_calls: None,
            single_system_calls: None,
            allocations: None,
            instructions: None,
            ready_ms: Vec::new(),
            forbidden_status: None,
            origin_saw: Vec::new(),
        }
    }

    fn verdict(verdicts: &[Verdict], start: &str) -> Verdict {
        verdicts.iter().find(|verdict| verdict.figure.starts_with(start)).unwrap().clone()
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_own_ratios() {
        let verdicts = judge(&[measured("ours", [40.0, 60.0, 30.0]), measured("hops", [20.0, 20.0, 20.0])]);
        let cpu = verdict(&verdicts, "CPU per request ÷ two raw");
        assert_eq!(cpu.value, Some(Spread { median: 2.0, least: 1.5, most: 3.0 }));
        assert_eq!(cpu.kept(), Some([true, false, false]));
    }

    #[test]
    fn the_larger_of_two_processes_is_judged() {
        let verdicts = judge(&[measured("ours", [1.0; 3])]);
        assert_eq!(verdict(&verdicts, "RSS idle").kept(), Some([false; 3]));
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        let verdicts = judge(&[measured("hops", [1.0; 3])]);
        assert!(verdicts.iter().all(|verdict| verdict.kept().is_none()));
    }
}
