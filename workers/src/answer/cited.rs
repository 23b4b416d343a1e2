//! A model's claims against the passages it cites. For each cited passage the quote is the run of sentences that shares
//! most with the claim, as short as supports it; a claim that no quote supports keeps no citation and is flagged.

use std::{collections::HashSet, ops::Range};

use domain::{
    cite::{sentences, words_with_meaning},
    events::{Answer, Citation, Sentence},
    text::slice,
};

use super::{Source, extractive, is_supported, joined};
use crate::llm::Claim;

/// Sentences a quote may have.
const LONGEST_QUOTE: usize = 3;
/// How a model says that the passages hold no answer.
const REFUSAL: &str = "the documents do not answer this";

/// The verified answer of a model; `sources` are numbered from 1 as in its prompt.
pub(crate) fn answer(claims: &[Claim], sources: &[Source], method: &str) -> Answer {
    let refused = claims.iter().all(|claim| claim.text.to_lowercase().starts_with(REFUSAL));
    if refused {
        return extractive::nothing(method);
    }
    let said: Vec<Sentence> = claims.iter().map(|claim| judge(claim, sources)).collect();
    Answer { text: joined(&said), sentences: said, method: method.to_owned() }
}

fn judge(claim: &Claim, sources: &[Source]) -> Sentence {
    let cited: Vec<&Source> = claim.cited.iter().filter_map(|number| sources.get(number.checked_sub(1)?)).collect();
    for length in 1..=LONGEST_QUOTE {
        let citations: Vec<Citation> = cited.iter().filter_map(|source| quote(&claim.text, source, length)).collect();
        if is_supported(&claim.text, &citations, sources) {
            let citations = without_superfluous(&claim.text, citations, sources);
            return Sentence { text: claim.text.clone(), supported: true, citations };
        }
    }
    Sentence { text: claim.text.clone(), supported: false, citations: Vec::new() }
}

/// The run of `length` sentences of a passage that shares most words with `claim`.
fn quote(claim: &str, source: &Source, length: usize) -> Option<Citation> {
    let wanted: HashSet<String> = words_with_meaning(claim).into_iter().collect();
    let passage = source.passage();
    let parts = sentences(passage);
    let mut best: Option<(usize, Range<u32>)> = None;
    for run in parts.windows(length.min(parts.len()).max(1)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let part = first.start..last.end;
        let words: HashSet<String> = words_with_meaning(slice(passage, part.clone())?).into_iter().collect();
        let shared = wanted.intersection(&words).count();
        if shared > 0 && best.as_ref().is_none_or(|(most, _)| shared > *most) {
            best = Some((shared, part));
        }
    }
    source.cite(best?.1)
}

/// Leaves out citations the sentence does not need.
fn without_superfluous(sentence: &str, mut citations: Vec<Citation>, sources: &[Source]) -> Vec<Citation> {
    let mut at = 0;
    while citations.len() > 1 && at < citations.len() {
        let mut fewer = citations.clone();
        let one = fewer.remove(at);
        let alone = is_supported(sentence, std::slice::from_ref(&one), sources);
        if !alone && is_supported(sentence, &fewer, sources) {
            citations = fewer;
        } else {
            at += 1;
        }
    }
    citations
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{
        answer::extractive::{NOTHING, tests::source},
        llm::claims,
    };

    fn sources() -> Vec<Source> {
        vec![
            source("a.txt", "Recitals follow. The term ends on May 5, 2021. Either party may renew it."),
            source("b.txt", "Norway's law governs. Disputes go to the courts of Oslo."),
        ]
    }

    #[test]
    fn supported_claims_are_quoted_and_others_are_flagged() {
        let sources = sources();
        for (said, supported, quotes) in [
            ("The term ends on 5 May 2021 [1].", true, vec!["The term ends on May 5, 2021."]),
            ("The term ends on 6 May 2021 [1].", false, vec![]),
            ("The term ends on 5 May 2021 [2].", false, vec![]),
            ("The term ends on 5 May 2021.", false, vec![]),
            ("The term ends on 5 May 2021 [7][0].", false, vec![]),
            ("The term does not end on May 5, 2021 [1].", false, vec![]),
            (
                "The term ends on May 5, 2021 and either party may renew it [1].",
                true,
                vec!["The term ends on May 5, 2021. Either party may renew it."],
            ),
            ("The term ends on May 5, 2021 [1][2].", true, vec!["The term ends on May 5, 2021."]),
        ] {
            let answer = answer(&claims(said, true), &sources, "m");
            let sentence = &answer.sentences[0];
            let found: Vec<&str> = sentence.citations.iter().map(|citation| citation.quote.as_str()).collect();
            assert_eq!((sentence.supported, found), (supported, quotes), "{said}");
        }
    }

    #[test]
    fn a_refusal_is_no_claim() {
        let answer = answer(&claims("The documents do not answer this.", true), &sources(), "m");
        assert_eq!((answer.text.as_str(), answer.sentences.len(), answer.method.as_str()), (NOTHING, 0, "m"));
        assert_eq!(super::answer(&[], &sources(), "m").text, NOTHING);
    }
}
