//! The full disk: the data directory on a small file system that fills up while documents are delivered. Nothing may be
//! promised that is not kept (no false 201), and when there is room again everything goes on by itself.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testkit::Client;
use tokio::time::{sleep, timeout};

use crate::{Options, Report, deliveries::Deliveries, lives, verdict};

/// Set for the process that runs inside its own mount namespace.
const INSIDE: &str = "CRASH_INSIDE_MOUNT";
const SIZE: &str = "96m";
/// How long the server is left alone with the full disk.
const FULL: Duration = Duration::from_secs(5);
/// Everything must have ended this long after there was room again (I2).
const SETTLED: Duration = Duration::from_mins(10);

/// True in the process that may mount.
#[allow(clippy::disallowed_methods, reason = "the one variable by which the harness recognises itself")]
pub(crate) fn is_inside() -> bool {
    std::env::var(INSIDE).is_ok()
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    fs::create_dir(&disk)?;
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(&disk).status()?;
    ensure!(mounted.success(), "the full disk cannot be tried here: no tmpfs may be mounted");
    let report = fill_and_free(options, &disk).await;
    let unmounted = Command::new("umount").arg("-l").arg(&disk).status()?;
    ensure!(unmounted.success(), "cannot unmount the small file system");
    report
}

/// Runs this program again in a mount namespace of its own, as root there. Where that is not permitted nothing was proved,
/// and the run fails.
pub(crate) fn enter() -> Result<ExitCode> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg(if root { "-m" } else { "-rm" });
        command
    };
    let permitted = unshare().arg("true").status().context("cannot run unshare")?;
    ensure!(
        permitted.success(),
        "the full disk cannot be tried here: a mount namespace is needed; run as root, in a container with CAP_SYS_ADMIN, or \
         where user namespaces are permitted"
    );
    let mut command = unshare();
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    let status = command.env(INSIDE, "1").status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fill_and_free(options: &Options, disk: &Path) -> Result<Report> {
    let deliveries = Deliveries::collect(&options.sample, options.seed, options.documents, None)?;
    let mut home = lives::home(disk)?;
    home.log = disk.with_extension("log");
    let server = home.start().await?;
    let client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    let (_, database) = client.open_database().await?;
    deliveries.send(&client, &database, deliveries.all.len() / 4, 0).await;

    // Ballast takes what is left, down to nothing.
    let ballast = disk.join("ballast");
    let filled = Command::new("sh").arg("-c").arg("cat /dev/zero > \"$0\" 2>/dev/null; :").arg(&ballast).status()?;
    ensure!(filled.success() && fs::metadata(&ballast)?.len() > 0, "the disk could not be filled");
    let before = deliveries.left();
    let mut refusals = 0;
    let began = Instant::now();
    while began.elapsed() < FULL {
        let left = deliveries.left();
        deliveries.send(&client, &database, 1, 0).await;
        refusals += usize::from(deliveries.left() == left);
        sleep(Duration::from_millis(50)).await;
    }
    println!(
        "disk full: {refusals} deliveries refused ({}), {} taken",
        deliveries.refusal(),
        before - deliveries.left()
    );
    let mut report = Report { documents: options.documents, ..Report::default() };
    report.refused = refusals;
    if refusals == 0 {
        report.violations.push("the full disk was not noticed".to_owned());
    }
    fs::remove_file(&ballast)?;

    let freed = Instant::now();
    while deliveries.left() > 0 && freed.elapsed() < SETTLED {
        deliveries.send(&client, &database, usize::MAX, 0).await;
        sleep(Duration::from_millis(50)).await;
    }
    println!("all taken {:.1} s after there was room again", freed.elapsed().as_secs_f64());
    match timeout(SETTLED, verdict::wait(&client, &database)).await {
        Err(_) => report.violations.push(format!("I2 work was left {SETTLED:?} after there was room again")),
        Ok(waited) => waited?,
    }
    report.recovered_s_max = freed.elapsed().as_secs_f64();
    let (violations, lost) = verdict::judge(&client, &database, &deliveries).await?;
    report.violations.extend(violations);
    report.violations.extend(deliveries.wrong());
    report.lost = lost;
    let status = server.stop().await?;
    if !status.success() {
        report.violations.push(format!("the server did not stop cleanly: {status}"));
    }
    Ok(report)
}
