//! The summary for people, and the line that shows how it goes.

use std::fmt::{self, Write};

use super::{Report, Row};
use crate::measure::Times;
use crate::record::Second;

/// How it goes.
pub fn progress(second: &Second, phase: &str) -> String {
    let mut line = format!(
        "{:>5.0} s  {phase:<16} {:>6} clients  {:>9.0} updates/s",
        second.at_s, second.connected, second.updates_per_s
    );
    if let (Some(p50), Some(p99)) = (second.p50_ms, second.p99_ms) {
        let _ = write!(line, "  p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    if let (Some(cpu), Some(rss_kb)) = (second.server_cpu, second.server_rss_kb) {
        let _ = write!(line, "  server {:.0} % CPU, {} MB", cpu * 100.0, rss_kb / 1024);
    }
    let _ = write!(line, "  own {:.0} %", second.generator_cpu * 100.0);
    line
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = &self.clients;
        writeln!(f, "{}{}", self.url, if self.label.is_empty() { String::new() } else { format!("  {}", self.label) })?;
        writeln!(
            f,
            "  clients       {} asked for; {} of {} connects succeeded, {} failed",
            clients.asked, clients.connected, clients.attempts, clients.failed
        )?;
        writeln!(f, "  connect ms    {}", line(&self.total.connects.connect_ms))?;
        let measured = &self.measured;
        writeln!(f, "  measured      {} s with {} clients", measured.seconds, measured.connected)?;
        let expected = measured.expected_updates_per_s.map_or(String::new(), |rate| format!(" ({rate:.0} expected)"));
        writeln!(
            f,
            "  updates       {} = {:.0}/s{expected}, {:.2} MB/s",
            measured.updates,
            measured.updates_per_s,
            measured.bytes_per_s / 1e6
        )?;
        writeln!(f, "  latency ms    {}", line(&measured.latency_ms))?;
        writeln!(f, "  silence ms    {}  (of each client's quietest symbol)", line(&measured.silence_ms))?;
        for (name, class) in [
            ("healthy", &measured.classes.healthy),
            ("slow", &measured.classes.slow),
            ("stalled", &measured.classes.stalled),
        ] {
            if name == "healthy" || class.updates + class.silent + class.disconnected > 0 {
                let found = &class.continuity;
                writeln!(
                    f,
                    "  {name:<8}      {} updates: {} lost, {} conflated, {} duplicates, {} reordered, {} with two prices, \
                     {} new epochs",
                    class.updates,
                    found.lost,
                    found.conflated,
                    found.duplicates,
                    found.reordered,
                    found.two_prices,
                    found.epoch_changes
                )?;
            }
            if name != "healthy" && class.updates > 0 {
                writeln!(f, "    latency ms  {}", line(&class.latency_ms))?;
            }
            if class.silent + class.disconnected > 0 {
                writeln!(
                    f,
                    "                {} clients silent, {} ended by the server",
                    class.silent, class.disconnected
                )?;
            }
        }
        resources(f, measured)?;
        if self.phases.len() > 1 {
            writeln!(
                f,
                "\n  {:<18} {:>7} {:>8} {:>10} {:>9} {:>9} {:>6}",
                "phase", "s", "clients", "updates/s", "p50 ms", "p99 ms", "lost"
            )?;
            for row in self.phases.iter().chain([&self.total]) {
                let ms = |percent| row.latency_ms.percentile_ms(percent).map_or("-".into(), |ms| format!("{ms:.1}"));
                writeln!(
                    f,
                    "  {:<18} {:>7.1} {:>8} {:>10.0} {:>9} {:>9} {:>6}",
                    row.name,
                    row.seconds,
                    row.connected,
                    row.updates_per_s,
                    ms(50.0),
                    ms(99.0),
                    row.continuity.lost
                )?;
            }
        }
        if !self.errors.is_empty() {
            writeln!(f, "\n  what went wrong")?;
        }
        for error in &self.errors {
            writeln!(f, "  {:>8} x {}", error.count, error.message)?;
        }
        if !self.remarks.is_empty() {
            writeln!(f)?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        writeln!(f)?;
        for criterion in &self.criteria {
            let value = criterion.value.map_or("nothing measured".into(), |value| value.to_string());
            let (verdict, bound) = (if criterion.pass { "pass" } else { "FAIL" }, criterion.bound);
            writeln!(f, "  {verdict}  {}: {value} (must be {} {bound})", criterion.name, criterion.must_be)?;
        }
        Ok(())
    }
}

fn resources(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    if let Some(server) = &row.server {
        write!(f, "  server        {:.0} % CPU", server.cpu_share * 100.0)?;
        if let Some(us) = server.cpu_us_per_update {
            write!(f, " = {us:.2} us an update")?;
        }
        write!(
            f,
            " ({:.2} s user, {:.2} s system); {} MB",
            server.cpu_user_s,
            server.cpu_system_s,
            server.rss_kb / 1024
        )?;
        if let Some(kb) = server.kb_per_connection {
            write!(f, " = {kb:.1} kB a connection")?;
        }
        writeln!(f, "; {} threads", server.threads)?;
    }
    let generator = &row.generator;
    writeln!(
        f,
        "  generator     {:.0} % of its core, without one for {:.0} % of the time; a round of its loop: p99 {:.1} ms, max {:.1} ms",
        generator.cpu_share * 100.0,
        generator.wait_share * 100.0,
        generator.loop_ms.percentile_ms(99.0).unwrap_or(0.0),
        generator.loop_ms.max_ms().unwrap_or(0.0)
    )?;
    writeln!(f, "  others        {:.0} % of a core, of {} cores", row.machine.other_cpu_share * 100.0, row.machine.cpus)
}

fn line(times: &Times) -> String {
    match (times.average_ms(), times.max_ms()) {
        (Some(average), Some(max)) => {
            let percentile = |percent| times.percentile_ms(percent).unwrap_or(max);
            format!(
                "avg {average:.1}, p50 {:.1}, p95 {:.1}, p99 {:.1}, p99.9 {:.1}, max {max:.1}",
                percentile(50.0),
                percentile(95.0),
                percentile(99.0),
                percentile(99.9)
            )
        }
        _ => "nothing".into(),
    }
}
