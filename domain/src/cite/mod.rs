//! May this sentence stand with these citations? A quote must be verbatim at its offsets and lie inside a retrieved
//! passage; every number, date, amount and name of the sentence must occur in its quotes, where the same words surround
//! it; what the sentence denies the quotes must deny, and the other way round. The check is lexical: it cannot prove a
//! sentence true, it refuses those that are visibly not what was quoted. `examples/citecheck.rs` measures it.

mod compare;
mod numbers;
mod sentences;
mod words;

use std::ops::Range;

use crate::{events::Citation, ids::DocumentId, text::slice};

pub use sentences::sentences;

/// Why a sentence is shown as unsupported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It cites nothing.
    #[error("it cites nothing")]
    Uncited,
    /// A quote is not what stands at its offsets.
    #[error("a quote is not verbatim at its offsets")]
    NotVerbatim,
    /// A quote lies outside everything that was retrieved.
    #[error("a quote lies outside the retrieved passages")]
    NotRetrieved,
    /// A number, date or amount is not in the quotes, or stands for something else there.
    #[error("a number, date or amount is not in its quotes")]
    Number,
    /// A name is not in the quotes, or plays another part there.
    #[error("a name is not in its quotes")]
    Name,
    /// A negation appeared or vanished.
    #[error("a negation appeared or vanished")]
    Negation,
    /// Too few of its words are in the quotes.
    #[error("too few of its words are in its quotes")]
    Words,
}

/// A passage that was retrieved: what may be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieved {
    /// The document.
    pub document: DocumentId,
    /// Scalars of its canonical text.
    pub span: Range<u32>,
}

/// Checks one citation: verbatim in `text`, the canonical text of its document, and inside one of `retrieved`.
pub fn locate(citation: &Citation, text: &str, retrieved: &[Retrieved]) -> Result<(), Unsupported> {
    let (start, end) = (citation.start, citation.end);
    if start >= end || slice(text, start..end) != Some(citation.quote.as_str()) {
        return Err(Unsupported::NotVerbatim);
    }
    let inside = |passage: &Retrieved| {
        passage.document == citation.document && passage.span.start <= start && end <= passage.span.end
    };
    if retrieved.iter().any(inside) { Ok(()) } else { Err(Unsupported::NotRetrieved) }
}

/// Checks that `quotes` together support `sentence`.
pub fn support(sentence: &str, quotes: &[&str]) -> Result<(), Unsupported> {
    if quotes.is_empty() {
        return Err(Unsupported::Uncited);
    }
    compare::compare(&words::read(sentence), &words::read_all(quotes))
}

/// The words of `text` that have a meaning of their own, and its numbers, in the form in which they are compared here.
pub fn words_with_meaning(text: &str) -> Vec<String> {
    let means = |token: &words::Token| matches!(token.kind, words::Kind::Word | words::Kind::Number(_));
    words::read(text).into_iter().filter(means).map(|token| token.stem).collect()
}

