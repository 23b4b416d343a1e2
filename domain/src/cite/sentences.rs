//! Where sentences begin and end in the text of a document. Lines that a page broke belong together; blank lines, numbered
//! clauses and list items begin anew; the dots of abbreviations and numbers end nothing.

use std::ops::Range;

/// Abbreviations that a capital letter commonly follows.
const ABBREVIATIONS: [&str; 40] = [
    "inc", "corp", "ltd", "co", "llc", "plc", "no", "nos", "sec", "secs", "art", "arts", "para", "cl", "ex", "exh",
    "fig", "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "hon", "rev", "vs", "v", "cf", "eg", "ie", "et", "al",
    "approx", "dept", "vol", "pp", "ed", "gmbh",
];

/// Longer runs without an end are cut at white space, in scalars.
const LONGEST: usize = 1_200;

/// True for a word whose full stop usually ends no sentence.
pub(super) fn is_abbreviation(word: &str) -> bool {
    ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// The sentences of `text` in order, as spans of scalars without surrounding white space.
pub fn sentences(text: &str) -> Vec<Range<u32>> {
    let chars: Vec<char> = text.chars().collect();
    let mut spans = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '.' | '?' | '!' | ';' if ends(&chars, start, at) => after_closing(&chars, at + 1),
            '\n' if begins_anew(&chars[at + 1..]) => at + 1,
            c if c.is_whitespace() && at - start >= LONGEST => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        push(&chars, start..end, &mut spans);
        start = end;
        at = end;
    }
    push(&chars, start..chars.len(), &mut spans);
    spans
}

fn push(chars: &[char], span: Range<usize>, spans: &mut Vec<Range<u32>>) {
    let part = &chars[span.clone()];
    let Some(lead) = part.iter().position(|c| !c.is_whitespace()) else { return };
    let tail = part.iter().rev().take_while(|c| c.is_whitespace()).count();
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    spans.push(place(span.start + lead)..place(span.end - tail));
}

/// True when the sign at `at` ends a sentence that began at `start`.
fn ends(chars: &[char], start: usize, at: usize) -> bool {
    let next = after_closing(chars, at + 1);
    let mut rest = chars[next..].iter();
    match rest.next() {
        None => return true,
        Some(c) if !c.is_whitespace() => return false,
        Some(_) => {}
    }
    if chars[at] == ';' {
        return at - start > 200;
    }
    if chars[at] != '.' {
        return true;
    }
    let follower = rest.find(|c| !c.is_whitespace());
    if follower.is_some_and(|c| c.is_lowercase()) {
        return false;
    }
    let word: String = chars[start..at].iter().rev().take_while(|c| c.is_alphanumeric()).collect();
    let word: String = word.chars().rev().collect();
    let dotted = chars[..at].len() > word.chars().count() && chars[at - word.chars().count() - 1] == '.';
    let letter = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let numbering =
        chars[start..at].iter().all(|c| c.is_ascii_digit() || matches!(c, '.' | '(' | ')') || c.is_whitespace());
    !(letter
        || numbering
        || is_abbreviation(&word)
        || (dotted && word.chars().count() < 3 && word.chars().any(char::is_alphabetic)))
}

/// Past closing quotes and brackets.
fn after_closing(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| matches!(c, '"' | '\'' | ')' | ']' | '\u{201D}' | '\u{2019}')) {
        at += 1;
    }
    at
}

/// True when what follows a line break begins something new: a blank line, a bullet, or a number or letter of a clause.
fn begins_anew(rest: &[char]) -> bool {
    let line: Vec<char> = rest.iter().copied().take_while(|c| *c != '\n').take(40).collect();
    let bare: Vec<char> = line.into_iter().skip_while(|c| c.is_whitespace()).collect();
    match bare.first() {
        None | Some('•' | '·' | '▪' | '*' | '–') => true,
        Some('(') => bare.iter().take(7).any(|c| *c == ')'),
        Some(c) if c.is_ascii_digit() => {
            let digits = bare.iter().take_while(|c| c.is_ascii_digit() || **c == '.').count();
            digits < 8 && bare[..digits].contains(&'.') && bare.get(digits).is_none_or(|c| c.is_whitespace())
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::slice;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|span| slice(text, span).unwrap_or("?")).collect()
    }

    #[test]
    fn sentences_are_found() {
        let cases: [(&str, &[&str]); 9] = [
            ("One ends. Two ends? Three", &["One ends.", "Two ends?", "Three"]),
            ("Acme Inc. Shall pay U.S. Dollars. Then.", &["Acme Inc. Shall pay U.S. Dollars.", "Then."]),
            ("It is 5.2 percent. 3.1 Term. It ends.", &["It is 5.2 percent.", "3.1 Term.", "It ends."]),
            ("A line that\nwraps on. Next", &["A line that\nwraps on.", "Next"]),
            ("Heading\n\nBody here.\n(a) first\n(b) second", &["Heading", "Body here.", "(a) first", "(b) second"]),
            ("He said \"stop.\" Then left.", &["He said \"stop.\"", "Then left."]),
            ("1. Term. The term is Ä.", &["1. Term.", "The term is Ä."]),
            ("", &[]),
            (" \n\n ", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn spans_are_in_order_and_cover_all_that_is_not_blank() {
        for text in ["a. b. c", "x\n\n\ny; z.", "...", "? ! .", &"word ".repeat(2_000), &"é.É ".repeat(500)] {
            let spans = sentences(text);
            assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{text:.20}");
            let covered: usize = spans
                .iter()
                .map(|s| slice(text, s.clone()).unwrap_or("").split_whitespace().collect::<String>().chars().count())
                .sum();
            assert_eq!(covered, text.chars().filter(|c| !c.is_whitespace()).count(), "{text:.20}");
        }
    }
}
