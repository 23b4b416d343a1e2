//! A sentence against its quotes, token by token. A number or name counts as found only where the same words surround it:
//! when another number of the quotes stands in those surroundings, the sentence has put this one in its place. A word
//! counts as denied when a negation stands shortly before it, and must be denied where the quotes say the same.

use std::collections::{HashMap, HashSet};

use super::{
    Unsupported,
    words::{Kind, Token},
};

/// Tokens on each side that make the surroundings of a token.
pub(super) const REACH: usize = 4;
/// Words with meaning that a negation surely denies, and those it may deny besides.
const DENIED: usize = 2;
const MAYBE_DENIED: usize = 6;
/// How much better another number must fit to be the one whose place was taken; and another name.
const NUMBER_MARGIN: usize = 2;
const NAME_MARGIN: usize = 4;
/// How far apart neighbours may stand in the quotes.
const TOGETHER: usize = 6;
/// Surroundings that make two occurrences of a word the same statement.
const SAME_STATEMENT: usize = 3;

/// Runs all comparisons.
pub(super) fn compare(sentence: &[Token], quotes: &[Token]) -> Result<(), Unsupported> {
    let pair = Pair::new(sentence, quotes);
    pair.numbers()?;
    pair.names()?;
    pair.opposites()?;
    pair.negations()?;
    pair.words()
}

struct Pair<'a> {
    sentence: &'a [Token],
    quotes: &'a [Token],
    /// Where each stem stands in the quotes.
    places: HashMap<&'a str, Vec<usize>>,
    texts: HashSet<&'a str>,
}

/// Whether a word is denied where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polarity {
    Plain,
    Denied,
    Either,
}

