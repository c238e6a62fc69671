//! Plots as SVG, drawn here: a report is one file, and loads nothing.

use std::fmt::Write;

/// Of each plot.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
/// Room for numbers at the left, and below.
const LEFT: f64 = 64.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 10.0;
const RIGHT: f64 = 10.0;

/// A line: a name, and values over time. Where there is no value, the line is interrupted.
pub struct Line<'a> {
    /// For the legend.
    pub name: &'a str,
    /// Time in seconds, and a value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// Phases in the background: when each begins and ends (s), and whether it is measured.
pub type Bands = [(f64, f64, bool)];

/// Lines over time, from zero up.
pub fn lines(lines: &[Line<'_>], bands: &Bands) -> String {
    let values = || lines.iter().flat_map(|line| &line.points);
    let end = values().map(|(at, _)| *at).chain(bands.iter().map(|band| band.1)).fold(1.0, f64::max);
    let top = nice(values().filter_map(|(_, value)| *value).fold(0.0, f64::max));
    let x = |at: f64| LEFT + at / end * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BELOW - value / top * (HEIGHT - BELOW - ABOVE);
    let mut svg = open();
    for (from, to, _) in bands.iter().filter(|band| band.2) {
        let (left, right) = (x(*from), x(*to));
        let (width, height) = (right - left, HEIGHT - BELOW - ABOVE);
        let _ = write!(svg, r#"<rect class="held" x="{left:.1}" y="{ABOVE}" width="{width:.1}" height="{height}"/>"#);
    }
    grid(&mut svg, top, y);
    let step = interval(end);
    let mut at = 0.0;
    while at <= end {
        text(&mut svg, x(at), HEIGHT - 6.0, if x(at) > WIDTH - 30.0 { "end" } else { "middle" }, &format!("{at} s"));
        at += step;
    }
    for (number, line) in lines.iter().enumerate() {
        let (mut path, mut drawn) = (String::new(), false);
        for (at, value) in &line.points {
            if let Some(value) = value {
                let _ = write!(path, "{}{:.1} {:.1} ", if drawn { 'L' } else { 'M' }, x(*at), y(*value));
            }
            drawn = value.is_some();
        }
        let _ = write!(svg, r#"<path class="line l{number}" d="{path}"/>"#);
    }
    svg += "</svg>";
    if lines.len() > 1 {
        svg += "<p class=\"legend\">";
        for (number, line) in lines.iter().enumerate() {
            let _ = write!(svg, r#"<span class="k{number}">{}</span> "#, line.name);
        }
        svg += "</p>";
    }
    svg
}

/// Bars over a logarithmic scale of ms: from, to, how many. The height is the logarithm of how many, or the few that
/// were slow would not be seen.
pub fn distribution(buckets: &[(f64, f64, u64)]) -> String {
    let scale = |ms: f64| ms.max(0.05).log10();
    let some: Vec<_> = buckets.iter().filter(|bucket| bucket.2 > 0).collect();
    let (Some(first), Some(last)) = (some.first(), some.last()) else {
        return "<p>Nothing was measured.</p>".into();
    };
    let (low, high) = (scale(first.0).floor(), scale(last.1).ceil().max(scale(first.0).floor() + 1.0));
    let most = some.iter().map(|bucket| bucket.2).max().unwrap_or(1);
    let top = ((most as f64).log10() + 1.0).ceil();
    let x = |ms: f64| LEFT + (scale(ms) - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let y = |exponent: f64| HEIGHT - BELOW - exponent / top * (HEIGHT - BELOW - ABOVE);
    let mut svg = open();
    let mut exponent = 0.0;
    while exponent < top {
        let at = y(exponent + 1.0);
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{}"/>"#, WIDTH - RIGHT);
        text(&mut svg, LEFT - 6.0, at + 4.0, "end", &short(10_f64.powf(exponent)));
        exponent += 1.0;
    }
    for (from, to, count) in some {
        let (left, right) = (x(*from), x(*to));
        let at = y((*count as f64).log10() + 1.0);
        let _ = write!(
            svg,
            r#"<rect class="bar" x="{left:.1}" y="{at:.1}" width="{:.1}" height="{:.1}"><title>{from} to {to} ms: {count}</title></rect>"#,
            (right - left - 1.0).max(1.0),
            HEIGHT - BELOW - at
        );
    }
    let mut decade = low;
    while decade <= high {
        let ms = 10_f64.powf(decade);
        text(&mut svg, x(ms), HEIGHT - 6.0, if decade >= high { "end" } else { "middle" }, &format!("{ms} ms"));
        decade += 1.0;
    }
    svg + "</svg>"
}

fn open() -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#)
}

fn grid(svg: &mut String, top: f64, y: impl Fn(f64) -> f64) {
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
        let _ = write!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{}"/>"#, WIDTH - RIGHT);
        text(svg, LEFT - 6.0, at + 4.0, "end", &short(value));
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}

/// The next number that looks well at the top of a scale.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * unit).find(|top| *top >= most).unwrap_or(most)
}

/// Seconds between two times that are written below a plot.
fn interval(end_s: f64) -> f64 {
    const MOST: f64 = 8.0;
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0];
    steps.into_iter().find(|step| end_s / step <= MOST).unwrap_or(end_s / MOST)
}

/// A number with few letters.
fn short(number: f64) -> String {
    let (number, unit) = match number {
        large if large >= 1e6 => (large / 1e6, "M"),
        large if large >= 1e4 => (large / 1e3, "k"),
        small => (small, ""),
    };
    let text = format!("{number:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_on_round_numbers() {
        assert_eq!([0.0, 0.7, 1.0, 1.1, 37.0, 51_000.0].map(nice), [1.0, 0.8, 1.0, 2.0, 40.0, 80_000.0]);
        assert_eq!([1.0, 13.0, 270.0, 1e9].map(interval), [1.0, 2.0, 60.0, 1.25e8]);
        assert_eq!([0.0, 2.5, 12_500.0, 2_000_000.0].map(short), ["0", "2.5", "12.5k", "2M"]);
    }

    #[test]
    fn a_line_is_interrupted_where_nothing_was_measured() {
        let points = vec![(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(1.0))];
        let svg = lines(&[Line { name: "x", points }], &[(0.0, 3.0, true)]);
        let path = svg.split("class=\"line l0\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1));
    }

    #[test]
    fn nothing_can_be_drawn() {
        assert!(lines(&[Line { name: "x", points: vec![] }], &[]).ends_with("</svg>"));
        assert!(distribution(&[]).starts_with("<p>"));
        assert!(!distribution(&[(0.0, 0.05, 0), (0.05, 1.0, 7), (1.0, 20_000.0, 1)]).contains("NaN"));
    }
}
