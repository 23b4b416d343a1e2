//! What a process and its children cost, as the kernel counts it (proc(5)).

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// Clock ticks a second; 100 on every Linux that matters (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// Most memory seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peak {
    /// Bytes of the process itself.
    pub parent: u64,
    /// Bytes of its largest child.
    pub child: u64,
    /// Bytes of all children together.
    pub children: u64,
}

/// Processor seconds of a process, of its threads and of the children it waited for.
pub fn processor_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The command's name, in parentheses, may hold anything; what follows is numbers. utime is the 14th field of all.
    let fields: Vec<&str> = stat.rsplit_once(") ").context("unreadable stat")?.1.split(' ').collect();
    let ticks: f64 =
        fields.get(11..15).context("unreadable stat")?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// Resident memory of a process in bytes; zero when it is gone.
pub fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")
}

/// The most resident memory a process has had so far, in bytes; zero when it is gone.
pub fn most_resident(process: u32) -> u64 {
    status(process, "VmHWM:")
}

fn status(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kb| kb.parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024)
}

fn children(process: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    children
}

/// Watches the memory of a process and its children while `work` goes on.
pub async fn watch<T>(process: u32, work: impl Future<Output = T>) -> (T, Peak) {
    let mut peak = Peak::default();
    let mut work = std::pin::pin!(work);
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            done = &mut work => {
                peak.parent = most_resident(process);
                return (done, peak);
            }
            _ = pace.tick() => {
                let resident: Vec<u64> = children(process).into_iter().map(resident).collect();
                peak.child = peak.child.max(resident.iter().copied().max().unwrap_or(0));
                peak.children = peak.children.max(resident.iter().sum());
            }
        }
    }
}