impl<'a> Pair<'a> {
    fn new(sentence: &'a [Token], quotes: &'a [Token]) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, token) in quotes.iter().enumerate() {
            places.entry(&token.stem).or_default().push(at);
        }
        Self { sentence, quotes, places, texts: quotes.iter().map(|token| token.text.as_str()).collect() }
    }

    fn places(&self, stem: &str) -> &[usize] {
        self.places.get(stem).map_or(&[], Vec::as_slice)
    }

    /// How many of the words around `at` in the sentence are also around `place` in the quotes, side by side.
    fn fit(&self, at: usize, place: usize) -> usize {
        let before = |tokens: &'a [Token], at: usize| surroundings(tokens[..at].iter().rev());
        let after = |tokens: &'a [Token], at: usize| surroundings(tokens[at + 1..].iter());
        shared(&before(self.sentence, at), &before(self.quotes, place))
            + shared(&after(self.sentence, at), &after(self.quotes, place))
    }

    fn numbers(&self) -> Result<(), Unsupported> {
        for (at, token) in self.sentence.iter().enumerate() {
            let Kind::Number(number) = &token.kind else { continue };
            let (mut same, mut other) = (None, None);
            for (place, quoted) in self.quotes.iter().enumerate() {
                let Kind::Number(found) = &quoted.kind else { continue };
                let best = if number.agrees(found) { &mut same } else { &mut other };
                *best = (*best).max(Some(self.fit(at, place)));
            }
            let same = same.ok_or(Unsupported::Number)?;
            if other.is_some_and(|other| other >= same + NUMBER_MARGIN) {
                return Err(Unsupported::Number);
            }
        }
        Ok(())
    }

    /// Capitalised words, the first of a sentence excepted unless another follows it.
    fn names(&self) -> Result<(), Unsupported> {
        for (at, token) in self.sentence.iter().enumerate() {
            if !is_name(token) {
                continue;
            }
            let followed = self.sentence.get(at + 1).is_some_and(is_name);
            let found = self.places(&token.stem);
            if found.is_empty() {
                if token.first && !followed {
                    continue;
                }
                return Err(Unsupported::Name);
            }
            let same = found.iter().map(|place| self.fit(at, *place)).max().unwrap_or(0);
            let others =
                self.quotes.iter().enumerate().filter(|(_, quoted)| is_name(quoted) && quoted.stem != token.stem);
            let other = others.map(|(place, _)| self.fit(at, place)).max().unwrap_or(0);
            if other >= same + NAME_MARGIN {
                return Err(Unsupported::Name);
            }
        }
        Ok(())
    }

    /// `exclusive` where the quotes say only `nonexclusive`, and the other way round.
    fn opposites(&self) -> Result<(), Unsupported> {
        let stems: HashSet<&str> = self.places.keys().copied().collect();
        for token in
            self.sentence.iter().filter(|token| token.kind == Kind::Word && !stems.contains(token.stem.as_str()))
        {
            for prefix in ["un", "in", "im", "non", "ir", "dis"] {
                let positive = token.text.strip_prefix(prefix).filter(|bare| bare.chars().count() > 3);
                let turned = positive.is_some_and(|bare| self.texts.contains(bare))
                    || (token.text.chars().count() > 3
                        && self.texts.contains(format!("{prefix}{}", token.text).as_str()));
                if turned {
                    return Err(Unsupported::Negation);
                }
            }
        }
        Ok(())
    }

    fn negations(&self) -> Result<(), Unsupported> {
        let denies = |tokens: &[Token], soft: bool| {
            tokens.iter().filter(|t| t.kind == Kind::Negation || (soft && t.kind == Kind::Denial)).count()
        };
        if denies(self.sentence, false) > denies(self.quotes, true) {
            return Err(Unsupported::Negation);
        }
        self.same_gaps()?;
        for (at, token) in self.sentence.iter().enumerate() {
            match token.kind {
                Kind::Word | Kind::Number(_) => self.same_polarity(at, token)?,
                Kind::Negation => self.explained(at)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Where sentence and quotes agree word for word on both sides of a gap, there are as many negations in it.
    fn same_gaps(&self) -> Result<(), Unsupported> {
        let (own, quoted) = (gaps(self.sentence), gaps(self.quotes));
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, gap) in quoted.iter().enumerate() {
            places.entry(gap.stem).or_default().push(at);
        }
        for (at, gap) in own.iter().enumerate() {
            let same = |place: &&usize| side_by_side(&own, at, &quoted, **place);
            let mut aligned = places.get(gap.stem).into_iter().flatten().filter(same).peekable();
            if aligned.peek().is_some() && !aligned.any(|place| quoted[*place].negations == gap.negations) {
                return Err(Unsupported::Negation);
            }
        }
        Ok(())
    }

    /// Where the quotes say the same of this word, they deny it as the sentence does.
    fn same_polarity(&self, at: usize, token: &Token) -> Result<(), Unsupported> {
        let fits: Vec<(usize, usize)> =
            self.places(&token.stem).iter().map(|place| (self.fit(at, *place), *place)).collect();
        let best = fits.iter().map(|(fit, _)| *fit).max().unwrap_or(0);
        if best < SAME_STATEMENT {
            return Ok(());
        }
        let own = polarity(self.sentence, at);
        let agrees = |place: usize| {
            let quoted = polarity(self.quotes, place);
            own == quoted || own == Polarity::Either || quoted == Polarity::Either
        };
        if fits.iter().any(|(fit, place)| *fit == best && agrees(*place)) { Ok(()) } else { Err(Unsupported::Negation) }
    }

    /// A negation of the sentence denies something that the quotes deny too.
    fn explained(&self, at: usize) -> Result<(), Unsupported> {
        let denied = following(statement(&self.sentence[at + 1..]), REACH);
        if denied.is_empty() {
            return Ok(());
        }
        let explains = |(place, quoted): (usize, &Token)| {
            matches!(quoted.kind, Kind::Negation | Kind::Denial)
                && shared(&denied, &following(statement(&self.quotes[place + 1..]), 2 * REACH)) > 0
        };
        if self.quotes.iter().enumerate().any(explains) { Ok(()) } else { Err(Unsupported::Negation) }
    }

    /// At least three of five words with meaning occur in the quotes.
    fn words(&self) -> Result<(), Unsupported> {
        let means = |token: &&Token| matches!(token.kind, Kind::Word | Kind::Number(_));
        let wanted: HashSet<&str> = self.sentence.iter().filter(means).map(|token| token.stem.as_str()).collect();
        let found = wanted.iter().filter(|stem| self.places.contains_key(*stem)).count();
        let enough = !wanted.is_empty() && 5 * found >= 3 * wanted.len();
        if enough && self.are_together() { Ok(()) } else { Err(Unsupported::Words) }
    }

    /// At least a quarter of the neighbours among the words with meaning are neighbours in the quotes too: a clause on
    /// other things may share the words, not their company.
    fn are_together(&self) -> bool {
        let words: Vec<&str> = following(self.sentence, usize::MAX);
        let near = |pair: &&[&str]| {
            let (left, right) = (self.places(pair[0]), self.places(pair[1]));
            left.iter().any(|a| right.iter().any(|b| a != b && a.abs_diff(*b) <= TOGETHER))
        };
        let pairs = words.len().saturating_sub(1);
        4 * words.windows(2).filter(near).count() >= pairs
    }
}

/// A token that is no negation, and how many of those stand between it and the one before.
struct Gap<'a> {
    stem: &'a str,
    /// Negations before it; `shall not not` is not `shall not`.
    negations: usize,
}