/// Checks a sentence with its citations: [`locate`] for each, then [`support`] by all. `text_of` gives a document's
/// canonical text, `None` for one that may not be read.
pub fn verify<'a>(
    sentence: &str,
    citations: &[Citation],
    text_of: impl Fn(DocumentId) -> Option<&'a str>,
    retrieved: &[Retrieved],
) -> Result<(), Unsupported> {
    for citation in citations {
        let text = text_of(citation.document).ok_or(Unsupported::NotVerbatim)?;
        locate(citation, text, retrieved)?;
    }
    let quotes: Vec<&str> = citations.iter().map(|citation| citation.quote.as_str()).collect();
    support(sentence, &quotes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DatabaseId;

    const QUOTE: &str = "Either party may terminate this Agreement upon thirty (30) days prior written notice to Acme Corp. \
        The Licensee shall pay the Licensor a fee of $1,500,000 no later than May 5, 2021, and shall not assign its rights \
        without the prior written consent of the Licensor.";

    #[test]
    fn what_the_quote_says_is_supported() {
        for sentence in [
            QUOTE,
            "Either party may terminate the agreement on 30 days' prior written notice.",
            "Either party may terminate this Agreement upon thirty days prior written notice.",
            "The Licensee shall pay a fee of USD 1.5 million by 5 May 2021.",
            "The Licensee shall pay the Licensor a fee of 1500000 dollars no later than 2021-05-05.",
            "The licensee shall not assign its rights without the licensor’s prior written consent.",
            "The Licensee can't assign its rights without consent of the Licensor.",
        ] {
            assert_eq!(support(sentence, &[QUOTE]), Ok(()), "{sentence}");
        }
    }

    #[test]
    fn what_the_quote_does_not_say_is_not() {
        for (sentence, why) in [
            (
                "Either party may terminate this Agreement upon sixty (60) days prior written notice.",
                Unsupported::Number,
            ),
            (
                "Either party may terminate this Agreement upon thirty (30) months prior written notice.",
                Unsupported::Number,
            ),
            ("The Licensee shall pay the Licensor a fee of $30 no later than May 5, 2021.", Unsupported::Number),
            ("The Licensee shall pay the Licensor a fee of $1,500,000 no later than May 6, 2021.", Unsupported::Number),
            (
                "Either party may terminate this Agreement upon thirty (30) days notice to Globex Corp.",
                Unsupported::Name,
            ),
            ("The Licensor shall pay the Licensee a fee of $1,500,000 no later than May 5, 2021.", Unsupported::Name),
            (
                "Either party may not terminate this Agreement upon thirty (30) days prior written notice.",
                Unsupported::Negation,
            ),
            (
                "The Licensee shall assign its rights without the prior written consent of the Licensor.",
                Unsupported::Negation,
            ),
            ("Governing law disputes resolved exclusively in courts.", Unsupported::Words),
            ("", Unsupported::Words),
            ("Yes.", Unsupported::Words),
        ] {
            let found = support(sentence, &[QUOTE]);
            assert!(found.is_err(), "{sentence}");
            if why != Unsupported::Words {
                assert_eq!(found, Err(why), "{sentence}");
            }
        }
        assert_eq!(support("Anything.", &[]), Err(Unsupported::Uncited));
    }

    #[test]
    fn an_opposite_by_prefix_is_a_negation() {
        let quote = "The licence granted is exclusive and transferable.";
        assert_eq!(
            support("The licence granted is non-exclusive and transferable.", &[quote]),
            Err(Unsupported::Negation)
        );
        assert_eq!(
            support("The licence granted is exclusive and nontransferable.", &[quote]),
            Err(Unsupported::Negation)
        );
        let quote = "This obligation is unenforceable against the seller.";
        assert_eq!(support("This obligation is enforceable against the seller.", &[quote]), Err(Unsupported::Negation));
    }

    #[test]
    fn a_quote_is_verbatim_and_retrieved_or_nothing() {
        let document = DocumentId::new();
        let text = "Ää. The term ends on 5 May 2021. Law follows.";
        let citation = |start, end, quote: &str| Citation {
            document,
            database: DatabaseId::new(),
            name: "a.txt".into(),
            page: 1,
            start,
            end,
            quote: quote.into(),
        };
        let retrieved = [Retrieved { document, span: 4..32 }];
        let check =
            |c: Citation| verify("The term ends on 5 May 2021.", &[c], |d| (d == document).then_some(text), &retrieved);
        assert_eq!(check(citation(4, 32, "The term ends on 5 May 2021.")), Ok(()));
        assert_eq!(check(citation(4, 32, "The term ends on 6 May 2021.")), Err(Unsupported::NotVerbatim));
        assert_eq!(check(citation(3, 32, " The term ends on 5 May 2021.")), Err(Unsupported::NotRetrieved));
        assert_eq!(check(citation(4, 4, "")), Err(Unsupported::NotVerbatim));
        assert_eq!(check(citation(4, 400, "x")), Err(Unsupported::NotVerbatim));
        let foreign = Citation { document: DocumentId::new(), ..citation(4, 32, "The term ends on 5 May 2021.") };
        assert_eq!(check(foreign), Err(Unsupported::NotVerbatim));
    }
}
