//! Web pages, by the tokenizer of html5ever: a stream of tags and text in memory that does not grow with nesting. Scripts,
//! styles and templates are dropped, headings kept; blocks end lines, table cells are parted by tabs.

use std::cell::RefCell;

use encoding_rs::Encoding;
use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};

use crate::{compose::Composer, decode, sniff::find};

/// Reads a page whose encoding is in its bytes.
pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let label = declared_encoding(bytes);
    write(&decode::text(bytes, label.as_deref()), composer);
}

/// Writes the text of a page to `composer`.
pub(crate) fn write(html: &str, composer: &mut Composer) {
    let sink =
        Sink(RefCell::new(Page { composer, skipping: None, heading: None, title: None, pre: 0, pending_space: false }));
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(html));
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    tokenizer.sink.0.borrow_mut().finish();
}

/// `charset=` in the first kilobyte, as browsers look for it.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..1024).unwrap_or(bytes).to_ascii_lowercase();
    let after = head.get(find(&head, b"charset=")?.saturating_add(8)..)?;
    let label: Vec<u8> = after
        .iter()
        .copied()
        .skip_while(|byte| matches!(byte, b'"' | b'\'' | b' '))
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(byte))
        .collect();
    Encoding::for_label(&label).map(|encoding| encoding.name().to_owned())
}

struct Sink<'a>(RefCell<Page<'a>>);

struct Page<'a> {
    composer: &'a mut Composer,
    /// The element whose text is dropped until it ends.
    skipping: Option<String>,
    heading: Option<(u8, u32)>,
    /// The text of `<title>` while inside it.
    title: Option<String>,
    pre: u32,
    pending_space: bool,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => page.tag(&tag),
            Token::CharacterTokens(text) => {
                page.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Page<'_> {
    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let starts = tag.kind == TagKind::StartTag;
        if let Some(skipped) = &self.skipping {
            if !starts && skipped == name {
                self.skipping = None;
            }
            return TokenSinkResult::Continue;
        }
        match name {
            "script" if starts => return self.skip(name, RawKind::ScriptData),
            "style" | "noembed" | "noframes" | "iframe" | "xmp" if starts => return self.skip(name, RawKind::Rawtext),
            "template" | "svg" | "math" | "object" | "select" if starts && !tag.self_closing => {
                self.skipping = Some(name.to_owned());
            }
            "title" if starts => {
                self.title = Some(String::new());
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "title" => {
                let title = self.title.take().map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
                self.composer.metadata.title =
                    title.filter(|title| !title.is_empty()).or(self.composer.metadata.title.take());
            }
            "textarea" if starts => return TokenSinkResult::RawData(RawKind::Rcdata),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.heading(name, starts),
            "br" => self.push_break(),
            "td" | "th" if !starts => self.push_tab(),
            "img" => {
                let alternative = tag.attrs.iter().find(|attribute| &*attribute.name.local == "alt");
                if let Some(attribute) = alternative {
                    self.text(&attribute.value);
                }
            }
            "pre" => {
                self.pre = if starts { self.pre.saturating_add(1) } else { self.pre.saturating_sub(1) };
                self.end_line();
            }
            _ if BLOCKS.contains(&name) => self.end_line(),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn skip(&mut self, name: &str, kind: RawKind) -> TokenSinkResult<()> {
        self.skipping = Some(name.to_owned());
        TokenSinkResult::RawData(kind)
    }

    fn heading(&mut self, name: &str, starts: bool) {
        let open = self.heading.take();
        if let Some((level, start)) = open {
            self.composer.end_heading(level, start);
        }
        self.end_line();
        if starts {
            let level = name.bytes().last().unwrap_or(b'1').saturating_sub(b'0');
            self.heading = Some((level, self.composer.begin_span()));
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipping.is_some() {
            return;
        }
        if let Some(title) = &mut self.title {
            title.push_str(text);
            return;
        }
        if self.pre > 0 {
            self.composer.push(text);
            return;
        }
        for part in text.split_inclusive(|scalar: char| scalar.is_ascii_whitespace()) {
            let word = part.trim_end_matches(|scalar: char| scalar.is_ascii_whitespace());
            if !word.is_empty() {
                if std::mem::take(&mut self.pending_space) && !self.composer.at_line_start() {
                    self.composer.push(" ");
                }
                self.composer.push(word);
            }
            self.pending_space |= word.len() < part.len();
        }
    }

    fn push_break(&mut self) {
        self.pending_space = false;
        self.composer.push("\n");
    }

    fn push_tab(&mut self) {
        self.pending_space = false;
        self.composer.push("\t");
    }

    fn end_line(&mut self) {
        self.pending_space = false;
        self.composer.end_line();
    }

    fn finish(&mut self) {
        if let Some((level, start)) = self.heading.take() {
            self.composer.end_heading(level, start);
        }
    }
}

/// Elements that stand on lines of their own (HTML Living Standard 15.3, display: block, list-item, table-row).
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "listing",
    "main",
    "menu",
    "nav",
    "ol",
    "optgroup",
    "option",
    "p",
    "plaintext",
    "search",
    "section",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
];
