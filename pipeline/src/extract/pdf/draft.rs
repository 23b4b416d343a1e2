//! The text of one page before it is canonical: words with boxes and the gaps between them, and a judgement of its worth.

use crate::compose::Composer;

/// Share of characters that may be unreadable before a page fails the gate.
const BAD_SHARE: usize = 10;

/// A visible page: its box in user space and how it is turned for display.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f32,
    pub(super) bottom: f32,
    pub(super) right: f32,
    pub(super) top: f32,
    /// Degrees clockwise: 0, 90, 180 or 270.
    pub(super) rotation: i32,
}

impl Frame {
    /// Width and height as displayed, in points.
    pub(super) fn size(&self) -> (f32, f32) {
        let (width, height) = (self.right - self.left, self.top - self.bottom);
        if self.rotation % 180 == 0 { (width, height) } else { (height, width) }
    }

    /// A box in user space (left, bottom, right, top; y upwards) as displayed: left, top, right, bottom from the top left.
    pub(super) fn displayed(&self, left: f32, bottom: f32, right: f32, top: f32) -> [f32; 4] {
        match self.rotation {
            90 => [bottom - self.bottom, left - self.left, top - self.bottom, right - self.left],
            180 => [self.right - right, bottom - self.bottom, self.right - left, top - self.bottom],
            270 => [self.top - top, self.right - right, self.top - bottom, self.right - left],
            _ => [left - self.left, self.top - top, right - self.left, self.top - bottom],
        }
    }
}

/// A word with its box, or what stands between words.
#[derive(Debug)]
enum Piece {
    Word(String, Option<[f32; 4]>),
    Gap(char),
}

/// A page's text as an engine gave it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
    seen: usize,
    bad: usize,
}

impl Draft {
    pub(super) fn push_word(&mut self, word: String, bbox: Option<[f32; 4]>) {
        if word.is_empty() {
            return;
        }
        self.seen = self.seen.saturating_add(word.chars().count());
        self.bad = self.bad.saturating_add(word.chars().filter(|scalar| is_bad(*scalar)).count());
        self.pieces.push(Piece::Word(word, bbox));
    }

    pub(super) fn push_gap(&mut self, gap: char) {
        self.pieces.push(Piece::Gap(gap));
    }

    /// True when there is text and nearly all of it is readable.
    pub(super) fn is_readable(&self) -> bool {
        self.seen > 0 && self.bad.saturating_mul(BAD_SHARE) <= self.seen
    }

    /// Characters a person can read, to compare two drafts by.
    pub(super) fn worth(&self) -> usize {
        self.seen.saturating_sub(self.bad.saturating_mul(2))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    pub(super) fn write(self, composer: &mut Composer) {
        for piece in self.pieces {
            match piece {
                Piece::Word(word, Some(bbox)) => composer.push_word(&word, bbox),
                Piece::Word(word, None) => composer.push(&word),
                Piece::Gap('\n') => composer.end_line(),
                Piece::Gap(_) if composer.at_line_start() => {}
                Piece::Gap(_) => composer.push(" "),
            }
        }
    }
}

/// Replacement, private use and control characters: glyphs that nobody mapped to letters.
fn is_bad(scalar: char) -> bool {
    matches!(scalar, '\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}') || scalar.is_control()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_gate_refuses_empty_and_unmapped_pages() {
        let draft = |word: &str| {
            let mut draft = Draft::default();
            draft.push_word(word.to_owned(), None);
            draft
        };
        assert!(draft("agreement").is_readable());
        assert!(draft("ten letters \u{f0b7}").is_readable());
        assert!(!draft("\u{e001}\u{e002}ab").is_readable());
        assert!(!draft("").is_readable());
        assert!(draft("agreement").worth() > draft("\u{fffd}greemen\u{fffd}").worth());
    }

    #[test]
    fn boxes_turn_with_the_page() {
        let frame = |rotation| Frame { left: 10.0, bottom: 20.0, right: 110.0, top: 220.0, rotation };
        // A small box in the lower left corner of user space.
        let shown = |rotation| frame(rotation).displayed(10.0, 20.0, 15.0, 30.0);
        assert_eq!(shown(0), [0.0, 190.0, 5.0, 200.0]);
        assert_eq!(shown(90), [0.0, 0.0, 10.0, 5.0]);
        assert_eq!(shown(180), [95.0, 0.0, 100.0, 10.0]);
        assert_eq!(shown(270), [190.0, 95.0, 200.0, 100.0]);
        assert_eq!(frame(90).size(), (200.0, 100.0));
    }
}
