//! Plain text, tables of separated values, Markdown: the text as it stands. Markdown keeps its headings.

use crate::{compose::Composer, decode, format::Format};

pub(super) fn read(bytes: &[u8], format: Format, composer: &mut Composer) {
    let text = decode::text(bytes, None);
    if format != Format::Markdown {
        composer.push(&text);
        return;
    }
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let start = composer.begin_span();
        composer.push(line);
        if !in_code && let Some(level) = heading_level(line) {
            composer.end_heading(level, start);
        }
        composer.push("\n");
    }
}

/// One to six `#` and a space (`CommonMark` 0.31 section 4.2).
fn heading_level(line: &str) -> Option<u8> {
    let marks = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = line.get(marks..)?;
    (matches!(marks, 1..=6) && rest.starts_with(' ')).then(|| u8::try_from(marks).unwrap_or(6))
}
