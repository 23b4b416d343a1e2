//! Composes the canonical text: cleans what readers push, counts scalars, and keeps pages, headings and words in step
//! with it.

use domain::{
    outcome::Category,
    text::{Heading, Metadata, PageSource, PageText, Text, Warning, Word, scalars},
};

use crate::limits::Limits;

/// Builds a [`Text`]. Line ends become `\n`; control characters except `\n` and `\t` are dropped; the ligatures
/// U+FB00 to U+FB06 are spelled out. Otherwise the text is what the file says.
pub(crate) struct Composer {
    text: String,
    scalars: u32,
    max_bytes: usize,
    max_pages: usize,
    truncated: bool,
    after_return: bool,
    /// Where the current page starts, in bytes.
    page_at: usize,
    pages: Vec<PageText>,
    headings: Vec<Heading>,
    warnings: Vec<Warning>,
    /// What the document says about itself.
    pub(crate) metadata: Metadata,
}

impl Composer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            text: String::new(),
            scalars: 0,
            // Offsets are u32, so more than this cannot be addressed anyway.
            max_bytes: usize::try_from(limits.max_text_bytes.min(u64::from(u32::MAX))).unwrap_or(usize::MAX),
            max_pages: limits.max_pages as usize,
            truncated: false,
            after_return: false,
            page_at: 0,
            pages: Vec::new(),
            headings: Vec::new(),
            warnings: Vec::new(),
            metadata: Metadata::default(),
        }
    }

    /// True when nothing more will be taken: too many pages or too much text.
    pub(crate) fn is_full(&self) -> bool {
        self.truncated
    }

    /// Starts the next page. False, with a warning, when there are too many already.
    pub(crate) fn begin_page(&mut self, size: Option<(f32, f32)>, label: Option<String>) -> bool {
        self.end_page();
        if self.truncated {
            return false;
        }
        if self.pages.len() >= self.max_pages {
            self.overflow("more pages than allowed; the rest is left out");
            return false;
        }
        if !self.pages.is_empty() {
            self.push_scalar('\n');
        }
        let number = u32::try_from(self.pages.len()).unwrap_or(u32::MAX).saturating_add(1);
        let (start, end) = (self.scalars, self.scalars);
        self.page_at = self.text.len();
        self.pages.push(PageText { number, start, end, size, label, ..PageText::default() });
        true
    }

    /// The number of the page being written, from 1; 0 before the first.
    pub(crate) fn page_number(&self) -> u32 {
        self.pages.last().map_or(0, |page| page.number)
    }

    /// True when no page has any text yet.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What follows on the current page stands beside its text: comments, changes, form values.
    pub(crate) fn begin_asides(&mut self) {
        self.end_line();
        let at = self.begin_span();
        if let Some(page) = self.pages.last_mut() {
            page.asides.get_or_insert(at);
        }
    }

    /// Marks the line of the current page that says `title` (or the two lines, or the line that says it after a number) as a
    /// heading. White space and case may differ.
    pub(crate) fn mark_heading(&mut self, level: u8, title: &str) {
        let folded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let wanted = folded(title);
        let Some(page) = self.pages.last().filter(|_| !wanted.is_empty()) else { return };
        let mut at = page.start;
        let mut previous: Option<(u32, String)> = None;
        for line in self.text.get(self.page_at..).unwrap_or_default().split('\n') {
            let end = at.saturating_add(scalars(line));
            let said = folded(line);
            let found = if said == wanted || said.ends_with(&wanted) && said.len() <= wanted.len().saturating_add(12) {
                Some(at)
            } else {
                previous.filter(|(_, before)| format!("{before} {said}") == wanted).map(|(start, _)| start)
            };
            if let Some(start) = found {
                self.headings.push(Heading { start, end, level: level.clamp(1, 9) });
                return;
            }
            previous = Some((at, said));
            at = end.saturating_add(1);
        }
    }

    /// Says where the text of the current page comes from.
    pub(crate) fn set_source(&mut self, source: PageSource) {
        if let Some(page) = self.pages.last_mut() {
            page.source = source;
        }
    }

    fn end_page(&mut self) {
        let Some(page) = self.pages.last_mut() else { return };
        let start = page.start;
        while self.scalars > start && self.text.ends_with(char::is_whitespace) {
            self.text.pop();
            self.scalars = self.scalars.saturating_sub(1);
        }
        page.end = self.scalars;
        page.asides = page.asides.filter(|asides| *asides < page.end);
        if page.end == page.start {
            page.source = PageSource::Empty;
        }
    }

    /// Appends text to the current page (starting the first page when there is none).
    pub(crate) fn push(&mut self, text: &str) {
        if self.pages.is_empty() {
            self.begin_page(None, None);
        }
        for scalar in text.chars() {
            self.push_clean(scalar);
        }
    }

    /// Ends the line, unless the page or line is only beginning.
    pub(crate) fn end_line(&mut self) {
        let start = self.pages.last().map_or(0, |page| page.start);
        if self.scalars > start && !self.text.ends_with('\n') {
            self.push_scalar('\n');
        }
    }

    /// True when nothing stands on the current line yet.
    pub(crate) fn at_line_start(&self) -> bool {
        let start = self.pages.last().map_or(0, |page| page.start);
        self.scalars <= start || self.text.ends_with(['\n', '\t'])
    }

    /// Appends a heading on lines of its own.
    pub(crate) fn push_heading(&mut self, level: u8, text: &str) {
        self.end_line();
        let start = self.begin_span();
        self.push(text.trim());
        self.end_heading(level, start);
        self.end_line();
    }

    /// Where the next scalar will stand.
    pub(crate) fn begin_span(&mut self) -> u32 {
        if self.pages.is_empty() {
            self.begin_page(None, None);
        }
        self.scalars
    }

    /// The text pushed since `start`, where a span began.
    pub(crate) fn since(&self, start: u32) -> &str {
        domain::text::slice(&self.text, start..self.scalars).unwrap_or_default()
    }

    /// Marks what was pushed since `start` as a heading.
    pub(crate) fn end_heading(&mut self, level: u8, start: u32) {
        if self.scalars > start {
            self.headings.push(Heading { start, end: self.scalars, level: level.clamp(1, 9) });
        }
    }

    /// Appends a word that stands in `bbox`.
    pub(crate) fn push_word(&mut self, word: &str, bbox: [f32; 4]) {
        let start = self.begin_span();
        self.push(word);
        let end = self.scalars;
        if end > start
            && let Some(page) = self.pages.last_mut()
        {
            page.words.push(Word { start, end, bbox, confidence: None });
        }
    }

    /// Appends the text of a `page` that was composed before, with its words and those of `headings` that stand on it.
    pub(crate) fn append(&mut self, text: &str, page: &PageText, headings: &[Heading]) {
        let base = self.begin_span();
        let moved = |at: u32| at.saturating_sub(page.start).saturating_add(base);
        let words: Vec<Word> = page
            .words
            .iter()
            .map(|word| Word {
                start: word.start.saturating_sub(page.start),
                end: word.end.saturating_sub(page.start),
                ..*word
            })
            .collect();
        let here = headings.iter().filter(|heading| heading.start >= page.start && heading.end <= page.end);
        self.headings.extend(here.map(|heading| Heading {
            start: moved(heading.start),
            end: moved(heading.end),
            ..*heading
        }));
        let asides = page.asides.map(moved);
        self.append_words(text, &words);
        if let Some(page) = self.pages.last_mut() {
            page.asides = asides;
        }
    }

    /// Appends clean text with `words` counted from its own start.
    pub(crate) fn append_words(&mut self, text: &str, words: &[Word]) {
        let base = self.begin_span();
        for scalar in text.chars() {
            self.push_scalar(scalar);
        }
        let end = self.scalars;
        let moved = words.iter().map(|word| Word {
            start: word.start.saturating_add(base),
            end: word.end.saturating_add(base),
            ..*word
        });
        if let Some(page) = self.pages.last_mut() {
            page.words.extend(moved.filter(|word| word.end <= end));
        }
    }

    /// Notes that something could not be read.
    pub(crate) fn warn(&mut self, category: Category, page: Option<u32>, detail: impl Into<String>) {
        self.warnings.push(Warning { category, page, detail: detail.into() });
    }

    fn overflow(&mut self, detail: &str) {
        if !self.truncated {
            self.truncated = true;
            self.warn(Category::TooLarge, None, detail);
        }
    }

    fn push_clean(&mut self, scalar: char) {
        let after_return = std::mem::replace(&mut self.after_return, scalar == '\r');
        match scalar {
            '\n' if after_return => {}
            '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{0c}' | '\u{0b}' => self.push_scalar('\n'),
            '\t' => self.push_scalar('\t'),
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {}
            '\u{fb00}'..='\u{fb06}' => {
                let letters = ["ff", "fi", "fl", "ffi", "ffl", "st", "st"];
                let at = u32::from(scalar).saturating_sub(0xfb00) as usize;
                for letter in letters.get(at).unwrap_or(&"").chars() {
                    self.push_scalar(letter);
                }
            }
            control if control.is_control() => {}
            other => self.push_scalar(other),
        }
    }

    fn push_scalar(&mut self, scalar: char) {
        if self.truncated {
            return;
        }
        if self.text.len().saturating_add(scalar.len_utf8()) > self.max_bytes {
            self.overflow("more text than allowed; the rest is left out");
            return;
        }
        self.text.push(scalar);
        self.scalars = self.scalars.saturating_add(1);
    }

    /// The finished text.
    pub(crate) fn finish(mut self) -> Text {
        self.end_page();
        let end = self.scalars;
        // Trimming a page's end may have cut into what was marked on its last line.
        for heading in &mut self.headings {
            heading.end = heading.end.min(end);
        }
        self.headings.retain(|heading| heading.start < heading.end);
        // Bookmarks may name the same line twice, and in any order.
        self.headings.sort_by_key(|heading| (heading.start, heading.level));
        self.headings.dedup_by_key(|heading| heading.start);
        Text {
            text: self.text,
            pages: self.pages,
            headings: self.headings,
            metadata: self.metadata,
            warnings: self.warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composer(max_text_bytes: u64, max_pages: u32) -> Composer {
        Composer::new(&Limits { max_pages, max_text_bytes, ..Limits::default() })
    }

    #[test]
    fn cleans_and_counts() {
        let mut composer = composer(1000, 10);
        composer.push("a\r\nb\rc\0\u{7}\u{fb03}x\u{2028}");
        composer.push_word("ö\u{fb01}", [0.0; 4]);
        composer.push("\n \n");
        composer.begin_page(None, None);
        composer.push_heading(2, " Title ");
        composer.push("body");
        let text = composer.finish();
        assert_eq!(text.text, "a\nb\ncffix\nöfi\nTitle\nbody");
        assert_eq!(text.pages.iter().map(|p| (p.start, p.end)).collect::<Vec<_>>(), [(0, 13), (14, 24)]);
        assert_eq!(text.slice(text.pages[0].words[0].start..text.pages[0].words[0].end), Some("öfi"));
        assert_eq!(text.slice(text.headings[0].start..text.headings[0].end), Some("Title"));
    }

    #[test]
    fn stops_at_its_limits_with_one_warning() {
        let mut composer = composer(4, 2);
        composer.push("ab\u{e9}cdef");
        assert!(composer.is_full());
        composer.begin_page(None, None);
        assert!(!composer.begin_page(None, None));
        let text = composer.finish();
        assert_eq!(text.text, "ab\u{e9}");
        assert_eq!(text.warnings.len(), 1);
        assert_eq!(text.warnings[0].category, Category::TooLarge);
    }
}
