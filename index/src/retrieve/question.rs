//! A question as words: which carry meaning, and which only name the document it is about.

use std::collections::HashSet;

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
}

/// A question, read.
pub(super) struct Question {
    pub(super) words: Vec<Asked>,
}

impl Question {
    /// Splits `text` into words and marks those without meaning.
    pub(super) fn read(text: &str) -> Self {
        let stop: HashSet<&str> = STOP_WORDS.split_whitespace().collect();
        let plain = words(text).into_iter().map(|word| word.text);
        let stemmed = stems(text).into_iter().map(|word| word.text);
        let words = plain
            .zip(stemmed)
            .take(MAX_WORDS)
            .map(|(word, stem)| Asked { stem, stop: stop.contains(word.as_str()), weight: 1.0 })
            .collect();
        Self { words }
    }

    /// The distinct words with meaning; all words when none has one.
    pub(super) fn meaning(&self) -> Vec<&Asked> {
        let mut seen = HashSet::new();
        let mut kept: Vec<&Asked> = self.words.iter().filter(|word| !word.stop && seen.insert(&word.stem)).collect();
        if kept.is_empty() {
            kept = self.words.iter().filter(|word| seen.insert(&word.stem)).collect();
        }
        kept
    }

    /// The words with meaning outside the part that names the document; `named` are the stems its header has.
    pub(super) fn residual(&self, named: &HashSet<String>) -> Vec<&Asked> {
        let Some(window) = self.naming(named) else { return self.meaning() };
        let mut seen = HashSet::new();
        let outside = self.words.iter().enumerate().filter(|(at, _)| !window.contains(at)).map(|(_, word)| word);
        let kept: Vec<&Asked> = outside.filter(|word| !word.stop && seen.insert(&word.stem)).collect();
        if kept.is_empty() { self.meaning() } else { kept }
    }

    /// The run of words best covered by the header: the window with the greatest sum (Kadane's algorithm).
    fn naming(&self, named: &HashSet<String>) -> Option<std::ops::Range<usize>> {
        let (mut best, mut window) = (0.0, 0..0);
        let (mut sum, mut start) = (0.0, 0);
        for (at, word) in self.words.iter().enumerate() {
            if sum <= 0.0 {
                (sum, start) = (0.0, at);
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
