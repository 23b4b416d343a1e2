//! `dia-bench-batch ITEMS`: a platform announces ITEMS files with one load file, which the server fetches from a mounted folder; the server
//! is killed (SIGKILL) while it reads the load file, and when a third and two thirds of the files are there. What is measured: memory and
//! CPU of the server's lives, and that every item is accounted for. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::{Client, Home, Server, machine};
use tokio::time::sleep;

/// Files of one folder.
const TOGETHER: usize = 1_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What the server's lives cost.
#[derive(Default)]
struct Cost {
    peak: u64,
    child: u64,
    cpu: f64,
    lives: u32,
}

/// The server, whichever of its lives it is in.
struct Matter {
    home: Home,
    server: Server,
    client: Client,
    base: String,
    cost: Cost,
}

impl Matter {
    fn process(&self) -> Result<u32> {
        self.server.process().context("the server has ended")
    }

    /// Watches until `holds` of the batch as the API shows it.
    async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let process = self.process()?;
        let (client, base) = (&mut self.client, &self.base);
        let work = async {
            loop {
                client.stay_signed_in().await?;
                let batch = client.get(base).await?;
                if holds(&batch) {
                    return Ok::<_, anyhow::Error>(batch);
                }
                sleep(LOOK).await;
            }
        };
        let (batch, peak) = machine::watch(process, work).await;
        self.cost.peak = self.cost.peak.max(peak.parent);
        self.cost.child = self.cost.child.max(peak.child);
        let batch = batch?;
        println!("{what}: items {}, counts {}, {:.0} MB", batch["items"], batch["counts"], mega(self.cost.peak));
        Ok(batch)
    }

    fn count(&mut self) -> Result<()> {
        let process = self.process()?;
        self.cost.peak = self.cost.peak.max(machine::most_resident(process));
        self.cost.cpu += machine::processor_seconds(process)?;
        self.cost.lives += 1;
        Ok(())
    }

    /// SIGKILL, and the next life.
    async fn die(mut self) -> Result<Self> {
        self.count()?;
        self.server.kill().await?;
        let server = self.home.start().await?;
        let client = self.client.at(&server.address);
        Ok(Self { server, client, ..self })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let items = std::env::args().nth(1).context("usage: dia-bench-batch ITEMS")?;
    let items: usize = items.parse().context("ITEMS is a number")?;
    let directory = tempfile::tempdir()?;
    let mount = directory.path().join("mount");
    let manifest = write(&mount, items)?;
    let bytes = manifest.len();
    let home = Home::new(directory.path())?
        .with("DIA_REFERENCES__FOLDERS", &json!([mount]).to_string())
        .with("DIA_WORKERS__LEASE_SECONDS", "5");
    let began = Instant::now();
    let server = home.start().await?;
    let client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    let (_, database) = client.open_database().await?;
    let (batch, _) = client.announce(&database, "one", manifest).await?;
    let base = format!("/databases/{database}/batches/{batch}");
    let mut matter = Matter { home, server, client, base, cost: Cost::default() };

    let announced = |batch: &Value| -> u64 {
        ["awaited", "fetching", "delivered", "failed"].iter().filter_map(|state| batch["items"][*state].as_u64()).sum()
    };
    matter.until("reading the load file", |batch| announced(batch) > 0).await?;
    matter = matter.die().await?;
    let load_files = format!("{}/load-files", matter.base);
    loop {
        matter.client.stay_signed_in().await?;
        let file = matter.client.get(&load_files).await?["items"][0].clone();
        ensure!(file["state"] != "failed", "the load file was not read: {file}");
        if file["state"] == "read" {
            break;
        }
        sleep(LOOK).await;
    }
    matter.client.post(&format!("{}/seal", matter.base), &Value::Null).await?;
    for third in 1..=2_u64 {
        let goal = items as u64 * third / 3;
        matter.until("on the way", |batch| batch["items"]["delivered"].as_u64() >= Some(goal)).await?;
        matter = matter.die().await?;
    }
    let batch = matter.until("settled", |batch| batch["settled_at"].is_string()).await?;
    let seconds = began.elapsed().as_secs_f64();
    let counts = &batch["counts"];
    let of = |name: &str| counts[name].as_u64().unwrap_or_default();
    let all = items as u64;
    ensure!(
        batch["items"]["delivered"] == all && of("received") == all && of("indexed") == all,
        "not all is there: {batch}"
    );
    matter.count()?;
    let hits = matter.client.search(&database, &format!("word{}", items - 1)).await?.len();
    ensure!(hits == 1, "the last file is found {hits} times");
    let cost = &matter.cost;
    let result = json!({
        "items": items, "load_file_mb": round(bytes as f64 / 1e6), "kills": cost.lives - 1, "seconds": round(seconds),
        "cpu_s_per_1000": round(cost.cpu / items as f64 * 1_000.0), "peak_rss_mb": round(mega(cost.peak)),
        "peak_rss_child_mb": round(mega(cost.child)), "delivered": all, "indexed": of("indexed"),
    });
    ensure!(matter.server.stop().await?.success(), "the server did not stop cleanly");
    println!("{result}");
    Ok(())
}

/// Letters in folders of a thousand, and the load file that announces them.
fn write(mount: &Path, items: usize) -> Result<String> {
    let mut manifest = String::new();
    for number in 0..items {
        let path = format!("VOL{:03}/{number:07}.txt", number / TOGETHER);
        let file = mount.join(&path);
        if number % TOGETHER == 0 {
            fs::create_dir_all(file.parent().context("a folder")?)?;
        }
        fs::write(&file, format!("Memorandum {number}\n\nThe committee met about word{number} and adjourned.\n"))?;
        let line = json!({
            "path": path, "source": format!("file://{}", file.display()), "control_number": format!("DIA{number:07}"),
            "custodian": format!("Custodian {}", number % 40), "fields": { "Box": number / 50 },
        });
        writeln!(manifest, "{line}")?;
    }
    Ok(manifest)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
