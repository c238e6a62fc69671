//! What happens when: phases, and the arrivals, departures and cuts that they are made of. All of it is known before the
//! run begins, so a server that is slow to answer changes nothing of what is asked of it.

use std::time::Duration;

use serde::Serialize;

use crate::args::Preset;

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Evenly to so many clients.
    Ramp {
        /// How many are there at its end.
        to: u64,
        /// How long it takes.
        length: Duration,
    },
    /// Nothing changes, and nothing is measured yet.
    Settle {
        /// How long it takes.
        length: Duration,
    },
    /// Nothing changes: what is measured here is what the server does.
    Hold {
        /// How long it takes.
        length: Duration,
    },
    /// So many more at once, who leave at its end.
    Spike {
        /// How many more.
        extra: u64,
        /// How long it takes.
        length: Duration,
    },
    /// A share of the clients is cut at once, and all of them come back at once.
    Storm {
        /// How many of those that are there, 0 to 1.
        share: f64,
        /// How long it takes.
        length: Duration,
    },
}

/// What a phase does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// More or fewer clients.
    Ramp,
    /// Before measuring.
    Settle,
    /// Measuring.
    Hold,
    /// Many at once.
    Spike,
    /// Reconnects.
    Storm,
}

impl Phase {
    /// How long it takes.
    pub fn length(&self) -> Duration {
        match *self {
            Self::Ramp { length, .. }
            | Self::Settle { length }
            | Self::Hold { length }
            | Self::Spike { length, .. }
            | Self::Storm { length, .. } => length,
        }
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ramp { .. } => Kind::Ramp,
            Self::Settle { .. } => Kind::Settle,
            Self::Hold { .. } => Kind::Hold,
            Self::Spike { .. } => Kind::Spike,
            Self::Storm { .. } => Kind::Storm,
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Ramp { to, .. } => format!("ramp to {to}"),
            Self::Settle { .. } => "settle".into(),
            Self::Hold { .. } => "hold".into(),
            Self::Spike { extra, .. } => format!("spike of {extra}"),
            Self::Storm { share, .. } => format!("storm of {:.0} %", share * 100.0),
        }
    }
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// The phase of this index begins.
    Begin(usize),
    /// A client comes.
    Arrive,
    /// The latest client goes.
    Leave,
    /// So large a share of the clients loses its connection and comes again.
    Cut(f64),
}

/// Something that is to happen, and when, from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// The phases of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In order.
    pub phases: Vec<Phase>,
}

impl Plan {
    /// Of these phases. The first part of each hold, `settle` long, is not measured.
    pub fn new(phases: Vec<Phase>, settle: Duration) -> Self {
        let split = |phase| match phase {
            Phase::Hold { length } if !settle.is_zero() => {
                // At least half of a hold is measured, or a short one would have nothing to show.
                let settle = settle.min(length / 2);
                vec![Phase::Settle { length: settle }, Phase::Hold { length: length - settle }]
            }
            other => vec![other],
        };
        Self { phases: phases.into_iter().flat_map(split).collect() }
    }

    /// Clients come at a rate (per second), settle, and hold.
    pub fn simple(clients: u64, ramp_rate: f64, settle: Duration, hold: Duration) -> Self {
        let ramp = Duration::from_secs_f64(clients as f64 / ramp_rate);
        let mut phases = vec![Phase::Ramp { to: clients, length: ramp }];
        if !settle.is_zero() {
            phases.push(Phase::Settle { length: settle });
        }
        phases.push(Phase::Hold { length: hold });
        Self { phases }
    }

    /// A plan with a name, scaled to so many clients at its highest and to a hold of this length.
    pub fn preset(preset: Preset, clients: Option<u64>, hold: Option<Duration>, settle: Duration) -> Self {
        let part = |share_percent: u64| clients.unwrap_or(1000) * share_percent / 100;
        let s = Duration::from_secs;
        let held = |or| Phase::Hold { length: hold.unwrap_or(s(or)) };
        let phases = match preset {
            Preset::FivePhases => vec![
                Phase::Ramp { to: part(10), length: s(30) },
                Phase::Ramp { to: part(50), length: s(60) },
                Phase::Ramp { to: part(100), length: s(30) },
                held(120),
                Phase::Ramp { to: 0, length: s(30) },
            ],
            Preset::Storm => vec![
                Phase::Ramp { to: part(100), length: s(10) },
                held(20),
                Phase::Storm { share: 0.5, length: s(10) },
                held(20),
            ],
            Preset::Spike => vec![
                Phase::Ramp { to: part(50), length: s(10) },
                held(20),
                Phase::Spike { extra: part(50), length: s(20) },
                held(20),
            ],
        };
        Self::new(phases, settle)
    }

    /// How long it takes.
    pub fn length(&self) -> Duration {
        self.phases.iter().map(Phase::length).sum()
    }

