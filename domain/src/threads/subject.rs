//! The subject of a conversation, without what answering and forwarding put around it (RFC 5256 section 2.1).

/// A subject line taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What the conversation is about, lower case; empty when nothing is left.
    pub base: String,
    /// True when something said that it is an answer or forwarded.
    pub is_answer: bool,
}

/// Marks of answers and forwards. RFC 5256 has the first three; the others are what Outlook writes in German, Dutch and
/// the Scandinavian languages.
const MARKS: [&str; 8] = ["re", "fwd", "fw", "aw", "wg", "sv", "vs", "antw"];

/// The base subject: marks of answers and forwards, and lists' names in brackets before them, are taken away; runs of white
/// space are one blank.
pub fn base_subject(line: &str) -> Subject {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut rest = line.as_str();
    let mut is_answer = false;
    loop {
        let before = rest;
        while let Some(shorter) = rest.strip_suffix("(fwd)") {
            (rest, is_answer) = (shorter.trim_end(), true);
        }
        loop {
            if let Some(after) = without_mark(rest) {
                (rest, is_answer) = (after, true);
            } else if let Some(after) = without_blob(rest).filter(|after| !after.is_empty()) {
                rest = after;
            } else {
                break;
            }
        }
        if let Some(inner) = rest.strip_prefix("[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            (rest, is_answer) = (inner.trim(), true);
        }
        if rest == before {
            break;
        }
    }
    Subject { base: rest.to_owned(), is_answer }
}

/// What follows `[list] re [2]:`.
fn without_mark(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    while let Some(after) = without_blob(rest) {
        rest = after;
    }
    let rest = MARKS.iter().find_map(|mark| {
        let after = rest.strip_prefix(mark)?.trim_start();
        without_blob(after).unwrap_or(after).strip_prefix(':')
    })?;
    Some(rest.trim_start())
}

/// What follows `[words]`.
fn without_blob(line: &str) -> Option<&str> {
    let (inside, after) = line.strip_prefix('[')?.split_once(']')?;
    (!inside.contains('[') && !inside.starts_with("fwd:")).then(|| after.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_around_is_taken_away() {
        let cases = [
            ("The lease", "the lease", false),
            ("Re: The  lease", "the lease", true),
            ("RE: Fwd: AW: The lease (fwd)", "the lease", true),
            ("[legal] Re[2]: The lease", "the lease", true),
            ("Re: [legal] The lease", "the lease", true),
            ("[legal] The lease", "the lease", false),
            ("[Fwd: The lease]", "the lease", true),
            ("[Fwd: Re: [x] The lease (fwd)]", "the lease", true),
            ("[legal]", "[legal]", false),
            ("Report: the lease", "report: the lease", false),
            ("Regarding", "regarding", false),
            ("Re:", "", true),
            ("", "", false),
            ("[[[ ]:", "[[[ ]:", false),
        ];
        for (line, base, is_answer) in cases {
            assert_eq!(base_subject(line), Subject { base: base.to_owned(), is_answer }, "{line}");
        }
    }
}
