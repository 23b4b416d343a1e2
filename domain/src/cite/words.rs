//! A text as the comparison sees it: words by stem, numbers by value, negations and breaks between statements.

use super::numbers::{self, Number};

/// Longest text that is compared, in tokens; what follows is not read. Longer sentences and quotes are no evidence.
const MAX_TOKENS: usize = 4_000;

/// One token of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Lower case, quotes and possessives folded.
    pub(super) text: String,
    /// What is compared.
    pub(super) stem: String,
    /// Begins with a capital letter.
    pub(super) capital: bool,
    /// Begins a sentence.
    pub(super) first: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A word with a meaning of its own.
    Word,
    /// A function word.
    Stop,
    /// `not`, `no`, `without` …
    Negation,
    /// `prohibited`, `fails`: denies without a negation; may stand for one but owes none.
    Denial,
    /// A number, amount or date.
    Number(Number),
    /// The end of a statement.
    Break,
}

/// A piece of text before it is understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Word(String),
    Digits(String),
    Sign(char),
}

const STOP: &str = "a an the of to in on for and or by with from as at is are was were be been being this that these those it \
    its their his her our your such shall will would should may might must can could if then than upon under between each which \
    who whom whose also any all both more most other same so do does did has have had having he she they we you i there here \
    where when while what how into onto over per via within during after before about against through until hereof herein \
    hereby hereunder thereof therein thereby thereunder said provides states says s";
const NEGATIONS: &str = "not no never neither nor none without unless except cannot non nothing nobody nowhere";
const DENIALS: &str = "prohibit prohibits prohibited prohibition forbid forbids forbidden refrain refrains fail fails failed \
    failure refuse refuses refused preclude precludes precluded barred unable lack lacks absence excluding excluded excludes \
    other only solely until";

fn is_one_of(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry == word)
}

/// Splits `text` into words, digit groups and the signs that matter.
fn lex(text: &str) -> Vec<(Raw, bool)> {
    let chars: Vec<char> = text.chars().map(fold_sign).collect();
    let mut raws = Vec::new();
    let mut at = 0;
    let mut glued = false;
    while let Some(&c) = chars.get(at) {
        let start = at;
        let raw = if c.is_ascii_digit() {
            at += run(&chars[at..], |c, next| {
                c.is_ascii_digit() || (matches!(c, ',' | '.') && next.is_some_and(|n| n.is_ascii_digit()))
            });
            Some(Raw::Digits(chars[start..at].iter().collect()))
        } else if c.is_alphabetic() {
            at +=
                run(&chars[at..], |c, next| c.is_alphabetic() || (c == '\'' && next.is_some_and(char::is_alphabetic)));
            Some(Raw::Word(chars[start..at].iter().collect()))
        } else {
            at += 1;
            (!c.is_whitespace()).then_some(Raw::Sign(c))
        };
        match raw {
            Some(raw) => {
                raws.push((raw, glued));
                glued = true;
            }
            None => glued = false,
        }
        if raws.len() > 4 * MAX_TOKENS {
            break;
        }
    }
    raws
}

fn fold_sign(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{2032}' => '\'',
        '\u{201C}' | '\u{201D}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{A0}' => ' ',
        other => other,
    }
}

/// How many of the first characters satisfy `part`, which also sees the next one.
fn run(chars: &[char], part: impl Fn(char, Option<char>) -> bool) -> usize {
    let mut length = 0;
    while let Some(&c) = chars.get(length) {
        if !part(c, chars.get(length + 1).copied()) {
            break;
        }
        length += 1;
    }
    length
}

/// Reads one text.
pub(super) fn read(text: &str) -> Vec<Token> {
    let raws = lex(text);
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    let mut first = true;
    while at < raws.len() && tokens.len() < MAX_TOKENS {
        if let Some((number, taken)) = numbers::read(&raws[at..], first) {
            let repeats = matches!(tokens.last(), Some(Token { kind: Kind::Number(last), .. }) if last.repeats(&number))
                && at > 0
                && raws[at - 1].0 == Raw::Sign('(');
            if repeats {
                // "thirty (30)" is one number; the unit stands after the second writing of it.
                if let Some(Token { kind: Kind::Number(last), .. }) = tokens.last_mut() {
                    last.take_unit(number);
                }
            } else {
                let stem = number.name();
                tokens.push(Token {
                    kind: Kind::Number(number),
                    text: stem.clone(),
                    stem,
                    capital: false,
                    first: false,
                });
            }
            at += taken;
            first = false;
            continue;
        }
        match &raws[at].0 {
            Raw::Word(word) => {
                tokens.push(of_word(word, first));
                first = false;
            }
            Raw::Sign('.' | '?' | '!') if ends_sentence(&raws, at) => {
                tokens.push(end());
                first = true;
            }
            Raw::Sign(';' | ':') => tokens.push(end()),
            Raw::Digits(_) | Raw::Sign(_) => {}
        }
        at += 1;
    }
    tokens
}

