//! Messages of a mailbox (RFC 4155 and the older habits): each begins with a line `From ` after an empty one. Three habits
//! protect lines of the text that look the same: a `>` put before them (mboxo), one more `>` (mboxrd), or a Content-Length in
//! the header (mboxcl, mboxcl2). What stands before the first such line belongs to no message.

use std::borrow::Cow;

use domain::outcome::Exception;

use super::Outlet;
use crate::{extract::eml, reader::MemberHead};

/// Subjects of all messages, for the mailbox's own text.
pub(super) fn names(bytes: &[u8]) -> Vec<String> {
    let subjects = Messages::new(bytes).map(|message| eml::subject(&message));
    subjects.map(|subject| subject.unwrap_or_else(|| "(no subject)".to_owned())).collect()
}

pub(super) fn members(bytes: &[u8], outlet: &mut Outlet<'_>) -> Result<(), Exception> {
    for message in Messages::new(bytes) {
        let path = format!("message-{:06}.eml", outlet.done.members.saturating_add(1));
        outlet.member(MemberHead { ordinal: 0, path, modified: None, inline: false }, &mut message.as_ref())?;
    }
    Ok(())
}

/// The messages of a mailbox, without their `From ` lines.
struct Messages<'a> {
    /// From the first byte of the next message; empty at the end.
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let first = (0..bytes.len()).find(|at| {
            let starts_line = at.checked_sub(1).is_none_or(|before| bytes.get(before) == Some(&b'\n'));
            starts_line && bytes.get(*at..).is_some_and(begins)
        });
        Self { rest: first.and_then(|at| bytes.get(at..)).map(after_line).unwrap_or_default() }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(end) = declared_end(self.rest) {
            let (message, rest) = self.rest.split_at_checked(end)?;
            self.rest = after_line(skip_blank_lines(rest));
            return Some(Cow::Borrowed(message));
        }
        let mut at = 0_usize;
        let mut after_blank = false;
        let mut quoted = false;
        let mut next: &[u8] = &[];
        while let Some(line) = self.rest.get(at..).filter(|line| !line.is_empty()) {
            if line.starts_with(b"From ") && begins(line) && (after_blank || is_dated(line)) {
                next = after_line(line);
                break;
            }
            quoted |= is_quoted(line);
            let length = line.len().saturating_sub(after_line(line).len());
            after_blank = matches!(line.get(..length), Some(b"\n" | b"\r\n"));
            at = at.saturating_add(length);
        }
        let message = self.rest.get(..at).unwrap_or_default();
        self.rest = next;
        Some(if quoted { Cow::Owned(unquote(message)) } else { Cow::Borrowed(message) })
    }
}

/// True when `bytes` are a `From ` line and the first line of a header; between them there may be a quoted `From ` line.
fn begins(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"From ") {
        return false;
    }
    let mut header = after_line(bytes);
    if header.starts_with(b">From ") {
        header = after_line(header);
    }
    let name = header.iter().take_while(|byte| byte.is_ascii_graphic() && **byte != b':').count();
    name > 0 && header.get(name) == Some(&b':')
}

/// True when the line ends with a time of day and a year, as programs write it (`Mon Jan  1 00:00:00 2024`).
fn is_dated(line: &[u8]) -> bool {
    let line = line.get(..line.len().saturating_sub(after_line(line).len())).unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    let year = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    text.split_whitespace().any(|word| word.matches(':').count() == 2) && text.split_whitespace().any(year)
}

/// Where the message ends by its Content-Length, when another begins there or the mailbox ends.
fn declared_end(message: &[u8]) -> Option<usize> {
    let mut rest = message;
    let mut length = None;
    loop {
        let line = rest.get(..rest.len().checked_sub(after_line(rest).len())?)?;
        if line.is_empty() || line == b"\n" || line == b"\r\n" {
            break;
        }
        if line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:")) {
            length = std::str::from_utf8(line.get(15..)?).ok()?.trim().parse::<usize>().ok();
        }
        rest = after_line(rest);
    }
    let body = message.len().saturating_sub(after_line(rest).len());
    let end = body.checked_add(length?)?;
    let behind = skip_blank_lines(message.get(end..)?);
    (behind.is_empty() || begins(behind)).then_some(end)
}

fn skip_blank_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\n").or_else(|| bytes.strip_prefix(b"\r\n")) {
        bytes = rest;
    }
    bytes
}

fn after_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.and_then(|end| bytes.get(end..)).and_then(|rest| rest.strip_prefix(b"\n")).unwrap_or_default()
}

fn is_quoted(line: &[u8]) -> bool {
    let marks = line.iter().take_while(|byte| **byte == b'>').count();
    marks > 0 && line.get(marks..).is_some_and(|rest| rest.starts_with(b"From "))
}

/// The message with one `>` taken from every quoted line.
fn unquote(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| if is_quoted(line) { line.get(1..).unwrap_or_default() } else { line }).copied().collect()
}
