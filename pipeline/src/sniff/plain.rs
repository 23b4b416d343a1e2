//! Which kind of text: mailbox, message, web page, XML, table, or prose; or no text at all.

use super::find;
use crate::{decode, format::Format};

/// How much of the text is looked at.
const SAMPLE: usize = 16 << 10;

pub(super) fn identify(head: &[u8], extension: &str) -> Format {
    let sample = head.get(..SAMPLE).unwrap_or(head);
    if !decode::looks_like_text(sample) {
        return Format::Unknown;
    }
    let text = decode::text(sample, None);
    let start = text.trim_start();
    for (first, format) in [("begin:vcalendar", Format::Ics), ("begin:vcard", Format::Vcf)] {
        if start.get(..first.len()).is_some_and(|head| head.eq_ignore_ascii_case(first)) {
            return format;
        }
    }
    if let Some(rest) = start.strip_prefix("From ") {
        let headers = rest.split_once('\n').map(|(_, headers)| headers).unwrap_or_default();
        if message_headers(headers) >= 1 {
            return Format::Mbox;
        }
    }
    // A part of a message that was taken out of one.
    let is_part = ["content-type: multipart/", "mime-version: 1.0"]
        .iter()
        .any(|first| start.get(..first.len()).is_some_and(|head| head.eq_ignore_ascii_case(first)));
    if is_part && message_headers(start) >= 1 {
        return Format::Eml;
    }
    if message_headers(start) >= 2 || (message_headers(start) >= 1 && Format::Eml.extensions().contains(&extension)) {
        return Format::Eml;
    }
    // A piece of RTF without its header, as some converters write.
    if start.starts_with("{\\pard") {
        return Format::Rtf;
    }
    // DXF: a number and a word, line by line, and a section first.
    if start.split_whitespace().take(2).eq(["0", "SECTION"]) {
        return Format::Cad;
    }
    if is_html(start) {
        return Format::Html;
    }
    if start.starts_with("<?xml") {
        return flat_open_document(start).unwrap_or(Format::Xml);
    }
    match extension {
        // A fragment of RTF without its header, as some converters write.
        "rtf" if start.starts_with("{\\") => Format::Rtf,
        "md" | "markdown" => Format::Markdown,
        "csv" | "tsv" => Format::Csv,
        "html" | "htm" | "xhtml" if start.contains('<') => Format::Html,
        "xml" if start.starts_with('<') => Format::Xml,
        "txt" | "text" | "log" => Format::Text,
        _ if is_table(start) => Format::Csv,
        _ => Format::Text,
    }
}

/// Header fields that only messages have, counted in the block at the start of `text`; zero when the block is not made
/// of header lines (RFC 5322 section 2.2).
fn message_headers(text: &str) -> usize {
    const KNOWN: [&str; 14] = [
        "from",
        "to",
        "cc",
        "subject",
        "date",
        "message-id",
        "received",
        "return-path",
        "mime-version",
        "delivered-to",
        "reply-to",
        "content-type",
        "x-mailer",
        "envelope-to",
    ];
    let mut known = 0_usize;
    for line in text.lines().take(60) {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t', '>']) {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { return 0 };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return 0;
        }
        if KNOWN.contains(&name.to_ascii_lowercase().as_str()) {
            known = known.saturating_add(1);
        }
    }
    known
}

/// An `OpenDocument` in one XML file says what it is in its root element.
fn flat_open_document(start: &str) -> Option<Format> {
    let (_, after) = start.split_once("<office:document ")?;
    let (_, kind) = after.split_once('>')?.0.split_once("application/vnd.oasis.opendocument.")?;
    [("text", Format::Odt), ("presentation", Format::Odp), ("spreadsheet", Format::Ods), ("graphics", Format::Odg)]
        .into_iter()
        .find(|(name, _)| kind.starts_with(name))
        .map(|(_, format)| format)
}

fn is_html(start: &str) -> bool {
    let sample: String = start.chars().take(2048).collect::<String>().to_ascii_lowercase();
    let opens = [
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<meta ",
        "<title",
        "<table",
        "<div",
        "<p>",
        "<h1",
        "<h2",
        "<h3",
        "<!-- saved from",
    ];
    opens.iter().any(|tag| sample.starts_with(tag))
        || (sample.starts_with('<') && find(sample.as_bytes(), b"<html").is_some())
}

/// True when the first lines all have the same number (at least one) of one separator.
fn is_table(start: &str) -> bool {
    let lines: Vec<&str> = start.lines().filter(|line| !line.trim().is_empty()).take(8).collect();
    if lines.len() < 3 {
        return false;
    }
    [',', ';', '\t'].into_iter().any(|separator| {
        let mut counts = lines.iter().map(|line| outside_quotes(line).filter(|scalar| *scalar == separator).count());
        let first = counts.next().unwrap_or(0);
        first >= 1 && counts.all(|count| count == first)
    })
}

/// The scalars of a line that no double quotes enclose (RFC 4180 section 2).
fn outside_quotes(line: &str) -> impl Iterator<Item = char> {
    line.chars()
        .scan(false, |quoted, scalar| {
            *quoted ^= scalar == '"';
            Some((*quoted, scalar))
        })
        .filter(|(quoted, _)| !quoted)
        .map(|(_, scalar)| scalar)
}