/// Reads several texts as one, with breaks between that no context crosses.
pub(super) fn read_all(texts: &[&str]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for text in texts {
        tokens.extend(read(text));
        tokens.extend(std::iter::repeat_with(end).take(super::compare::REACH));
    }
    tokens
}

fn end() -> Token {
    Token { kind: Kind::Break, text: String::new(), stem: String::new(), capital: false, first: false }
}

/// A full stop ends a sentence when a capital or nothing follows and no abbreviation stands before it.
fn ends_sentence(raws: &[(Raw, bool)], at: usize) -> bool {
    let after = raws.get(at + 1);
    if after.is_some_and(|(_, glued)| *glued) {
        return false;
    }
    let before = at.checked_sub(1).and_then(|before| raws.get(before));
    let short = matches!(before, Some((Raw::Word(word), _)) if word.chars().count() == 1 || super::sentences::is_abbreviation(word));
    let capital = match after {
        Some((Raw::Word(word), _)) => word.chars().next().is_some_and(char::is_uppercase),
        Some((Raw::Digits(_) | Raw::Sign(_), _)) | None => true,
    };
    capital && !short
}

fn of_word(word: &str, first: bool) -> Token {
    let mut text = word.to_lowercase();
    let capital = word.chars().next().is_some_and(char::is_uppercase);
    let contracted = text.ends_with("n't");
    if let Some(bare) = text.strip_suffix("'s") {
        text.truncate(bare.len());
    }
    let kind = if contracted || is_one_of(NEGATIONS, &text) {
        Kind::Negation
    } else if is_one_of(DENIALS, &text) {
        Kind::Denial
    } else if is_one_of(STOP, &text) || text.chars().count() < 2 {
        Kind::Stop
    } else {
        Kind::Word
    };
    let stem = stem(&text);
    Token { kind, text, stem, capital, first }
}

/// Cuts the common English endings, so that `terminated` meets `termination`; words of duty are one.
fn stem(word: &str) -> String {
    match word {
        "must" | "will" => return "shall".to_owned(),
        "this" | "that" => return "the".to_owned(),
        _ => {}
    }
    if word.chars().count() > 5 {
        for ending in ["ations", "ation", "ments", "ment", "ings", "ing", "ies", "ed", "es", "ly", "s", "y", "e"] {
            if let Some(bare) = word.strip_suffix(ending) {
                return bare.to_owned();
            }
        }
    } else if word.chars().count() > 3 {
        return word.strip_suffix('s').filter(|bare| !bare.ends_with('s')).unwrap_or(word).to_owned();
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<String> {
        let name = |token: &Token| match &token.kind {
            Kind::Number(number) => number.name(),
            Kind::Break => "|".to_owned(),
            Kind::Negation => format!("!{}", token.text),
            Kind::Denial => format!("?{}", token.text),
            Kind::Stop => format!("-{}", token.text),
            Kind::Word => token.text.clone(),
        };
        read(text).iter().map(name).collect()
    }

    #[test]
    fn texts_are_read() {
        let cases: [(&str, &[&str]); 7] = [
            ("Acme Inc. shall not pay.", &["acme", "inc", "-shall", "!not", "pay", "|"]),
            ("It doesn’t end; Licensor’s right", &["-it", "!doesn't", "end", "|", "licensor", "right"]),
            ("thirty (30) days", &["30", "days"]),
            ("non-exclusive U.S. licence", &["!non", "exclusive", "-u", "-s", "licence"]),
            ("Section 5.2(a). The end", &["section", "5.2", "-a", "|", "-the", "end"]),
            ("", &[]),
            ("… — \u{0}", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn hostile_length_is_bounded() {
        assert!(read(&"9 a. ".repeat(100_000)).len() <= MAX_TOKENS);
    }
}
