//! Text line by line, none longer than a record may be.

use super::{LoadFileError, MOST_RECORD, characters::Characters};

/// A line.
pub(super) enum Line {
    /// Its text without its end.
    Text(String),
    /// It was too long, and is gone.
    TooLong,
}

/// The next line and its number; `None` behind the last.
pub(super) fn next(characters: &mut Characters<'_>) -> Result<Option<(u64, Line)>, LoadFileError> {
    let number = characters.line;
    let Some(mut next) = characters.next()? else { return Ok(None) };
    let (mut text, mut too_long) = (String::new(), false);
    while next != '\n' {
        if text.len() < MOST_RECORD {
            text.push(next);
        } else {
            too_long = true;
        }
        match characters.next()? {
            Some(more) => next = more,
            None => break,
        }
    }
    Ok(Some((number, if too_long { Line::TooLong } else { Line::Text(text) })))
}
