//! Headers of downloads: which bytes are asked for (RFC 9110 §14), and a file name that no browser can misread (RFC 6266).

use std::{fmt::Write as _, ops::Range};

use axum::http::{HeaderMap, header};

/// A range that lies outside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotSatisfiable;

/// The bytes asked for; `None` for all of them. Several ranges, and what is no range of bytes, are answered with
/// everything, as RFC 9110 §14.2 lets a server do; so is a range of another version (`If-Range`).
pub(crate) fn range(headers: &HeaderMap, size: u64, etag: &str) -> Result<Option<Range<u64>>, NotSatisfiable> {
    if headers.get(header::IF_RANGE).is_some_and(|version| version != etag) {
        return Ok(None);
    }
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some((first, last)) = asked.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    let range = match (first, last) {
        ("", "") => return Ok(None),
        ("", suffix) => number(suffix).map(|suffix| size.saturating_sub(suffix)..size),
        (first, "") => number(first).map(|first| first..size),
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(first..last.saturating_add(1).min(size)),
            _ => None,
        },
    };
    match range {
        Some(range) if range.start >= range.end => Err(NotSatisfiable),
        range => Ok(range),
    }
}

/// `attachment` under `name`: in UTF-8 for those who read `filename*`, in careful ASCII for the rest. Separators and
/// control characters could lead a browser astray and become `_`; a name of dots only too.
pub(crate) fn attachment(name: &str) -> String {
    let careful = |c: char| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c };
    let mut name: String = name.chars().map(careful).take(255).collect();
    if name.trim_matches(['.', ' ']).is_empty() {
        "file".clone_into(&mut name);
    }
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '%' | ';') || c == ' ' { c } else { '_' })
        .collect();
    let mut extended = String::new();
    for byte in name.bytes() {
        // attr-char of RFC 8187 §3.2.1
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            extended.push(char::from(byte));
        } else {
            let _ = write!(extended, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{extended}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let all = Ok(None);
        for (asked, size, want) in [
            ("bytes=0-0", 10, Ok(Some(0..1))),
            ("bytes=2-5", 10, Ok(Some(2..6))),
            ("bytes=2-", 10, Ok(Some(2..10))),
            ("bytes=-3", 10, Ok(Some(7..10))),
            ("bytes=-30", 10, Ok(Some(0..10))),
            ("bytes=5-99999999999999999999999", 10, Ok(Some(5..10))),
            ("bytes=10-", 10, Err(NotSatisfiable)),
            ("bytes=99999999999999999999999-", 10, Err(NotSatisfiable)),
            ("bytes=-0", 10, Err(NotSatisfiable)),
            ("bytes=0-", 0, Err(NotSatisfiable)),
            ("bytes=5-2", 10, all.clone()),
            ("bytes=0-1,3-4", 10, all.clone()),
            ("bytes=-", 10, all.clone()),
            ("bytes=a-b", 10, all.clone()),
            ("lines=0-1", 10, all.clone()),
            ("", 10, all),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, asked.parse().unwrap());
            assert_eq!(range(&headers, size, "\"v\""), want, "{asked}");
            headers.insert(header::IF_RANGE, "\"other\"".parse().unwrap());
            assert_eq!(range(&headers, size, "\"v\""), Ok(None), "{asked}");
        }
    }

    #[test]
    fn names_stay_names() {
        for (name, ascii, extended) in [
            ("a b.txt", "a b.txt", "a%20b.txt"),
            ("na\u{ef}ve \u{2603}.pdf", "na_ve _.pdf", "na%C3%AFve%20%E2%98%83.pdf"),
            ("../../etc/passwd", ".._.._etc_passwd", ".._.._etc_passwd"),
            (
                "a\"; filename=evil.exe\r\nX: y",
                "a__ filename=evil.exe__X: y",
                "a%22%3B%20filename%3Devil.exe__X%3A%20y",
            ),
            ("..", "file", "file"),
            ("", "file", "file"),
        ] {
            let want = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{extended}");
            assert_eq!(attachment(name), want);
        }
    }
}
