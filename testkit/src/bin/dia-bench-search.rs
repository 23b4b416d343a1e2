//! `dia-bench-search CHUNKS QUERIES`: how long a search takes through the front door of the binary beside this one when its
//! index holds at least CHUNKS passages. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use testkit::{Client, Home, Server, delivery::Dice, machine};
use tokio::time::sleep;

/// Different words of the collection. English prose of this size has about as many.
const WORDS: u64 = 60_000;
/// Words of a document: some hundred passages, like a long contract or a transcript.
const LENGTH: u64 = 12_000;
/// Passages such a document gives, rounded down.
const PASSAGES: u64 = 100;
/// Documents of one upload.
const TOGETHER: u64 = 50;
/// Searches that fill the caches and are not counted.
const WARMING: u64 = 50;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(chunks), Some(queries)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: dia-bench-search CHUNKS QUERIES");
    };
    let chunks: u64 = chunks.parse().context("CHUNKS is a number")?;
    let queries: u64 = queries.parse().context("QUERIES is a number")?;

    let directory = tempfile::tempdir()?;
    let home = Home::new(directory.path())?;
    let server = home.start().await?;
    let mut client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    let (_, database) = client.open_database().await?;
    let documents = chunks.div_ceil(PASSAGES);
    println!("{documents} documents of {LENGTH} words are taken in");
    let process = server.process().context("the server has ended")?;
    let (began, spent) = (Instant::now(), machine::processor_seconds(process)?);
    fill(&mut client, &database, documents).await?;
    let (index_seconds, index_cpu) = (began.elapsed().as_secs_f64(), machine::processor_seconds(process)? - spent);
    let indexed = indexed_chunks(&home.data).await?;
    ensure!(indexed >= chunks, "the index holds {indexed} passages only");
    println!("{indexed} passages are indexed after {index_seconds:.0} s");

    client.sign_in().await?;
    let spent = machine::processor_seconds(process)?;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for number in 0..WARMING + queries {
        let (form, query) = query(number);
        let began = Instant::now();
        client.search(&database, &query).await.with_context(|| format!("the search for {query}"))?;
        if number >= WARMING {
            times.entry(form).or_default().push(began.elapsed());
        }
    }
    let cpu = (machine::processor_seconds(process)? - spent) / (WARMING + queries) as f64;
    let resident = machine::resident(process);
    stop(server).await?;
    let mut all: Vec<Duration> = times.values().flatten().copied().collect();
    let forms: BTreeMap<&str, _> = times
        .iter_mut()
        .map(|(form, times)| (*form, json!({ "p50_ms": quantile(times, 0.5), "p99_ms": quantile(times, 0.99) })))
        .collect();
    let result = json!({
        "documents": documents, "chunks": indexed, "queries": queries, "p50_ms": quantile(&mut all, 0.5),
        "p99_ms": quantile(&mut all, 0.99), "cpu_ms_per_query": round(cpu * 1e3), "forms": forms,
        "rss_mb": round(resident as f64 / 1e6), "index_s": round(index_seconds), "index_cpu_s": round(index_cpu),
    });
    println!("{result}");
    Ok(())
}

/// Uploads the collection and waits until it can be searched.
async fn fill(client: &mut Client, database: &str, documents: u64) -> Result<()> {
    for first in (0..documents).step_by(usize::try_from(TOGETHER)?) {
        // Tokens last 15 minutes.
        client.sign_in().await?;
        let group: Vec<_> = (first..documents.min(first + TOGETHER))
            .map(|number| (format!("transcript-{number}.txt"), document(number).into_bytes()))
            .collect();
        client.upload(database, &format!("from-{first}"), &group).await?;
    }
    loop {
        client.sign_in().await?;
        let counts = client.counts(database).await?;
        if counts.in_flight == 0 {
            ensure!(counts.indexed == documents, "not every document was indexed: {counts:?}");
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Passages of the newest generation, as the row of the stopped or running server says.
async fn indexed_chunks(data: &Path) -> Result<u64> {
    let options = SqliteConnectOptions::new().filename(data.join("dia.sqlite")).read_only(true);
    let mut rows = options.connect().await?;
    let chunks: i64 =
        sqlx::query_scalar("select chunks from generations order by number desc limit 1").fetch_one(&mut rows).await?;
    Ok(u64::try_from(chunks)?)
}

async fn stop(server: Server) -> Result<()> {
    ensure!(server.stop().await?.success(), "the server did not stop cleanly");
    Ok(())
}

/// Sentences and paragraphs of words that occur as often as words do (Zipf's law with exponent 1).
fn document(number: u64) -> String {
    let mut dice = Dice::new(number);
    let mut text = String::new();
    let mut sentence = 0;
    for at in 0..LENGTH {
        text += &word(rank(&mut dice));
        sentence += 1;
        let (stop, paragraph) = (sentence > 8 && dice.below(12) == 0, at % 90 == 89);
        text += match (stop || paragraph, paragraph) {
            (true, true) => ".\n\n",
            (true, false) => ". ",
            _ => " ",
        };
        if stop || paragraph {
            sentence = 0;
        }
    }
    text
}

/// A rank from 1 to [`WORDS`], each with a probability in proportion to its reciprocal.
fn rank(dice: &mut Dice) -> u64 {
    let uniform = dice.below(1 << 52) as f64 / (1_u64 << 52) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and WORDS")]
    let rank = (WORDS as f64).powf(uniform) as u64;
    rank
}

/// The word of a rank: syllables, more of them the rarer it is.
fn word(rank: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "cor", "del", "fin", "gra", "hom", "ju", "kel", "lo", "mar", "nes", "pol", "qui", "ros", "tam", "ver"];
    let (mut left, mut word) = (rank, String::new());
    while left > 0 {
        word += SYLLABLES.get(usize::try_from(left % 16).unwrap_or(0)).copied().unwrap_or_default();
        left /= 16;
    }
    word
}

/// A search as people write them: common and rare words, several of them, phrases, prefixes, fields, exclusions.
fn query(number: u64) -> (&'static str, String) {
    let mut dice = Dice::new(number ^ 0x5eed);
    let (common, middle, rare) = (20 + dice.below(80), 100 + dice.below(900), 1_000 + dice.below(20_000));
    let (common, middle, rare) = (word(common), word(middle), word(rare));
    match number % 8 {
        0 => ("one common word", common),
        1 => ("one rare word", rare),
        2 => ("two words", format!("{common} {middle}")),
        3 => ("six words", format!("{common} {middle} {rare} {} {} {}", word(7), word(45), word(333))),
        4 => ("and, not", format!("{common} AND {middle} NOT {rare}")),
        5 => ("phrase", format!("\"{} {}\"", word(1 + dice.below(6)), word(1 + dice.below(30)))),
        6 => ("prefix", format!("{}*", middle.chars().take(5).collect::<String>())),
        _ => ("field", format!("name:transcript {middle}")),
    }
}

/// The `share` quantile in milliseconds (nearest rank).
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(at).map_or(0.0, |time| round(time.as_secs_f64() * 1e3))
}

fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
