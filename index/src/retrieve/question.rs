//! A question as words: which carry meaning, and which only name the document it is about.

use std::{collections::HashSet, ops::Range};

use crate::words::{stems, words};

/// Words longer questions are cut to.
const MAX_WORDS: usize = 256;
/// What a window gains per word that the header has, and loses per word that it has not.
const GAIN: f32 = 1.0;
const LOSS: f32 = 0.5;
/// A window must gain this much before it counts as naming the document.
const MIN_NAMING: f32 = 2.0;

/// Words that carry no meaning of their own: function words and the words questions are made of.
const STOP_WORDS: &str = "a about above after again against all also am an and any are as at be because been before being \
    below between both but by can cannot could did do does doing don down during each either else ever every few for from \
    further get gets give given had has have having he her here hers him his how however i if in into is it its itself just \
    let may me might more most must my no nor not of off on once one only or other our ours out over own please same shall \
    she should so some such t s than that the their theirs them then there these they this those through to too under until \
    up upon us very was we were what when where whether which while who whom whose why will with within without would you \
    your yours consider tell show find list describe explain identify specify specified mention mentioned indicate \
    document documents contract contracts agreement agreements question regarding concerning many much there";

/// One word of a question.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The stemmed word.
    pub(super) stem: String,
    /// A function word or question word.
    pub(super) stop: bool,
    /// How much it counts, 1 for a word of the question.
    pub(super) weight: f32,
    /// Which part of the question it is in; parts end at `;`, `:`, `?`, `!`, a full stop or a line's end.
    pub(super) part: usize,
}

/// A question, read.
pub(super) struct Question {
    pub(super) words: Vec<Asked>,
}

impl Question {
    /// Splits `text` into words and marks those without meaning.
    pub(super) fn read(text: &str) -> Self {
        let stop: HashSet<&str> = STOP_WORDS.split_whitespace().collect();
        let (mut part, mut end) = (0, 0);
        let mut read = Vec::new();
        for (plain, stemmed) in words(text).into_iter().zip(stems(text)).take(MAX_WORDS) {
            part += usize::from(ends_part(text.get(end..plain.start).unwrap_or_default()));
            end = plain.end;
            read.push(Asked { stem: stemmed.text, stop: stop.contains(plain.text.as_str()), weight: 1.0, part });
        }
        Self { words: read }
    }

    /// The distinct words with meaning; all words when none has one.
    pub(super) fn meaning(&self) -> Vec<Asked> {
        let kept = distinct(self.words.iter().filter(|word| !word.stop));
        if kept.is_empty() { distinct(self.words.iter()) } else { kept }
    }

    /// The words with meaning that do not name the document; `named` are the stems of the question that its header has.
    /// When the part of the question that names it consists mostly of such stems, the whole part goes: what the header
    /// lacks of a name is still a name.
    pub(super) fn residual(&self, named: &HashSet<String>) -> Vec<Asked> {
        let Some(naming) = self.naming(named) else { return self.meaning() };
        let part = self.words[naming.start].part;
        let beside = if self.is_mostly(named, part) { self.asked(|_, word| word.part != part) } else { Vec::new() };
        if !beside.is_empty() {
            return beside;
        }
        let outside = self.asked(|at, _| !naming.contains(&at));
        if outside.is_empty() { self.meaning() } else { outside }
    }

    /// The distinct words with meaning that `wanted` picks by their place.
    fn asked(&self, wanted: impl Fn(usize, &Asked) -> bool) -> Vec<Asked> {
        let picked = self.words.iter().enumerate().filter(|(at, word)| wanted(*at, word)).map(|(_, word)| word);
        distinct(picked.filter(|word| !word.stop))
    }

    /// True when at least half of the words with meaning of a part are in `named`.
    fn is_mostly(&self, named: &HashSet<String>, part: usize) -> bool {
        let words = || self.words.iter().filter(|word| word.part == part && !word.stop);
        2 * words().filter(|word| named.contains(&word.stem)).count() >= words().count()
    }

    /// The run of words of one part best covered by the header: the window with the greatest sum (Kadane's algorithm).
    fn naming(&self, named: &HashSet<String>) -> Option<Range<usize>> {
        let (mut best, mut window) = (0.0, 0..0);
        let (mut sum, mut start, mut part) = (0.0, 0, 0);
        for (at, word) in self.words.iter().enumerate() {
            if sum <= 0.0 || word.part != part {
                (sum, start, part) = (0.0, at, word.part);
            }
            sum += match (word.stop, named.contains(&word.stem)) {
                (true, _) => 0.0,
                (false, true) => GAIN,
                (false, false) => -LOSS,
            };
            if sum > best {
                (best, window) = (sum, start..at + 1);
            }
        }
        (best >= MIN_NAMING).then_some(window)
    }
}

/// Each stem once, in order.
fn distinct<'a>(words: impl Iterator<Item = &'a Asked>) -> Vec<Asked> {
    let mut seen = HashSet::new();
    words.filter(|word| seen.insert(word.stem.as_str())).cloned().collect()
}

/// True when what stands between two words ends a part of the question.
fn ends_part(between: &str) -> bool {
    between.contains([';', ':', '?', '!', '\n']) || between.contains(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems_of(words: Vec<Asked>) -> Vec<String> {
        words.into_iter().map(|word| word.stem).collect()
    }

    #[test]
    fn the_part_that_names_the_document_is_dropped() {
        let header = "Supply Agreement between Vericel Corporation and MediWound Ltd";
        let named: HashSet<String> = stems(header).into_iter().map(|word| word.text).collect();
        let cases: [(&str, &[&str]); 6] = [
            ("Consider the Supply Agreement between Vericel and MediWound (Amended); who may assign it?", &["assign"]),
            ("In the supply agreement with MediWound: what happens late?", &["happen", "late"]),
            ("Who may assign the supply agreement with MediWound?", &["assign"]),
            ("The contract is between Vericel and MediWound. Is there a cap?", &["cap"]),
            ("What is the cap on supply?", &["cap", "suppli"]),
            ("Vericel MediWound supply", &["vericel", "mediwound", "suppli"]),
        ];
        for (question, expected) in cases {
            assert_eq!(stems_of(Question::read(question).residual(&named)), expected, "{question}");
        }
    }
}