fn gaps(tokens: &[Token]) -> Vec<Gap<'_>> {
    let mut gaps = Vec::with_capacity(tokens.len());
    let mut negations = 0;
    for token in tokens {
        match token.kind {
            Kind::Negation => negations += 1,
            Kind::Break => {}
            _ => {
                gaps.push(Gap { stem: &token.stem, negations });
                negations = 0;
            }
        }
    }
    gaps
}

/// True when two tokens before each gap and two after agree; at the ends of the sentence one fewer is enough.
fn side_by_side(own: &[Gap<'_>], at: usize, quoted: &[Gap<'_>], place: usize) -> bool {
    let equal = |a: Option<usize>, b: Option<usize>| {
        let stems = (a.and_then(|a| own.get(a)), b.and_then(|b| quoted.get(b)));
        match stems {
            (None, _) => None,
            (Some(a), b) => Some(b.is_some_and(|b| a.stem == b.stem)),
        }
    };
    let checks = [
        equal(at.checked_sub(2), place.checked_sub(2)),
        equal(at.checked_sub(1), place.checked_sub(1)),
        equal(Some(at), Some(place)),
        equal(Some(at + 1), Some(place + 1)),
    ];
    checks.iter().flatten().count() >= 3 && checks.iter().flatten().all(|same| *same)
}

fn is_name(token: &Token) -> bool {
    token.capital && token.kind == Kind::Word && token.text.chars().count() > 1
}

/// The stems of the nearest tokens, negations passed over: an inserted one must not disturb the comparison.
fn surroundings<'a>(tokens: impl Iterator<Item = &'a Token>) -> Vec<&'a str> {
    let counted = tokens.filter(|token| token.kind != Kind::Negation).take(REACH);
    counted.filter(|token| token.kind != Kind::Break).map(|token| token.stem.as_str()).collect()
}

/// The stems of the next words with meaning.
fn following(tokens: &[Token], most: usize) -> Vec<&str> {
    let meaning = tokens.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Number(_)));
    meaning.take(most).map(|token| token.stem.as_str()).collect()
}

/// The tokens up to the end of the statement.
fn statement(tokens: &[Token]) -> &[Token] {
    let end = tokens.iter().position(|token| token.kind == Kind::Break).unwrap_or(tokens.len());
    &tokens[..end]
}

/// How many of `a` are also in `b`, each used once.
fn shared(a: &[&str], b: &[&str]) -> usize {
    let mut left: Vec<&str> = b.to_vec();
    let mut count = 0;
    for stem in a {
        if let Some(at) = left.iter().position(|other| other == stem) {
            left.swap_remove(at);
            count += 1;
        }
    }
    count
}

fn polarity(tokens: &[Token], at: usize) -> Polarity {
    let mut between = 0;
    let mut soft = false;
    for token in tokens[..at].iter().rev() {
        match token.kind {
            Kind::Negation if between < DENIED => return Polarity::Denied,
            Kind::Negation => return Polarity::Either,
            Kind::Denial => soft = true,
            Kind::Break => break,
            Kind::Word | Kind::Number(_) => between += 1,
            Kind::Stop => {}
        }
        if between >= MAYBE_DENIED {
            break;
        }
    }
    if soft { Polarity::Either } else { Polarity::Plain }
}
