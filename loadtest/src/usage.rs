//! What processes use, from `/proc`: the server where its pid is given, this program, and the machine.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What was used up to a moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The moment.
    pub at: Instant,
    /// The server's processes together, as far as they were there.
    pub server: Option<ServerUsage>,
    /// CPU of this process.
    pub own_cpu: Duration,
    /// How long this process could have run, and no core was free for it.
    pub own_wait: Duration,
    /// CPU of everybody.
    pub machine_cpu: Duration,
}

/// What a server's processes use.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerUsage {
    /// CPU in user space.
    pub user_cpu: Duration,
    /// CPU in the kernel.
    pub system_cpu: Duration,
    /// Memory that is resident, in kB.
    pub rss_kb: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Up to now.
    pub fn now(pids: &[u32]) -> Self {
        Self {
            at: Instant::now(),
            server: server(pids),
            own_cpu: own_cpu(),
            own_wait: own_wait(),
            machine_cpu: machine_cpu(),
        }
    }
}

/// All of these processes; none if there are none, or if one is gone.
fn server(pids: &[u32]) -> Option<ServerUsage> {
    let mut sum = ServerUsage::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // A process may call itself anything, so fields count from behind its name. Fields 14 and 15 are its CPU.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        sum.user_cpu += ticks(fields.next()?)?;
        sum.system_cpu += ticks(fields.next()?)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        sum.rss_kb += field("VmRSS:").unwrap_or(0);
        sum.threads += field("Threads:").unwrap_or(0);
    }
    (!pids.is_empty()).then_some(sum)
}

/// The files that these processes have open, sockets among them; none if that is not ours to know.
pub fn open_files(pids: &[u32]) -> Option<u64> {
    let counts = pids.iter().map(|pid| Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64));
    counts.sum::<Option<u64>>().filter(|_| !pids.is_empty())
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Zero where the kernel does not count it. It is that of the main thread, which is the only one.
fn own_wait() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0))
}

/// Everything but idle and waiting for disks.
fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq
    fields.enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5 | 6)).filter_map(|(_, field)| ticks(field)).sum()
}

/// A number of the kernel's clock ticks.
fn ticks(text: &str) -> Option<Duration> {
    let ticks: u64 = text.parse().ok()?;
    Some(Duration::from_micros(ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1)))
}

/// Cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets this process open as many files as it may: each client is one, or three while it moves from polling to a
/// WebSocket. Says how many.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        let pid = std::process::id();
        let before = Usage::now(&[pid]);
        let mut sum = 0_u64;
        while Usage::now(&[]).own_cpu < before.own_cpu + Duration::from_millis(50) {
            sum = (0..100_000_u64).fold(sum, |sum, number| sum ^ number.wrapping_mul(sum | 1));
        }
        std::hint::black_box(sum);
        let after = Usage::now(&[pid]);
        assert!(after.machine_cpu > before.machine_cpu);
        let (before, after) = (before.server.unwrap(), after.server.unwrap());
        assert!(after.user_cpu + after.system_cpu > before.user_cpu + before.system_cpu);
        assert!(after.rss_kb > 1000 && after.threads >= 1);
        assert!(open_files(&[pid]).unwrap() >= 3);
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        assert!(Usage::now(&[u32::MAX]).server.is_none() && Usage::now(&[]).server.is_none());
    }
}
