use super::parse::list;
use crate::price::Interval;
use crate::wire::short;

/// How many candles are held, as they are by default.
pub(super) const DEFAULT: &str = "1s:600,1m:1500,5m:600,15m:700,1h:750,1d:400";

/// How many candles of each interval are held of a symbol, by [`Interval::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandleCounts(pub [usize; Interval::COUNT]);

/// How many there may be.
const LEAST: usize = 10;
const MOST: usize = 100_000;

/// The last 24 hours are made of minutes and quarters of an hour; with some to spare for a clock that is ahead.
fn least(interval: Interval) -> usize {
    match interval {
        Interval::M1 => 1500,
        Interval::M15 => 100,
        _ => LEAST,
    }
}

pub(super) fn counts(text: &str) -> Result<CandleCounts, String> {
    let defaults = if text == DEFAULT { CandleCounts([LEAST; Interval::COUNT]) } else { counts(DEFAULT)? };
    let mut said = [None; Interval::COUNT];
    for entry in list(text) {
        let (name, number) = entry.split_once(':').unwrap_or((entry, ""));
        let interval: Interval = name.trim().parse().map_err(|_| {
            let allowed = Interval::ALLOWED;
            format!("has \"{}\" in it: must be INTERVAL:NUMBER with {allowed}, with commas between", short(entry))
        })?;
        let least = least(interval);
        let number = number.trim().parse::<usize>().ok().filter(|number| (least..=MOST).contains(number));
        let number = number
            .ok_or_else(|| format!("has \"{}\" in it: {interval} must have from {least} to {MOST}", short(entry)))?;
        if said[interval.index()].replace(number).is_some() {
            return Err(format!("names {interval} twice"));
        }
    }
    Ok(CandleCounts(Interval::ALL.map(|interval| said[interval.index()].unwrap_or(defaults.0[interval.index()]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        assert_eq!(counts(DEFAULT), Ok(CandleCounts([600, 1500, 600, 700, 750, 400])));
        assert_eq!(counts("1h:10, 1m:100000"), Ok(CandleCounts([600, 100_000, 600, 700, 10, 400])));
        for (text, message) in [
            (
                "1w:10",
                r#"has "1w:10" in it: must be INTERVAL:NUMBER with 1s, 1m, 5m, 15m, 1h or 1d, with commas between"#,
            ),
            ("1m", r#"has "1m" in it: 1m must have from 1500 to 100000"#),
            ("1m:1499", r#"has "1m:1499" in it: 1m must have from 1500 to 100000"#),
            ("1s:9", r#"has "1s:9" in it: 1s must have from 10 to 100000"#),
            ("1s:10,1s:11", "names 1s twice"),
        ] {
            assert_eq!(counts(text), Err(message.into()));
        }
    }
}
