//! RTF that carries something else: HTML or plain text wrapped so that Outlook can keep every body as RTF, and how to get
//! it back out (MS-OXRTFEX). RTF that is only RTF comes out as its text.

use std::collections::BTreeMap;

use encoding_rs::{Encoding, WINDOWS_1252};

use crate::extract::rtf::charset::encoding_of_font;

/// What was inside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unwrapped {
    Html(String),
    Plain(String),
}

/// Unwraps an RTF body; at most `max` bytes come out.
pub(crate) fn unwrap(rtf: &[u8], max: usize) -> Unwrapped {
    let mut reader = Reader {
        max,
        output: String::new(),
        pending: Vec::new(),
        pending_encoding: None,
        html: false,
        encoding: WINDOWS_1252,
        fonts: BTreeMap::new(),
        defining: 0,
        state: State { skipped: false, is_tag: false, hidden: false, in_fonts: false, unicode_skip: 1, font: None },
        stack: Vec::new(),
        starred: false,
        to_skip: 0,
        high: None,
    };
    reader.read(rtf);
    reader.flush();
    if reader.html { Unwrapped::Html(reader.output) } else { Unwrapped::Plain(reader.output) }
}

/// What a group inherits and forgets at its end.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "control words that are on or off, each on its own")]
struct State {
    /// Inside a destination whose text is not the document's.
    skipped: bool,
    /// Inside `\*\htmltag`: the text is HTML as it stood.
    is_tag: bool,
    /// Between `\htmlrtf` and `\htmlrtf0`: the text is there for RTF readers only.
    hidden: bool,
    in_fonts: bool,
    /// How many characters stand in for each `\u`.
    unicode_skip: usize,
    font: Option<i32>,
}

struct Reader {
    max: usize,
    output: String,
    /// Bytes of a character set, decoded together because a character may take two.
    pending: Vec<u8>,
    pending_encoding: Option<&'static Encoding>,
    html: bool,
    encoding: &'static Encoding,
    fonts: BTreeMap<i32, &'static Encoding>,
    /// The font whose entry in the font table is being read.
    defining: i32,
    state: State,
    stack: Vec<State>,
    /// `\*` was just read.
    starred: bool,
    to_skip: usize,
    /// First half of a character beyond the basic plane.
    high: Option<u16>,
}

/// Groups deeper than this are read as if they were not nested.
const DEEPEST: usize = 10_000;

impl Reader {
    fn read(&mut self, rtf: &[u8]) {
        let mut rest = rtf;
        while let Some((first, tail)) = rest.split_first() {
            if self.output.len() >= self.max {
                return;
            }
            rest = tail;
            match first {
                b'{' => {
                    if self.stack.len() < DEEPEST {
                        self.stack.push(self.state);
                    }
                    self.to_skip = 0;
                }
                b'}' => {
                    if let Some(state) = self.stack.pop() {
                        self.state = state;
                    }
                    (self.to_skip, self.starred) = (0, false);
                }
                b'\\' => rest = self.control(tail),
                b'\r' | b'\n' => {}
                byte => self.byte(*byte),
            }
        }
    }

