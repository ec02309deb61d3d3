//! What the agent's process uses, from `/proc`, under the names Prometheus' client libraries made common.

use std::fs;
use std::path::Path;

use opentelemetry::metrics::Meter;

/// Readings of `/proc/self`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Since boot.
    pub start_ticks: u64,
}

/// Registers the process metrics. Where there is no `/proc` they are absent.
pub fn register(meter: &Meter) {
    meter
        .f64_observable_counter("process_cpu_seconds_total")
        .with_description("Processor time of the agent, user and system.")
        .with_unit("s")
        .with_callback(|observe| {
            if let Some(usage) = usage() {
                observe.observe(usage.cpu_seconds, &[]);
            }
        })
        .build();
    for (name, help, unit, read) in [
        ("process_resident_memory_bytes", "Resident memory of the agent.", "By", Usage::resident as fn(&Usage) -> u64),
        ("process_virtual_memory_bytes", "Virtual memory of the agent.", "By", Usage::virtual_memory),
        ("process_threads", "Threads of the agent.", "", Usage::threads),
    ] {
        meter
            .u64_observable_gauge(name)
            .with_description(help)
            .with_unit(unit)
            .with_callback(move |observe| {
                if let Some(usage) = usage() {
                    observe.observe(read(&usage), &[]);
                }
            })
            .build();
    }
    meter
        .u64_observable_gauge("process_open_fds")
        .with_description("Open file descriptors of the agent.")
        .with_callback(|observe| {
            if let Ok(open) = fs::read_dir("/proc/self/fd") {
                observe.observe(open.count() as u64, &[]);
            }
        })
        .build();
    if let Some(started) = started_seconds() {
        meter
            .f64_observable_gauge("process_start_time_seconds")
            .with_description("When the agent started, seconds since 1970.")
            .with_unit("s")
            .with_callback(move |observe| observe.observe(started, &[]))
            .build();
    }
}

impl Usage {
    const fn resident(&self) -> u64 {
        self.resident_bytes
    }

    const fn virtual_memory(&self) -> u64 {
        self.virtual_bytes
    }

    const fn threads(&self) -> u64 {
        self.threads
    }
}

/// Reads this process's usage; `None` where there is no `/proc`.
#[must_use]
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string(Path::new("/proc/self/stat")).ok()?;
    parse(&stat, ticks_per_second()?, page_bytes()?)
}

fn started_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 and ticks since boot")]
    let started = booted as f64 + usage()?.start_ticks as f64 / ticks_per_second()? as f64;
    Some(started)
}

fn parse(stat: &str, ticks: u64, page: u64) -> Option<Usage> {
    // The second field is the program's name in parentheses and may hold anything; proc(5) numbers fields from 1.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "processor time")]
    let cpu_seconds = (field(14)? + field(15)?) as f64 / ticks as f64;
    Some(Usage {
        cpu_seconds,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page),
    })
}

fn ticks_per_second() -> Option<u64> {
    // SAFETY: sysconf reads a constant of the system and has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)
}

fn page_bytes() -> Option<u64> {
    // SAFETY: as above.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_hostile_program_name() {
        let stat =
            "42 (a) b (c) S 1 1 1 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 7 0 12345 1000000 30 18446744073709551615";
        let usage = parse(stat, 100, 4096).unwrap();
        assert_eq!(
            usage,
            Usage {
                cpu_seconds: 3.0,
                resident_bytes: 122_880,
                virtual_bytes: 1_000_000,
                threads: 7,
                start_ticks: 12_345
            }
        );
        assert_eq!(parse("42 (x) S 1", 100, 4096), None);
    }

    #[test]
    fn this_process_is_read() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 1_000_000 && usage.threads >= 1, "{usage:?}");
    }
}
