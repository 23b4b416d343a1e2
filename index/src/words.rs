//! How text becomes words, for documents and queries alike. A word is a run of letters, digits and their marks, lower-case,
//! without accents. Scripts written without spaces give one word per character: a query of several such characters is
//! searched as a phrase, which finds any run of them. The unstemmed form is what litigators search; the stemmed one is
//! for questions.

use tantivy::tokenizer::{Language, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Name of the unstemmed analyzer in the schema.
pub(crate) const PLAIN: &str = "dia_words";
/// Name of the English-stemmed analyzer in the schema.
pub(crate) const STEMMED: &str = "dia_stems";

/// Longer words are cut here, in the index and in queries alike, so that encoded blobs cannot swell the dictionary.
const MAX_SCALARS: usize = 64;

/// Splits text into words; see the module.
#[derive(Clone, Default)]
pub(crate) struct Words {
    token: Token,
}

/// The words of one text, one after the other.
pub(crate) struct WordStream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

/// A folded word and where it stands, in bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The analyzers every index is opened with.
pub(crate) fn analyzers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register(PLAIN, TextAnalyzer::from(Words::default()));
    manager.register(STEMMED, stemmer());
    manager
}

/// The unstemmed words of `text`, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    collect(&mut TextAnalyzer::from(Words::default()), text)
}

/// The stemmed words of `text`, in order.
pub(crate) fn stems(text: &str) -> Vec<Word> {
    collect(&mut stemmer(), text)
}

fn stemmer() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default()).filter(Stemmer::new(Language::English)).build()
}

fn collect(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    analyzer.token_stream(text).process(&mut |token: &Token| {
        found.push(Word { text: token.text.clone(), start: token.offset_from, end: token.offset_to });
    });
    found
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, at: 0, token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((start, first)) = self.text[self.at..].char_indices().find(|(_, c)| c.is_alphanumeric()) else {
            self.at = self.text.len();
            return false;
        };
        let start = self.at + start;
        let alone = stands_alone(first);
        let mut end = start + first.len_utf8();
        for (at, c) in self.text[end..].char_indices() {
            let more = is_combining_mark(c) || (!alone && c.is_alphanumeric() && !stands_alone(c));
            if more {
                end = start + first.len_utf8() + at + c.len_utf8();
            } else if !is_invisible(c) {
                break;
            }
        }
        self.at = end;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = start;
        self.token.offset_to = end;
        self.token.text.clear();
        fold(&self.text[start..end], &mut self.token.text);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Writes `word` lower-case and without accents to `out`.
fn fold(word: &str, out: &mut String) {
    if word.is_ascii() {
        out.extend(word.chars().take(MAX_SCALARS).map(|c| c.to_ascii_lowercase()));
        return;
    }
    let base = word.chars().filter(|c| !is_invisible(*c)).nfkd().filter(|c| !('\u{300}'..='\u{36F}').contains(c)).nfc();
    for c in base.flat_map(char::to_lowercase).take(MAX_SCALARS) {
        match c {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'ø' => out.push('o'),
            'đ' | 'ð' => out.push('d'),
            'ł' => out.push('l'),
            'ı' => out.push('i'),
            '\u{300}'..='\u{36F}' => {}
            _ => out.push(c),
        }
    }
}

/// Characters of scripts written without spaces between words: Han, kana, Hangul, Thai, Lao, Khmer, Burmese.
fn stands_alone(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF
        | 0x3005..=0x3007 | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9D | 0x20000..=0x3FFFF)
}

/// Soft hyphens, zero-width joiners and their like: they do not end a word and are not part of it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_and_know_their_place() {
        let cases: [(&str, &[&str]); 10] = [
            ("Hello, World!", &["hello", "world"]),
            ("Café CAFE\u{301} ﬁn Ｆｕｌｌ", &["cafe", "cafe", "fin", "full"]),
            ("Straße Øre Łódź", &["strasse", "ore", "lodz"]),
            ("契約書2024年", &["契", "約", "書", "2024", "年"]),
            ("co\u{AD}operate", &["cooperate"]),
            ("don't e-mail a_b", &["don", "t", "e", "mail", "a", "b"]),
            ("\u{301}x", &["x"]),
            ("İstanbul", &["istanbul"]),
            ("", &[]),
            ("--- …", &[]),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = words(text).into_iter().map(|w| w.text).collect();
            assert_eq!(found, expected, "{text}");
        }
        let word = &words("x  Ünï ")[1];
        assert_eq!((word.start, word.end), (3, 8));
    }

    #[test]
    fn long_words_are_cut_alike_everywhere() {
        let long = "é".repeat(500);
        assert_eq!(words(&long)[0].text.chars().count(), MAX_SCALARS);
    }
}
