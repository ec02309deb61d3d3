//! What the kernel says of a process: CPU time and memory. Linux only (`/proc`, proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// User and system time of a process, all threads, also those that have ended. Precise to a tick, 10 ms as a rule.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields behind it.
    let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("stat is short")?.parse()?) };
    let total = ticks()? + ticks()?;
    Ok(Duration::from_secs_f64(total as f64 / ticks_per_second()))
}

/// Time all cores of the machine together were busy since it started, whoever kept them so.
pub(crate) fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("stat is empty")?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; guest times are in user and nice already.
    let busy: u64 = fields.iter().take(8).sum::<u64>() - fields.get(3..5).context("stat is short")?.iter().sum::<u64>();
    Ok(Duration::from_secs_f64(busy as f64 / ticks_per_second()))
}

fn ticks_per_second() -> f64 {
    // SAFETY: a question without memory.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// CPU time of the threads alive now, by the role in their name (what stands before the first `-` or digit).
pub(crate) fn threads(pid: u32) -> Result<BTreeMap<String, Duration>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // A thread may end while we look.
        let (Ok(name), Ok(stat)) = (fs::read_to_string(path.join("comm")), fs::read_to_string(path.join("schedstat")))
        else {
            continue;
        };
        let role: String = name.trim().chars().take_while(|c| *c != '-' && !c.is_ascii_digit()).collect();
        let ran = stat.split_whitespace().next().context("schedstat is empty")?.parse()?;
        *all.entry(role).or_insert(Duration::ZERO) += Duration::from_nanos(ran);
    }
    Ok(all)
}

/// A line of `/proc/PID/status` in MiB: `VmRSS` (resident now), `VmHWM` (the most that was ever resident).
pub(crate) fn mebibytes(pid: u32, line: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let kib: f64 = found.context("no such line in status")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
