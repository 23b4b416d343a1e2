//! A load file as a stream of characters, whatever its encoding.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, WINDOWS_1252};

use crate::decode;

/// Bytes read at once, and looked at to find the encoding.
const PIECE: usize = 64 << 10;

/// The characters of an input, one after another, with the number of the line they are in.
pub(super) struct Characters<'a> {
    input: &'a mut dyn Read,
    decoder: Decoder,
    encoding: &'static Encoding,
    /// Bytes read and not decoded.
    bytes: Vec<u8>,
    /// Text decoded, and how much of it has been taken.
    text: String,
    taken: usize,
    ended: bool,
    damaged: bool,
    /// The line of the next character, from 1.
    pub(super) line: u64,
}

impl<'a> Characters<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let ended = fill(input, &mut bytes)?;
        let encoding = encoding_of(&bytes, ended);
        let decoder = encoding.new_decoder_with_bom_removal();
        let mut characters =
            Self { input, decoder, encoding, bytes, text: String::new(), taken: 0, ended, damaged: false, line: 1 };
        characters.decode();
        Ok(characters)
    }

    /// The name of the encoding.
    pub(super) fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    /// True once something could not be decoded.
    pub(super) fn damaged(&self) -> bool {
        self.damaged
    }

    /// What is known of the text before anything was taken.
    pub(super) fn beginning(&self) -> &str {
        &self.text
    }

    /// The next character, which stays.
    pub(super) fn peek(&mut self) -> io::Result<Option<char>> {
        while self.rest().is_empty() {
            if self.ended {
                return Ok(None);
            }
            self.ended = fill(self.input, &mut self.bytes)?;
            self.decode();
        }
        Ok(self.rest().chars().next())
    }

    /// The next character. A line ends as `\n`, `\r\n` or `\r`, which all come as `\n`.
    pub(super) fn next(&mut self) -> io::Result<Option<char>> {
        let Some(mut next) = self.peek()? else { return Ok(None) };
        self.taken = self.taken.saturating_add(next.len_utf8());
        if next == '\r' {
            if self.peek()? == Some('\n') {
                self.taken = self.taken.saturating_add(1);
            }
            next = '\n';
        }
        if next == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Ok(Some(next))
    }

    fn rest(&self) -> &str {
        self.text.get(self.taken..).unwrap_or_default()
    }

    fn decode(&mut self) {
        self.text.clear();
        self.taken = 0;
        self.text.reserve(self.decoder.max_utf8_buffer_length(self.bytes.len()).unwrap_or(PIECE.saturating_mul(3)));
        let (result, _, damaged) = self.decoder.decode_to_string(&self.bytes, &mut self.text, self.ended);
        debug_assert_eq!(result, CoderResult::InputEmpty, "there was room for all");
        self.damaged |= damaged;
        self.bytes.clear();
    }
}

/// Reads the next piece; true at the end of the input.
fn fill(input: &mut dyn Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let most = PIECE as u64;
    let read = input.take(most).read_to_end(bytes)?;
    Ok((read as u64) < most)
}

/// Concordance's quotes say `þ`, which is one byte in the code pages of its time and no UTF-8.
fn encoding_of(sample: &[u8], whole: bool) -> &'static Encoding {
    if let Some(known) = decode::shown(sample) {
        return known;
    }
    match std::str::from_utf8(sample) {
        Ok(_) => UTF_8,
        Err(error) if error.error_len().is_none() && !whole => UTF_8,
        _ if sample.contains(&0x14) && sample.contains(&0xFE) => WINDOWS_1252,
        _ => decode::guess(sample),
    }
}