    /// How many clients there are at most.
    pub fn peak(&self) -> u64 {
        let (mut now, mut peak) = (0, 0);
        for phase in &self.phases {
            match phase {
                Phase::Ramp { to, .. } => now = *to,
                Phase::Spike { extra, .. } => peak = peak.max(now + extra),
                _ => {}
            }
            peak = peak.max(now);
        }
        peak
    }

    /// Everything that is to happen, in order.
    pub fn steps(&self) -> Vec<Step> {
        let (mut steps, mut begin, mut clients) = (Vec::new(), Duration::ZERO, 0);
        // Those of a spike go when the next phase has begun: at the end of their own they are still there.
        let mut leaving = 0;
        for (index, phase) in self.phases.iter().enumerate() {
            let mut step = |at, act| steps.push(Step { at, act });
            step(begin, Act::Begin(index));
            (0..std::mem::take(&mut leaving)).for_each(|_| step(begin, Act::Leave));
            match *phase {
                Phase::Ramp { to, length } => {
                    let (act, count) =
                        if to >= clients { (Act::Arrive, to - clients) } else { (Act::Leave, clients - to) };
                    for number in 0..count {
                        step(begin + length.mul_f64(number as f64 / count as f64), act);
                    }
                    clients = to;
                }
                Phase::Spike { extra, .. } => {
                    (0..extra).for_each(|_| step(begin, Act::Arrive));
                    leaving = extra;
                }
                Phase::Storm { share, .. } => step(begin, Act::Cut(share)),
                Phase::Settle { .. } | Phase::Hold { .. } => {}
            }
            begin += phase.length();
        }
        steps.extend((0..leaving).map(|_| Step { at: begin, act: Act::Leave }));
        steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How many clients the steps leave connected at a time (those of that moment included).
    fn connected(steps: &[Step], at: Duration) -> i64 {
        let count = |act| steps.iter().filter(|step| step.at <= at && step.act == act).count() as i64;
        count(Act::Arrive) - count(Act::Leave)
    }

    #[test]
    fn five_phases_are_what_they_say() {
        let plan = Plan::preset(Preset::FivePhases, None, None, s(3));
        assert_eq!((plan.length(), plan.peak()), (s(270), 1000));
        let steps = plan.steps();
        // The first of an evenly spread phase comes as it begins.
        for (at, clients) in [(0, 1), (15, 51), (29, 97), (30, 101), (90, 501), (120, 1000), (240, 999), (270, 0)] {
            assert_eq!(connected(&steps, s(at)), clients, "at {at} s");
        }
        let kinds: Vec<Kind> = plan.phases.iter().map(Phase::kind).collect();
        assert_eq!(kinds, [Kind::Ramp, Kind::Ramp, Kind::Ramp, Kind::Settle, Kind::Hold, Kind::Ramp]);
        assert_eq!(plan.phases[4].length(), s(117), "what settles is taken from the hold");
    }

    #[test]
    fn presets_scale() {
        let plan = Plan::preset(Preset::FivePhases, Some(50), Some(s(10)), Duration::ZERO);
        assert_eq!((plan.length(), plan.peak()), (s(160), 50));
    }

    #[test]
    fn a_spike_leaves_with_its_phase() {
        let phases = vec![Phase::Ramp { to: 10, length: s(1) }, Phase::Spike { extra: 5, length: s(2) }];
        let plan = Plan::new(phases, Duration::ZERO);
        let steps = plan.steps();
        assert_eq!(plan.peak(), 15);
        assert_eq!([connected(&steps, s(1)), connected(&steps, s(3))], [15, 10]);
    }

    #[test]
    fn a_short_hold_is_measured_for_half_of_it() {
        let plan = Plan::new(vec![Phase::Hold { length: s(2) }], s(3));
        assert_eq!(plan.phases, [Phase::Settle { length: s(1) }, Phase::Hold { length: s(1) }]);
    }

    proptest! {
        #[test]
        fn steps_are_in_order_and_nobody_leaves_who_is_not_there(
            phases in prop::collection::vec(
                (0..3_u8, 0..50_u64, 1..100_u64).prop_map(|(kind, number, length)| {
                    let length = Duration::from_millis(length * 100);
                    match kind {
                        0 => Phase::Ramp { to: number, length },
                        1 => Phase::Spike { extra: number, length },
                        _ => Phase::Hold { length },
                    }
                }),
                0..8,
            ),
        ) {
            let plan = Plan::new(phases, Duration::from_millis(50));
            let steps = plan.steps();
            prop_assert!(steps.is_sorted_by_key(|step| step.at));
            let (mut now, mut peak) = (0_i64, 0_i64);
            for step in &steps {
                now += match step.act {
                    Act::Arrive => 1,
                    Act::Leave => -1,
                    _ => 0,
                };
                prop_assert!(now >= 0);
                peak = peak.max(now);
            }
            prop_assert!(peak as u64 <= plan.peak());
        }
    }
}
