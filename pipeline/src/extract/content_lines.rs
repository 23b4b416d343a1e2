//! The lines that calendars and business cards are made of: a name, parameters, a value; long ones folded (RFC 5545 section
//! 3.1, RFC 6350 section 3.2), in old files quoted-printable (vCard 2.1, vCalendar 1.0).

use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use crate::decode;

/// One line, unfolded and decoded; the value still has its escapes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Upper case, without a group before it.
    pub(super) name: String,
    /// Name (upper case) and value of each parameter.
    parameters: Vec<(String, String)>,
    pub(super) value: String,
}

impl Line {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value as text.
    pub(super) fn text(&self) -> String {
        unescape(&self.value)
    }

    /// The parts of a structured value that are there, joined.
    pub(super) fn parts(&self) -> String {
        let mut parts = vec![String::new()];
        let mut escaped = false;
        for scalar in self.value.chars() {
            if scalar == ';' && !escaped {
                parts.push(String::new());
            } else if let Some(part) = parts.last_mut() {
                part.push(scalar);
            }
            escaped = scalar == '\\' && !escaped;
        }
        let parts: Vec<String> =
            parts.iter().map(|part| unescape(part)).filter(|part| !part.trim().is_empty()).collect();
        parts.join(", ")
    }
}

/// The lines of a file. What has no name is left out.
pub(super) fn lines(bytes: &[u8]) -> Vec<Line> {
    let text = decode::text(bytes, None);
    let mut unfolded: Vec<String> = Vec::new();
    for line in text.lines() {
        let soft_break = unfolded.last().is_some_and(|last| last.ends_with('=') && is_quoted_printable(last));
        match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (_, Some(last)) if soft_break => {
                last.pop();
                last.push_str(line.trim_start_matches(['\t']));
            }
            (Some(rest), Some(last)) => last.push_str(rest),
            _ => unfolded.push(line.to_owned()),
        }
    }
    unfolded.iter().filter_map(|line| parse(line)).collect()
}

fn is_quoted_printable(line: &str) -> bool {
    line.split(':').next().is_some_and(|head| head.to_ascii_uppercase().contains("QUOTED-PRINTABLE"))
}

fn parse(line: &str) -> Option<Line> {
    let mut quoted = false;
    let colon = line.char_indices().find(|(_, scalar)| {
        quoted ^= *scalar == '"';
        *scalar == ':' && !quoted
    })?;
    let (head, value) = (line.get(..colon.0)?, line.get(colon.0..)?.strip_prefix(':')?);
    let mut words = head.split(';');
    let name = words.next()?.rsplit('.').next()?.trim().to_ascii_uppercase();
    let parameters: Vec<(String, String)> = words
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_ascii_uppercase(), value.trim_matches('"').to_owned()),
            // vCard 2.1 leaves out "ENCODING=" and "TYPE=".
            None if word.eq_ignore_ascii_case("QUOTED-PRINTABLE") => ("ENCODING".to_owned(), word.to_owned()),
            None => ("TYPE".to_owned(), word.to_owned()),
        })
        .collect();
    let mut line = Line { name, parameters, value: value.to_owned() };
    if line.parameter("ENCODING").is_some_and(|encoding| encoding.eq_ignore_ascii_case("QUOTED-PRINTABLE"))
        && let Some(bytes) = quoted_printable_decode(value.as_bytes())
    {
        line.value = decode::text(&bytes, line.parameter("CHARSET")).into_owned();
    }
    (!line.name.is_empty()).then_some(line)
}

fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut scalars = value.chars();
    while let Some(scalar) = scalars.next() {
        match scalar {
            '\\' => match scalars.next() {
                Some('n' | 'N') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_quoted_and_escaped() {
        let file = "item1.Tel;TYPE=\"a:b\";WORK:+1 2\r\n 3\r\nNOTE;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:Gr=FC=\r\n=DFe\r\nno name\r\nN:Le\\;e;Ann;;\n";
        let found = lines(file.as_bytes());
        assert_eq!(found.len(), 3);
        assert_eq!(
            (found[0].name.as_str(), found[0].value.as_str(), found[0].parameter("TYPE")),
            ("TEL", "+1 23", Some("a:b"))
        );
        assert_eq!(found[1].text(), "Gr\u{fc}\u{df}e");
        assert_eq!(found[2].parts(), "Le;e, Ann");
    }
}
