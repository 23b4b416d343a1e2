//! `dia-demo DIR [--fleet]`: a fresh server in a temporary directory (or a fleet of doors and workers), and the whole walk over the files of DIR: sign up, case,
//! database, upload, watch, search, ask, check every citation against the document's text, stop. The last line is one
//! JSON object.

#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testkit::{Client, Home, fleet::Fleet};

/// Processes of a fleet.
const DOORS: usize = 2;
const WORKERS: usize = 2;
/// Files of one upload.
const TOGETHER: usize = 25;
/// Asked of every folder, beside a question made of a document's own words; whoever shows their own documents sees what dia
/// finds in them.
const QUESTIONS: [&str; 4] = [
    "What is the governing law of the outsourcing agreement?",
    "What is the term of the agreement and how is it renewed?",
    "Which licences are granted under the co-branding agreement?",
    "What notice must be given to terminate?",
];
const SEARCH: &str = "agreement OR the";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("usage: dia-demo DIR [--fleet]")?;
    let is_fleet = arguments.next().is_some_and(|argument| argument == "--fleet");
    let files = files(Path::new(&folder))?;
    ensure!(!files.is_empty(), "{folder} holds no files");
    let directory = tempfile::tempdir()?;
    let started = Instant::now();
    let mut fleet = if is_fleet { Some(Fleet::start(directory.path(), DOORS, WORKERS).await?) } else { None };
    let server = match &mut fleet {
        Some(fleet) => fleet.doors.remove(0),
        None => Home::new(directory.path())?.start().await?,
    };
    println!("serving {} from an empty data directory", server.address);
    let code = server.setup_code.clone().context("the server printed no setup code")?;
    let deliverer = Client::sign_up(&server.address, &code).await?;
    // In a fleet everything after the delivery goes through another door.
    let client = fleet.as_ref().map_or_else(|| deliverer.clone(), |fleet| deliverer.at(&fleet.doors[0].address));
    let (case, database) = client.open_database().await?;
    println!("signed up, opened case {case} and database {database}");

    let mut received = 0;
    for (number, group) in files.chunks(TOGETHER).enumerate() {
        let mut parts = Vec::new();
        for path in group {
            let name = path.strip_prefix(&folder).unwrap_or(path).to_string_lossy().into_owned();
            parts.push((name, fs::read(path)?));
        }
        received += deliverer.upload(&database, &format!("demo-{number}"), &parts).await?.len();
    }
    println!("delivered {received} of {} files", files.len());
    let counts = client
        .watch(&database, |counts| {
            println!(
                "  {} of {} done",
                counts.received + counts.unpacked - counts.in_flight,
                counts.received + counts.unpacked
            );
        })
        .await?;
    for (category, count) in &counts.exceptions {
        println!("  exceptions: {count} {category}");
    }

    let hits = client.search(&database, SEARCH).await?;
    println!("search `{SEARCH}`: {} documents on the first page", hits.len());
    let (mut citations, mut verified) = (0, 0);
    let mut questions: Vec<String> = QUESTIONS.map(str::to_owned).to_vec();
    for document in hits.iter().filter_map(|hit| hit["document_id"].as_str()) {
        if let Some(question) = own_question(&client.text(document).await?) {
            questions.push(question);
            break;
        }
    }
    for question in questions {
        let (answer, streamed) = client.ask(&case, &database, &question).await?;
        println!("{question}\n  {}", answer.text.split_whitespace().collect::<Vec<_>>().join(" "));
        ensure!(!streamed.is_empty() || answer.text.is_empty(), "the answer was not streamed");
        let cited: Vec<_> = answer.sentences.iter().flat_map(|sentence| &sentence.citations).collect();
        for citation in &cited {
            println!("  [{}, page {}, {}..{}]", citation.name, citation.page, citation.start, citation.end);
        }
        citations += cited.len();
        verified += client.verified(&cited).await?;
    }
    let status = server.stop().await?;
    ensure!(status.success(), "the server did not stop cleanly: {status}");
    if let Some(fleet) = fleet {
        fleet.stop().await?;
    }
    let result = json!({
        "received": counts.received, "unpacked": counts.unpacked, "indexed": counts.indexed,
        "duplicate": counts.duplicate, "excluded": counts.excluded, "exception": counts.exception,
        "in_flight": counts.in_flight, "search_hits": hits.len(), "citations": citations,
        "citations_verified": verified, "mode": if is_fleet { "fleet" } else { "embedded" }, "seconds": (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    });
    println!("{result}");
    ensure!(received == files.len(), "{} files were not received", files.len() - received);
    ensure!(verified == citations, "{} citations are not what the documents say", citations - verified);
    Ok(())
}

/// A question in the words of a document: its three longest. `None` when it has fewer.
fn own_question(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 5).take(500);
    let mut words: Vec<String> = words.map(str::to_lowercase).collect();
    words.sort_unstable_by_key(|word| (std::cmp::Reverse(word.len()), word.clone()));
    words.dedup();
    let [first, second, third, ..] = &words[..] else { return None };
    Some(format!("What do the documents say about {first}, {second} and {third}?"))
}

/// All files below `folder`, in order of name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
