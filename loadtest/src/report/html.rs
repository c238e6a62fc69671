//! The report as one HTML file: it needs no network, and can be sent to somebody.

use std::fmt::Write;

use super::plot::{Line, distribution, lines};
use super::{Report, Row};
use crate::plan::Kind;
use crate::record::Second;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1f27;--page:#fff;--soft:#5b6573;--rule:#dfe3e8;--held:#eef4fb;--a:#1f6feb;--b:#c4432b;\
--good:#1a7f37;--bad:#c4232b}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--page:#12161c;--soft:#9aa5b4;--rule:#2b333e;--held:#1a2431;\
--a:#6cb0ff;--b:#ff9580;--good:#5fd180;--bad:#ff8087}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:900px;margin:2rem auto;\
padding:0 1rem}\
h1{font-size:1.4rem;margin-bottom:0}h2{font-size:1.05rem;margin:2rem 0 .3rem}p{margin:.3rem 0}\
.soft{color:var(--soft)}.scroll{overflow-x:auto}pre{font-size:.8rem;white-space:pre-wrap}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}\
th,td{text-align:right;font-size:.9rem;padding:.25rem .4rem;border-bottom:1px solid var(--rule);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}\
.pass{color:var(--good)}.fail{color:var(--bad)}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}\
.grid{stroke:var(--rule);fill:none}.held{fill:var(--held)}.bar{fill:var(--a)}\
.line{fill:none;stroke-width:1.6}.l0{stroke:var(--a)}.l1{stroke:var(--b)}\
.legend span{margin-right:1rem}.k0{color:var(--a)}.k1{color:var(--b)}";

impl Report {
    /// As one HTML file.
    pub fn html(&self) -> String {
        let title = if self.label.is_empty() { "Load test" } else { &self.label };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head><body>\
             <h1>{0}</h1><p class=\"soft\">{1} &middot; {2} &middot; tickcast-loadtest {3}</p>",
            escaped(title),
            escaped(&self.url),
            self.started_at,
            self.generator_version
        );
        self.verdict(&mut page);
        self.figures(&mut page);
        self.plots(&mut page);
        self.table(&mut page);
        if !self.errors.is_empty() {
            page += "<h2>What went wrong</h2><table><tr><th>Message</th><th>Times</th></tr>";
            for error in &self.errors {
                let _ = write!(page, "<tr><td>{}</td><td>{}</td></tr>", escaped(&error.message), error.count);
            }
            page += "</table>";
        }
        page + "</body></html>\n"
    }

    fn verdict(&self, page: &mut String) {
        let (class, word) = if self.pass { ("pass", "Passed") } else { ("fail", "Failed") };
        let _ = write!(page, "<h2 class=\"{class}\">{word}</h2><table>");
        for criterion in &self.criteria {
            let value = criterion.value.map_or("nothing measured".into(), |value| value.to_string());
            let (class, must) = (if criterion.pass { "pass" } else { "fail" }, escaped(criterion.must_be));
            let _ = write!(
                page,
                "<tr><td>{}</td><td class=\"{class}\">{value}</td><td class=\"soft\">must be {must} {}</td></tr>",
                criterion.name, criterion.bound
            );
        }
        *page += "</table>";
        for remark in &self.remarks {
            let _ = write!(page, "<p>Note: {}.</p>", escaped(remark));
        }
    }

    fn figures(&self, page: &mut String) {
        // The summary for people has everything; it only wants to be shown as it is.
        let _ = write!(
            page,
            "<h2>Figures</h2><div class=\"scroll\"><pre>{}</pre></div>",
            escaped(self.to_string().split("\n\n").next().unwrap_or_default())
        );
    }

    fn plots(&self, page: &mut String) {
        let bands: Vec<_> = self
            .phases
            .iter()
            .map(|row| (row.from_s, row.from_s + row.seconds, row.kind == Some(Kind::Hold)))
            .collect();
        let points = |of: &dyn Fn(&Second) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
            self.seconds.iter().map(|second| (second.at_s, of(second))).collect()
        };
        let line = |name, of: &dyn Fn(&Second) -> Option<f64>| Line { name, points: points(of) };
        let mut figure = |title: &str, plot: String| {
            let _ = write!(page, "<h2>{title}</h2><figure style=\"margin:0\">{plot}</figure>");
        };
        figure("Updates per second", lines(&[line("updates", &|second| Some(second.updates_per_s))], &bands));
        figure(
            "Latency of healthy clients, ms",
            lines(&[line("median", &|second| second.p50_ms), line("99th percentile", &|second| second.p99_ms)], &bands),
        );
        figure(
            "Latency while measuring: how many updates took how long (both scales are logarithmic)",
            distribution(&self.latency_buckets),
        );
        figure("Connected clients", lines(&[line("clients", &|second| Some(second.connected as f64))], &bands));
        let own = line("load generator", &|second| Some(second.generator_cpu));
        if self.measured.server.is_some() {
            figure("CPU, cores", lines(&[line("server", &|second| second.server_cpu), own], &bands));
            let memory = line("server", &|second| second.server_rss_kb.map(|kb| kb as f64 / 1024.0));
            figure("Memory of the server, MB", lines(&[memory], &bands));
        } else {
            figure("CPU of the load generator, cores", lines(&[own], &bands));
        }
    }

    fn table(&self, page: &mut String) {
        *page += "<h2>Phases</h2><p class=\"soft\">Measured phases are shaded in the plots.</p><div class=\"scroll\"><table>\
                  <tr><th>Phase</th><th>s</th><th>Clients</th><th>Updates/s</th><th>p50 ms</th><th>p99 ms</th><th>max ms</th>\
                  <th>Lost</th><th>Conflated</th><th>Duplicates</th><th>Reordered</th></tr>";
        for row in self.phases.iter().chain([&self.measured, &self.total]) {
            cells(page, row);
        }
        *page += "</table></div>";
    }
}

fn cells(page: &mut String, row: &Row) {
    let ms = |value: Option<f64>| value.map_or("-".into(), |ms| format!("{ms:.1}"));
    let found = &row.continuity;
    let _ = write!(
        page,
        "<tr><td>{}</td><td>{:.1}</td><td>{}</td><td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td></tr>",
        escaped(&row.name),
        row.seconds,
        row.connected,
        row.updates_per_s,
        ms(row.latency_ms.percentile_ms(50.0)),
        ms(row.latency_ms.percentile_ms(99.0)),
        ms(row.latency_ms.max_ms()),
        found.lost,
        found.conflated,
        found.duplicates,
        found.reordered
    );
}

/// What others wrote, such as a server's messages, is text and never markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_no_markup() {
        assert_eq!(escaped("<script src=\"x\">&"), "&lt;script src=&quot;x&quot;&gt;&amp;");
    }
}
