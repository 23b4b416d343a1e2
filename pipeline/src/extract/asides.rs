//! What stands beside a document's text: comments, tracked changes, hidden text, form values, descriptions of pictures. The running text stays what a
//! reader sees, so that it can be quoted; asides follow it, each a line that begins with what it is in brackets:
//! `[Deleted by Jane Roe, 2024-01-31] the words`. How many there are of each kind goes into the metadata.

use std::collections::BTreeMap;

use crate::compose::Composer;

/// Insertions are in the running text already; this many scalars say which they are.
const LONGEST_INSERTION: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Comment,
    Inserted,
    Deleted,
    Hidden,
    Field,
    Formula,
    Picture,
}

impl Kind {
    /// What the line begins with, and the name of the count in the metadata.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Comment => ("Comment", "comments"),
            Self::Inserted => ("Inserted", "insertions"),
            Self::Deleted => ("Deleted", "deletions"),
            Self::Hidden => ("Hidden text", "hidden_passages"),
            Self::Field => ("Field", "form_fields"),
            Self::Formula => ("Formula", "formulas"),
            Self::Picture => ("Picture", "described_pictures"),
        }
    }
}

/// One aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aside {
    pub(super) kind: Kind,
    pub(super) by: Option<String>,
    /// When, as the format writes it; only the date is shown.
    pub(super) at: Option<String>,
    pub(super) text: String,
}

/// The asides of a document, gathered while its text is read.
#[derive(Debug, Default)]
pub(super) struct Asides {
    gathered: Vec<Aside>,
    counts: BTreeMap<Kind, u32>,
}

impl Asides {
    /// Adds an aside; text of one change that comes in pieces is put together again.
    pub(super) fn push(&mut self, aside: Aside) {
        if let Some(last) = self.gathered.last_mut()
            && matches!(aside.kind, Kind::Inserted | Kind::Deleted | Kind::Hidden)
            && (last.kind, &last.by, &last.at) == (aside.kind, &aside.by, &aside.at)
        {
            last.text.push_str(&aside.text);
        } else {
            self.gathered.push(aside);
        }
    }

    /// Adds asides one by one.
    pub(super) fn extend(&mut self, asides: impl IntoIterator<Item = Aside>) {
        asides.into_iter().for_each(|aside| self.push(aside));
    }

    /// Writes what was gathered since the last time, at the end of the current page.
    pub(super) fn write(&mut self, composer: &mut Composer) {
        for aside in self.gathered.drain(..) {
            let text: Vec<&str> = aside.text.split_whitespace().collect();
            let mut text = text.join(" ");
            if text.is_empty() {
                continue;
            }
            if aside.kind == Kind::Inserted && text.chars().count() > LONGEST_INSERTION {
                text = text.chars().take(LONGEST_INSERTION).chain(['…']).collect();
            }
            let count = self.counts.entry(aside.kind).or_default();
            *count = count.saturating_add(1);
            let mut head = aside.kind.names().0.to_owned();
            if let Some(by) = aside.by.as_deref().map(str::trim).filter(|by| !by.is_empty()) {
                head.push_str(" by ");
                head.push_str(by);
            }
            if let Some(date) = aside.at.as_deref().and_then(date) {
                head.push_str(", ");
                head.push_str(date);
            }
            composer.begin_asides();
            composer.push(&format!("[{head}] {text}"));
        }
        composer.end_line();
        let counts = self.counts.iter().map(|(kind, count)| (kind.names().1.to_owned(), count.to_string()));
        composer.metadata.extra.extend(counts);
    }
}

/// The date of a time written as ISO 8601.
fn date(at: &str) -> Option<&str> {
    let date = at.get(..10)?;
    let shape = date.bytes().zip(0..).all(|(byte, place)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    shape.then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn a_line_says_what_who_and_when() {
        let mut asides = Asides::default();
        let aside = |kind, by: &str, at: &str, text: &str| Aside {
            kind,
            by: Some(by.to_owned()),
            at: Some(at.to_owned()),
            text: text.to_owned(),
        };
        asides.push(aside(Kind::Deleted, "Jane Roe", "2024-01-31T10:00:00Z", "not "));
        asides.push(aside(Kind::Deleted, "Jane Roe", "2024-01-31T10:00:00Z", "liable"));
        asides.push(aside(Kind::Comment, "", "yesterday", "why?"));
        asides.push(aside(Kind::Hidden, "", "", " "));
        asides.push(aside(Kind::Inserted, "", "", &"x".repeat(400)));
        let mut composer = Composer::new(&Limits::default());
        composer.push("We are liable.");
        asides.write(&mut composer);
        let text = composer.finish();
        let long = "x".repeat(300);
        assert_eq!(
            text.text,
            format!("We are liable.\n[Deleted by Jane Roe, 2024-01-31] not liable\n[Comment] why?\n[Inserted] {long}…")
        );
        assert_eq!(text.metadata.extra.get("deletions").map(String::as_str), Some("1"));
        assert_eq!(text.metadata.extra.get("hidden_passages"), None);
    }
}
