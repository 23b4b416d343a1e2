//! Passages for the index: cut at headings and sentence ends, about as long as asked, with exact offsets.

use domain::text::{Chunk, Text};

/// Cuts `text` into passages of about `target` scalars (800 is usual), at most twice that. Together they cover every
/// non-blank scalar once, in order. A heading begins a new passage unless the one before is still very short; else the
/// cut falls after a paragraph, a sentence, a line, or a word, whichever comes first in that order near the target. A
/// word is never split, unless it alone is longer than twice the target.
pub fn chunks(text: &Text, target: usize) -> Vec<Chunk> {
    let target = target.max(1);
    let scalars: Vec<char> = text.text.chars().collect();
    let mut headings = text.headings.iter().map(|heading| heading.start as usize).peekable();
    let mut chunks = Vec::new();
    let mut start = skip_blank(&scalars, 0);
    while start < scalars.len() {
        while headings.next_if(|heading| *heading <= start.saturating_add(target / 4)).is_some() {}
        let hard_end = start.saturating_add(target.saturating_mul(2)).min(scalars.len());
        let end = match headings.peek() {
            Some(heading) if *heading <= start.saturating_add(target.saturating_mul(3) / 2) => *heading,
            _ if scalars.len().saturating_sub(start) <= target.saturating_mul(5) / 4 => scalars.len(),
            _ => cut(&scalars, start, start.saturating_add(target), hard_end),
        };
        let end = trim_blank(&scalars, start, end);
        chunks.push(passage(text, &scalars, start, end, chunks.len()));
        start = skip_blank(&scalars, end);
    }
    chunks
}

fn passage(text: &Text, scalars: &[char], start: usize, end: usize, ordinal: usize) -> Chunk {
    let scalar = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let (first_page, last_page) = text.pages_of(scalar(start)..scalar(end));
    Chunk {
        ordinal: scalar(ordinal),
        start: scalar(start),
        end: scalar(end),
        first_page,
        last_page,
        text: scalars.get(start..end).unwrap_or_default().iter().collect(),
    }
}

fn skip_blank(scalars: &[char], from: usize) -> usize {
    let rest = scalars.get(from..).unwrap_or_default();
    from.saturating_add(rest.iter().take_while(|scalar| scalar.is_whitespace()).count())
}

fn trim_blank(scalars: &[char], start: usize, end: usize) -> usize {
    let passage = scalars.get(start..end).unwrap_or_default();
    end.saturating_sub(passage.iter().rev().take_while(|scalar| scalar.is_whitespace()).count())
}

/// Where the passage from `start` ends: the best break in the half before `wanted`, else the first gap after it, else
/// `hard_end`.
fn cut(scalars: &[char], start: usize, wanted: usize, hard_end: usize) -> usize {
    let earliest = start.saturating_add((wanted.saturating_sub(start) / 2).max(1));
    let mut best = (0_u8, hard_end);
    for at in (earliest..=wanted).rev() {
        let worth = break_worth(scalars, at);
        if worth > best.0 {
            best = (worth, at);
        }
    }
    if best.0 > 0 {
        return best.1;
    }
    // One long unbroken run around the target: end it where it ends, or begin where it began.
    let after = (wanted..hard_end).find(|at| break_worth(scalars, *at) > 0);
    let before = || (start.saturating_add(1)..earliest).rev().find(|at| break_worth(scalars, *at) > 0);
    after.or_else(before).unwrap_or(hard_end)
}

/// How good it is to end a passage before the scalar at `at`: 0 inside a word, 4 at a paragraph's end.
fn break_worth(scalars: &[char], at: usize) -> u8 {
    let back = |steps: usize| at.checked_sub(steps).and_then(|at| scalars.get(at)).copied().unwrap_or('\n');
    let next = scalars.get(at).copied().unwrap_or('\n');
    let (last, last_but_one) = (back(1), back(2));
    if !last.is_whitespace() {
        // Languages without spaces end sentences with these.
        return if matches!(last, '。' | '！' | '？') { 3 } else { u8::from(next.is_whitespace()) };
    }
    if last == '\n' && last_but_one == '\n' {
        return 4;
    }
    let ends_sentence = matches!(last_but_one, '.' | '!' | '?' | ';')
        || (matches!(last_but_one, '"' | '”' | ')' | '’') && matches!(back(3), '.' | '!' | '?'));
    if ends_sentence && !next.is_lowercase() {
        return 3;
    }
    if last == '\n' { 2 } else { 1 }
}
