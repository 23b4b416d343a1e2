//! Measures `domain::similarity`: how alike made variants of real texts are by runs of one to six words, how far the estimates are
//! from the truth, and what grouping a million documents takes.
//!
//! `near_duplicates FOLDER [DOCUMENTS]` reads the texts (UTF-8) of a folder, makes variants of each, and prints one JSON object as
//! its last line. Deterministic, but for the times.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measuring program: it reads a folder and answers on stdout"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    sync::atomic::AtomicBool,
    time::Instant,
};

use domain::{
    fingerprint::FingerprintKey,
    similarity::{Member, RUN, Signature, VALUES, groups},
};
use serde_json::{Value, json};

/// Longer texts are cut, so that the exact comparison stays quick.
const LONGEST: usize = 4_000;
/// Percent from which two texts are near-duplicates.
const THRESHOLD: u8 = 85;

/// A small deterministic generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(0) % sides.max(1)
    }
}

type Words = Vec<String>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: near_duplicates FOLDER [DOCUMENTS]")?;
    let documents: usize = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let texts = load(&folder)?;
    let mut dice = Dice(7);
    let mut out = BTreeMap::new();
    for (kind, make) in KINDS {
        let pairs: Vec<(&Words, Words)> = texts.iter().map(|text| (text, make(text, &mut dice))).collect();
        out.insert(*kind, of_pairs(&pairs));
    }
    let strangers: Vec<(&Words, Words)> =
        texts.iter().zip(texts.iter().skip(1)).map(|(one, other)| (one, other.clone())).collect();
    out.insert("strangers", of_pairs(&strangers));
    println!("{}", json!({ "texts": texts.len(), "pairs": out, "scale": scale(documents, &mut dice) }));
    Ok(())
}

fn load(folder: &str) -> Result<Vec<Words>, Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let text = String::from_utf8_lossy(&fs::read(path)?).to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Words = words.take(LONGEST).map(str::to_owned).collect();
        if words.len() >= 50 {
            texts.push(words);
        }
    }
    texts.sort();
    texts.dedup();
    Ok(texts)
}

type Make = fn(&[String], &mut Dice) -> Words;

/// What happens to documents between one copy and the next.
const KINDS: &[(&str, Make)] = &[
    ("one_word_in_200_changed", |text, dice| changed(text, 200, dice)),
    ("one_word_in_50_changed", |text, dice| changed(text, 50, dice)),
    ("one_word_in_20_changed", |text, dice| changed(text, 20, dice)),
    ("a_twentieth_added", |text, dice| {
        (0..text.len() / 20).map(|_| format!("added{}", dice.roll(9_999))).chain(text.iter().cloned()).collect()
    }),
    ("a_tenth_left_out", |text, dice| {
        let from = dice.roll(text.len() - text.len() / 10);
        [&text[..from], &text[from + text.len() / 10..]].concat()
    }),
    ("half_left_out", |text, _| text[..text.len() / 2].to_vec()),
];

fn changed(text: &[String], every: usize, dice: &mut Dice) -> Words {
    text.iter()
        .map(|word| if dice.roll(every) == 0 { format!("x{}", dice.roll(9_999)) } else { word.clone() })
        .collect()
}

fn of_pairs(pairs: &[(&Words, Words)]) -> Value {
    let mut by_run = BTreeMap::new();
    for run in 1..=6 {
        let truths: Vec<f64> = pairs.iter().map(|(one, other)| jaccard(one, other, run)).collect();
        let over = truths.iter().filter(|truth| **truth * 100.0 >= f64::from(THRESHOLD)).count();
        by_run.insert(run, json!({ "mean": rounded(mean(&truths)), "near_duplicates": over }));
    }
    let key = FingerprintKey::new([1; 16]);
    let (mut errors, mut wrong) = (Vec::new(), 0);
    for (one, other) in pairs {
        let (Some(a), Some(b)) = (signature(one, &key), signature(other, &key)) else { continue };
        let (truth, estimate) = (jaccard(one, other, RUN), f64::from(a.similarity(&b)) / 100.0);
        errors.push((truth - estimate).abs());
        // Further from the threshold than three standard errors, and on the wrong side of it.
        let threshold = f64::from(THRESHOLD) / 100.0;
        wrong += usize::from((truth - threshold).abs() > 0.095 && (truth >= threshold) != (estimate >= threshold));
    }
    let largest = errors.iter().copied().fold(0.0, f64::max);
    json!({ "by_run": by_run, "mean_error": rounded(mean(&errors)), "largest_error": rounded(largest), "wrong": wrong })
}

fn signature(words: &[String], key: &FingerprintKey) -> Option<Signature> {
    Signature::new(&words.join(" "), key, 20)
}

fn jaccard(one: &[String], other: &[String], run: usize) -> f64 {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.windows(run).collect(), other.windows(run).collect());
    let common = one.intersection(&other).count();
    common as f64 / (one.len() + other.len() - common).max(1) as f64
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

fn rounded(n: f64) -> f64 {
    (n * 1_000.0).round() / 1_000.0
}

/// A case of so many documents: seven in ten like no other, the rest in groups of ten.
fn scale(documents: usize, dice: &mut Dice) -> Value {
    let mut members: Vec<Member> = Vec::with_capacity(documents);
    while members.len() < documents {
        let values = [(); VALUES].map(|()| dice.next().to_be_bytes()[0]);
        let (copies, words) = (if dice.roll(24) == 0 { 10 } else { 1 }, u32::try_from(dice.roll(3_000)).unwrap_or(0));
        for copy in 0..copies {
            let mut values = values;
            for _ in 0..dice.roll(12) * copy.min(1) {
                values[dice.roll(VALUES)] = dice.next().to_be_bytes()[0];
            }
            members.push(Member { values, words, tie: dice.next() });
        }
    }
    members.truncate(documents);
    let (before, begun) = (peak(), Instant::now());
    let places = groups(&members, THRESHOLD, &AtomicBool::new(false)).unwrap_or_default();
    json!({
        "documents": documents,
        "in_groups": places.iter().flatten().count(),
        "seconds": rounded(begun.elapsed().as_secs_f64()),
        "signatures_mb": members.len() * size_of::<Member>() / 1_000_000,
        "more_at_the_peak_mb": peak().saturating_sub(before) / 1_000,
    })
}

/// The largest resident memory of this process so far, in kilobytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
