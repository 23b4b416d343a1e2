//! How much memory is left, by the kernel: of the machine, and of the control group that the process is confined to. Reading a
//! document or writing an index takes memory all at once, so a claim waits while too little is left.

use std::{fs, path::Path};

/// Bytes that can be used without anybody being killed; `None` where the kernel does not say.
pub(super) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let group =
        fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| of_group(Path::new("/sys/fs/cgroup"), &text));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of `proc_meminfo(5)`, which is in kibibytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What the tightest group of the second version has left, from the process's own up to the root. The page cache of files that
/// nobody reads (`inactive_file`) is counted as used there, and is given up when it is needed.
fn of_group(root: &Path, cgroup: &str) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?.trim();
    let own = root.join(own);
    let groups = own.ancestors().take_while(|folder| folder.starts_with(root));
    groups.filter_map(left_in).min()
}

fn left_in(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let idle = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let idle: u64 = idle.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_is_available() {
        let meminfo = "MemTotal:       24612000 kB\nMemFree:          100000 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_machine(meminfo), Some(20_480_000_000));
        assert_eq!(of_machine("MemTotal: 1 kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20), "this machine does not say");
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, name: &str, text: &str| {
            let folder = root.path().join(group);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), text).unwrap();
        };
        assert_eq!(of_group(root.path(), "0::/pod/app\n"), None);
        write("pod", "memory.max", "1000\n");
        write("pod", "memory.current", "800\n");
        write("pod", "memory.stat", "anon 500\ninactive_file 100\n");
        assert_eq!(of_group(root.path(), "0::/pod/app\n"), Some(300));
        write("pod/app", "memory.max", "max\n");
        write("pod/app", "memory.current", "700\n");
        assert_eq!(of_group(root.path(), "0::/pod/app\n"), Some(300));
        write("pod/app", "memory.max", "600\n");
        assert_eq!(of_group(root.path(), "0::/pod/app\n"), Some(0));
        assert_eq!(of_group(root.path(), "4:memory:/pod/app\n"), None);
    }
}
