//! RTF's tokens: groups, control words, control symbols, bytes of text (RTF 1.9.1, "Conventions of an RTF Reader").

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open,
    Close,
    /// A control word and its number.
    Word(&'a str, Option<i32>),
    /// A backslash and one character that is no letter.
    Symbol(u8),
    /// A byte of text, written as it is or as `\'hh`.
    Byte(u8),
}

/// Reads tokens from the front of `bytes`.
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// Takes the bytes at the front for which `wanted` holds.
    fn take_while(&mut self, most: usize, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let count = self.bytes.iter().take(most).take_while(|byte| wanted(**byte)).count();
        let (taken, rest) = self.bytes.split_at_checked(count).unwrap_or((self.bytes, &[]));
        self.bytes = rest;
        taken
    }

    fn word(&mut self) -> Token<'a> {
        let name = self.take_while(64, |byte| byte.is_ascii_alphabetic());
        let name = std::str::from_utf8(name).unwrap_or_default();
        let negative = self.bytes.first() == Some(&b'-') && self.bytes.get(1).is_some_and(u8::is_ascii_digit);
        if negative {
            self.take();
        }
        let digits = self.take_while(64, |byte| byte.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i32>().ok());
        let number = number.map(|number| if negative { number.saturating_neg() } else { number });
        if self.bytes.first() == Some(&b' ') {
            self.take();
        }
        if name == "bin" {
            // Binary data stands between the tokens and is none.
            let length = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
            self.bytes = self.bytes.get(length..).unwrap_or_default();
        }
        Token::Word(name, number)
    }

    fn hexadecimal(&mut self) -> Option<u8> {
        let digits = self.take_while(2, |byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match self.take()? {
                b'{' => return Some(Token::Open),
                b'}' => return Some(Token::Close),
                b'\r' | b'\n' | 0 => {}
                b'\\' if self.bytes.first().is_some_and(u8::is_ascii_alphabetic) => return Some(self.word()),
                b'\\' => match self.take()? {
                    b'\'' => {
                        if let Some(byte) = self.hexadecimal() {
                            return Some(Token::Byte(byte));
                        }
                    }
                    escaped @ (b'\\' | b'{' | b'}') => return Some(Token::Byte(escaped)),
                    symbol => return Some(Token::Symbol(symbol)),
                },
                byte => return Some(Token::Byte(byte)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let bytes = b"{\\b1 a\\'e9\\{\\par\n\\u-3913 ?\\~\\bin3 }}}x\\*\\bin99 zz";
        let tokens: Vec<Token<'_>> = Lexer::new(bytes).collect();
        assert_eq!(
            tokens,
            [
                Token::Open,
                Token::Word("b", Some(1)),
                Token::Byte(b'a'),
                Token::Byte(0xe9),
                Token::Byte(b'{'),
                Token::Word("par", None),
                Token::Word("u", Some(-3913)),
                Token::Byte(b'?'),
                Token::Symbol(b'~'),
                Token::Word("bin", Some(3)),
                Token::Byte(b'x'),
                Token::Symbol(b'*'),
                Token::Word("bin", Some(99)),
            ]
        );
    }
}