    /// A control word or symbol; gives what follows it.
    fn control<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some((first, tail)) = rest.split_first() else { return rest };
        match first {
            b'\'' => {
                let byte = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
                if let Some(byte) = byte {
                    self.byte(byte);
                }
                return tail.get(2..).unwrap_or_default();
            }
            b'*' => self.starred = true,
            b'\\' | b'{' | b'}' => self.byte(*first),
            b'~' => self.scalar('\u{a0}'),
            b'_' => self.scalar('-'),
            b'\r' | b'\n' => self.word("par", None),
            b'a'..=b'z' | b'A'..=b'Z' => return self.control_word(rest),
            _ => {}
        }
        tail
    }

    fn control_word<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count().min(64);
        let (name, mut rest) = rest.split_at(letters);
        let minus = usize::from(rest.first() == Some(&b'-'));
        let digits = rest.iter().skip(minus).take_while(|byte| byte.is_ascii_digit()).count();
        let mut number = None;
        if digits > 0 {
            let (written, tail) = rest.split_at(minus.saturating_add(digits));
            number = Some(std::str::from_utf8(written).ok().and_then(|written| written.parse().ok()).unwrap_or(0));
            rest = tail;
        }
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        if name == b"bin" {
            // So many bytes of a picture follow, whatever they look like.
            let length = number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
            return rest.get(length..).unwrap_or_default();
        }
        self.word(std::str::from_utf8(name).unwrap_or_default(), number);
        rest
    }

    fn word(&mut self, name: &str, number: Option<i32>) {
        let starred = std::mem::take(&mut self.starred);
        match name {
            "fromhtml" => self.html = number != Some(0),
            "ansicpg" => {
                let page = number.and_then(|page| u16::try_from(page).ok());
                self.encoding = page.and_then(codepage::to_encoding).unwrap_or(self.encoding);
            }
            "htmltag" => self.state = State { is_tag: true, skipped: false, ..self.state },
            "htmlrtf" => self.state.hidden = number != Some(0),
            "fonttbl" => self.state = State { in_fonts: true, skipped: true, ..self.state },
            "colortbl" | "stylesheet" | "info" | "pict" | "object" | "header" | "footer" | "headerl" | "headerr"
            | "footerl" | "footerr" | "fldinst" | "listtext" | "pntext"
                if !self.state.is_tag =>
            {
                self.state.skipped = true;
            }
            "f" => {
                self.defining = number.unwrap_or_default();
                self.state.font = number;
            }
            "fcharset" if self.state.in_fonts => {
                if let Some(encoding) = number.and_then(encoding_of_font) {
                    self.fonts.insert(self.defining, encoding);
                }
            }
            "plain" => self.state.font = None,
            "uc" => self.state.unicode_skip = usize::try_from(number.unwrap_or(1)).unwrap_or(1).min(16),
            "u" => self.unicode(number.unwrap_or_default()),
            "par" | "line" | "row" | "sect" | "page" => self.scalar('\n'),
            "tab" | "cell" => self.scalar('\t'),
            "lquote" => self.scalar('\u{2018}'),
            "rquote" => self.scalar('\u{2019}'),
            "ldblquote" => self.scalar('\u{201c}'),
            "rdblquote" => self.scalar('\u{201d}'),
            "bullet" => self.scalar('\u{2022}'),
            "endash" => self.scalar('\u{2013}'),
            "emdash" => self.scalar('\u{2014}'),
            "emspace" | "enspace" => self.scalar(' '),
            _ => self.state.skipped |= starred,
        }
    }

    fn unicode(&mut self, number: i32) {
        // Numbers above 32,767 are written as negative ones (RTF 1.9.1, \uN).
        let unit = u16::try_from(number.rem_euclid(0x1_0000)).unwrap_or_default();
        self.to_skip = 0;
        let high = self.high.take();
        match (high, unit) {
            (_, 0xd800..=0xdbff) => self.high = Some(unit),
            (Some(high), 0xdc00..=0xdfff) => {
                self.scalar(char::decode_utf16([high, unit]).next().and_then(Result::ok).unwrap_or('\u{fffd}'));
            }
            _ => self.scalar(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
        }
        self.to_skip = self.state.unicode_skip;
    }

    fn shown(&self) -> bool {
        !self.state.skipped && !self.state.hidden
    }

    fn byte(&mut self, byte: u8) {
        if self.to_skip > 0 {
            self.to_skip = self.to_skip.saturating_sub(1);
            return;
        }
        if !self.shown() {
            return;
        }
        let font = self.state.font.and_then(|font| self.fonts.get(&font).copied());
        let encoding = font.unwrap_or(self.encoding);
        if self.pending_encoding.is_some_and(|pending| pending != encoding) {
            self.flush();
        }
        self.pending_encoding = Some(encoding);
        self.pending.push(byte);
    }

    fn scalar(&mut self, scalar: char) {
        if self.to_skip > 0 {
            self.to_skip = self.to_skip.saturating_sub(1);
            return;
        }
        if self.shown() {
            self.flush();
            self.output.push(scalar);
        }
    }

    fn flush(&mut self) {
        if let Some(encoding) = self.pending_encoding.take() {
            self.output.push_str(&encoding.decode_without_bom_handling(&self.pending).0);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn html_comes_back_as_it_was() {
        let rtf = br"{\rtf1\ansi\ansicpg1251\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}{\f1\fmodern\fcharset204 Courier;}}
{\*\generator Microsoft Exchange;}{\*\htmltag64 <p class=\'22x\'22>}\htmlrtf \par hidden\htmlrtf0 caf\'e9 {\*\htmltag84 &amp;} \{so\}\tab
{\*\mhtmltag84 <never>}\u9731 ?\f1\'c4\'e0{\*\htmltag72 </p>}{\*\htmltag0 \par }}";
        let expected = "<p class=\"x\">cafй &amp; {so}\t\u{2603}Да</p>\n";
        assert_eq!(unwrap(rtf, 1000), Unwrapped::Html(expected.to_owned()));
    }

    #[test]
    fn text_without_its_wrapping() {
        let rtf = br"{\rtf1\ansi\ansicpg932\fromtext{\fonttbl{\f0 x;}}{\colortbl\red0;}\uc1 Gr\u252?\u223?e\par \'93\'fa\'96\'7b {\*\unknown no}\ldblquote a\rdblquote\par}";
        assert_eq!(unwrap(rtf, 1000), Unwrapped::Plain("Grüße\n日本 \u{201c}a\u{201d}\n".to_owned()));
    }

    #[test]
    fn hostile_nesting_and_numbers() {
        let deep = [b"{\\rtf1".as_slice(), &b"{".repeat(50_000), b"x", &b"}".repeat(50_000)].concat();
        assert_eq!(unwrap(&deep, 1000), Unwrapped::Plain("x".to_owned()));
        for rtf in [r"{\rtf1\u99999999999999 \uc-1\u-1?\'zz\bin99999 x\", "}}}}", "{\\rtf1 \\'e", "\\"] {
            let _ = unwrap(rtf.as_bytes(), 1000);
        }
        let Unwrapped::Plain(text) = unwrap(format!("{{\\rtf1 {}", "\\par ".repeat(5000)).as_bytes(), 100) else {
            panic!()
        };
        assert!(text.len() <= 101);
    }
}
