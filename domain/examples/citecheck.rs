//! Measures `domain::cite` on a retrieval set: sentences of the gold clauses as they are and lightly reworded must be
//! accepted; the same with a changed number, with an inserted or dropped negation, or cited to another clause must not.
//!
//! `cargo run -p domain --example citecheck -- SET_DIR` prints one JSON object. Deterministic.

#![allow(clippy::print_stdout, reason = "prints its result")]

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use domain::{
    cite::{sentences, support},
    text::slice,
};
use serde_json::{Value, json};

/// A sentence of a gold clause and the clause.
struct Sample {
    sentence: String,
    clause: String,
    document: String,
}

/// A small deterministic generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or(0) % sides.max(1)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: citecheck SET_DIR")?;
    let samples = load(Path::new(&dir))?;
    let mut dice = Dice(7);
    let mut out = BTreeMap::new();
    let mut report = |name: &'static str, accept: bool, cases: Vec<(String, String)>| {
        let right = |case: &&(String, String)| support(&case.0, &[&case.1]).is_ok() == accept;
        let (good, bad): (Vec<_>, Vec<_>) = cases.iter().partition(|case| right(case));
        if std::env::args().any(|arg| arg == "--show") {
            for (sentence, quote) in bad.iter().take(12) {
                println!("{name} {:?}\n  S {sentence}\n  Q {quote}\n", support(sentence, &[quote]));
            }
        }
        out.insert(name, json!({ "right": good.len(), "of": cases.len() }));
    };
    let pairs = |change: &dyn Fn(&str) -> Option<String>| -> Vec<(String, String)> {
        samples.iter().filter_map(|s| Some((change(&s.sentence)?, s.clause.clone()))).collect()
    };
    report("faithful", true, pairs(&|s| Some(s.to_owned())));
    report("faithful_reworded", true, pairs(&|s| Some(reworded(s))));
    report("changed_numbers", false, pairs(&changed_number));
    report("inserted_negations", false, pairs(&inserted_negation));
    report("dropped_negations", false, pairs(&dropped_negation));
    let mut wrong = Vec::new();
    for sample in &samples {
        let others: Vec<&Sample> =
            samples.iter().filter(|o| o.document == sample.document && !o.clause.contains(&sample.sentence)).collect();
        if let Some(other) = others.get(dice.roll(others.len())) {
            wrong.push((sample.sentence.clone(), other.clause.clone()));
        }
    }
    report("wrong_clauses", false, wrong);
    println!("{}", serde_json::to_string(&out)?);
    Ok(())
}

/// Every distinct sentence of 6 to 80 words of the gold clauses.
fn load(dir: &Path) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut samples: Vec<Sample> = Vec::new();
    for line in fs::read_to_string(dir.join("gold.jsonl"))?.lines() {
        let gold: Value = serde_json::from_str(line)?;
        for span in gold["spans"].as_array().into_iter().flatten() {
            let document = span["doc_id"].as_str().unwrap_or_default().to_owned();
            if !texts.contains_key(&document) {
                texts.insert(document.clone(), fs::read_to_string(dir.join("docs").join(format!("{document}.txt")))?);
            }
            let at = |name: &str| span[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            let Some(clause) = texts.get(&document).and_then(|text| slice(text, at("start")..at("end"))) else {
                continue;
            };
            for part in sentences(clause) {
                let Some(sentence) = slice(clause, part) else { continue };
                let words = sentence.split_whitespace().count();
                let meaning = sentence.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 3).count();
                let known = samples.iter().any(|s| s.document == document && s.sentence == sentence);
                if (6..=80).contains(&words) && meaning > 3 && !known {
                    let (sentence, clause) = (sentence.to_owned(), clause.to_owned());
                    samples.push(Sample { sentence, clause, document: document.clone() });
                }
            }
        }
    }
    Ok(samples)
}

/// Numbers in words, by a list of its own: what is measured must not share it.
const NUMBER_WORDS: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen \
    fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million";

/// Same meaning, other spelling: `thirty (30)` → `30`, `shall` → `must`, curly quotes, one space, a lead-in.
fn reworded(sentence: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        let digits = word.trim_matches(|c| matches!(c, '(' | ')'));
        if word.starts_with('(')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && word.ends_with(')')
        {
            while words.last().is_some_and(|word| {
                word.split('-').all(|part| NUMBER_WORDS.split_whitespace().any(|word| part.eq_ignore_ascii_case(word)))
            }) {
                words.pop();
            }
            words.push(digits.to_owned());
        } else {
            words.push(match word {
                "shall" => "must".to_owned(),
                "this" => "the".to_owned(),
                _ => word.replace('\'', "\u{2019}"),
            });
        }
    }
    format!("It is agreed that {}", words.join(" "))
}

/// The first number gets another value.
fn changed_number(sentence: &str) -> Option<String> {
    const WORDS: [(&str, &str); 12] = [
        ("one", "four"),
        ("two", "three"),
        ("three", "five"),
        ("four", "six"),
        ("five", "seven"),
        ("six", "nine"),
        ("ten", "twenty"),
        ("twelve", "eighteen"),
        ("fifteen", "forty"),
        ("thirty", "sixty"),
        ("sixty", "ninety"),
        ("ninety", "thirty"),
    ];
    let mut words: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if let Some(at) = word.find(|c: char| c.is_ascii_digit()) {
            let next = match word.as_bytes().get(at) {
                Some(b'9') => "1".to_owned(),
                Some(digit) => char::from(digit + 1).to_string(),
                None => return None,
            };
            word.replace_range(at..=at, &next);
            return Some(words.join(" "));
        }
        if let Some((_, other)) = WORDS.iter().find(|(from, _)| word == from && *from != "one") {
            *word = (*other).to_owned();
            return Some(words.join(" "));
        }
    }
    None
}

const MODALS: [&str; 9] = ["shall", "may", "will", "must", "is", "are", "can", "has", "have"];

fn inserted_negation(sentence: &str) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let at = words.iter().position(|word| MODALS.contains(word))?;
    let denied = words.get(at + 1).is_some_and(|word| matches!(word.to_lowercase().as_str(), "not" | "no" | "never"));
    if denied {
        return None;
    }
    Some([&words[..=at], &["not"], &words[at + 1..]].concat().join(" "))
}

fn dropped_negation(sentence: &str) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let at = words.iter().position(|word| *word == "not")?;
    Some([&words[..at], &words[at + 1..]].concat().join(" "))
}
