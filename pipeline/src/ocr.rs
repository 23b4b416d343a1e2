//! Optical character recognition: page images from the reader go to tesseract, one at a time, in a sandboxed process of
//! its own; its words come back as text with boxes and take their place in the document.

use std::{cell::Cell, collections::BTreeMap, io::Read, sync::atomic::AtomicBool};

use domain::{
    outcome::{Category, Exception},
    text::{PageSource, Text, Warning, Word},
};

use crate::{
    compose::Composer,
    reader::{Launch, ReadError, Reader},
    settings::Settings,
    wire::{ImageHead, Task},
};

/// Mean confidence (0 to 100) under which a page is looked at for being rotated.
const DOUBTFUL: f32 = 50.0;
/// Most bytes tesseract may answer for one page.
const MAX_ANSWER: u64 = 64 << 20;

/// Runs tesseract on the pages of one document.
pub(crate) struct Recogniser<'a> {
    reader: &'a Reader,
    pages: Cell<u32>,
}

/// What was recognised on one page: text with words counted from the page's start, and why there is none.
#[derive(Debug, Default)]
pub(crate) struct Recognised {
    text: String,
    words: Vec<Word>,
    confidence: f32,
    failure: Option<(Category, String)>,
    is_beside: bool,
}

impl Recognised {
    /// True for a picture beside the text that holds none worth having: words read out of a photograph are noise.
    fn is_nothing(&self) -> bool {
        self.is_beside && self.failure.is_none() && (self.words.is_empty() || self.confidence < DOUBTFUL)
    }
}

impl<'a> Recogniser<'a> {
    pub(crate) fn new(reader: &'a Reader) -> Self {
        Self { reader, pages: Cell::new(0) }
    }

    /// Recognises one grey image, `head.width` × `head.height` bytes. A page that cannot be recognised is no error.
    pub(crate) fn page(&self, head: &ImageHead, grey: &[u8], cancel: &AtomicBool) -> Result<Recognised, ReadError> {
        let limits = &self.reader.settings().limits;
        self.pages.set(self.pages.get().saturating_add(1));
        if self.pages.get() > limits.max_ocr_pages {
            return Ok(failed(Category::TooLarge, "more pages to recognise than allowed"));
        }
        let found = match self.upright_or_turned(head, grey, cancel) {
            Err(ReadError::Exception(exception)) if exception.category == Category::TimedOut => {
                failed(Category::TimedOut, "recognising the page took longer than allowed")
            }
            Err(ReadError::Exception(_)) => failed(Category::Crashed, "tesseract failed on the page"),
            other => other?,
        };
        Ok(Recognised { is_beside: head.is_beside, ..found })
    }

    fn upright_or_turned(&self, head: &ImageHead, grey: &[u8], cancel: &AtomicBool) -> Result<Recognised, ReadError> {
        let upright = self.recognise(head, grey, Turn::None, cancel)?;
        if !upright.words.is_empty() && upright.confidence >= DOUBTFUL {
            return Ok(upright);
        }
        let answer = self.run(head, grey, true, cancel);
        let turn = match answer {
            Ok(answer) => Turn::parse(&String::from_utf8_lossy(&answer)),
            // Too few characters to tell is an error of tesseract's.
            Err(ReadError::Exception(_)) => Turn::None,
            Err(error) => return Err(error),
        };
        if turn == Turn::None {
            return Ok(upright);
        }
        let turned_head = match turn {
            Turn::None | Turn::Half => *head,
            Turn::Right | Turn::Left => ImageHead { width: head.height, height: head.width, ..*head },
        };
        let turned = self.recognise(&turned_head, &turn.apply(head, grey), turn, cancel)?;
        Ok(if turned.confidence > upright.confidence { turned } else { upright })
    }

    fn recognise(
        &self,
        head: &ImageHead,
        grey: &[u8],
        turn: Turn,
        cancel: &AtomicBool,
    ) -> Result<Recognised, ReadError> {
        let answer = self.run(head, grey, false, cancel)?;
        Ok(parse(&String::from_utf8_lossy(&answer), head, turn))
    }

    fn run(&self, head: &ImageHead, grey: &[u8], orientation: bool, cancel: &AtomicBool) -> Result<Vec<u8>, ReadError> {
        let limits = &self.reader.settings().limits;
        let header = format!("P5\n{} {}\n255\n", head.width, head.height);
        let mut image = header.as_bytes().chain(grey);
        let task = Task::Recognise { orientation, dpi: head.dpi };
        let launch = Launch {
            wall_seconds: limits.ocr_wall_seconds_per_page,
            max_input: u64::MAX,
            ..self.reader.launch(task, cancel)
        };
        launch.output(&mut image, MAX_ANSWER)
    }
}

fn failed(category: Category, detail: &str) -> Recognised {
    Recognised { failure: Some((category, detail.to_owned())), ..Recognised::default() }
}

/// How a scanned page must be turned (clockwise) to stand upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    None,
    Right,
    Half,
    Left,
}

impl Turn {
    /// From tesseract's orientation report.
    fn parse(report: &str) -> Self {
        match report.lines().find_map(|line| line.strip_prefix("Rotate:")).map(str::trim) {
            Some("90") => Self::Right,
            Some("180") => Self::Half,
            Some("270") => Self::Left,
            _ => Self::None,
        }
    }

    fn apply(self, head: &ImageHead, grey: &[u8]) -> Vec<u8> {
        let Some(image) = image::GrayImage::from_raw(head.width, head.height, grey.to_vec()) else {
            return grey.to_vec();
        };
        match self {
            Self::None => image,
            Self::Right => image::imageops::rotate90(&image),
            Self::Half => image::imageops::rotate180(&image),
            Self::Left => image::imageops::rotate270(&image),
        }
        .into_raw()
    }

    /// A box on the turned image, `width` × `height`, as it stands on the image before.
    fn undo(self, [left, top, right, bottom]: [f32; 4], width: f32, height: f32) -> [f32; 4] {
        match self {
            Self::None => [left, top, right, bottom],
            Self::Right => [top, width - right, bottom, width - left],
            Self::Half => [width - right, height - bottom, width - left, height - top],
            Self::Left => [height - bottom, left, height - top, right],
        }
    }
}

/// Reads tesseract's TSV: level, page, block, paragraph, line, word, left, top, width, height, confidence, text.
#[allow(clippy::cast_precision_loss, reason = "pixels fit in 24 bits")]
fn parse(tsv: &str, head: &ImageHead, turn: Turn) -> Recognised {
    let points = 72.0 / head.dpi.max(1) as f32;
    let (width, height) = (head.width as f32, head.height as f32);
    let mut found = Recognised::default();
    let mut scalars = 0_u32;
    let mut last: Option<(&str, &str, &str)> = None;
    let mut confidence = 0.0;
    for row in tsv.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [level, _, block, paragraph, line, _, left, top, wide, high, sure, word] = columns.as_slice() else {
            continue;
        };
        let word = word.trim();
        if *level != "5" || word.is_empty() {
            continue;
        }
        let gap = match last {
            None => "",
            Some(place) if place == (*block, *paragraph, *line) => " ",
            Some(place) if (place.0, place.1) == (*block, *paragraph) => "\n",
            Some(_) => "\n\n",
        };
        last = Some((block, paragraph, line));
        found.text.push_str(gap);
        scalars = scalars.saturating_add(domain::text::scalars(gap));
        let start = scalars;
        let clean: String = word.chars().filter(|scalar| !scalar.is_control()).collect();
        found.text.push_str(&clean);
        scalars = scalars.saturating_add(domain::text::scalars(&clean));
        let number = |text: &str| text.parse::<f32>().unwrap_or(0.0);
        let (left, top) = (number(left), number(top));
        let bbox = turn.undo([left, top, left + number(wide), top + number(high)], width, height);
        let sure = number(sure).clamp(0.0, 100.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
        let rounded = sure.round() as u8;
        found.words.push(Word { start, end: scalars, bbox: bbox.map(|at| at * points), confidence: Some(rounded) });
        confidence += sure;
    }
    found.confidence = confidence / found.words.len().max(1) as f32;
    found
}

/// Puts recognised pages into their places, and judges a document that has no text at all.
pub(crate) fn merge(text: Text, recognised: BTreeMap<u32, Recognised>, settings: &Settings) -> Result<Text, ReadError> {
    let text = if recognised.is_empty() { text } else { rebuild(&text, recognised, settings) };
    if !text.text.trim().is_empty() {
        return Ok(text);
    }
    let reason = text.warnings.first();
    Err(ReadError::Exception(match reason {
        Some(Warning { category: Category::OcrUnavailable, .. }) => {
            Exception::new(Category::OcrUnavailable, "the document is an image and no OCR engine is configured")
        }
        Some(warning) if warning.category != Category::NoText => {
            Exception { page: warning.page, ..Exception::new(warning.category, warning.detail.clone()) }
        }
        _ => match photograph(&text, settings) {
            Some(photograph) => return Ok(photograph),
            None => Exception::new(Category::NoText, "no text was found"),
        },
    }))
}

/// A picture without words that says when, where or with what it was taken is a photograph: what it says stands beside the
/// text it does not have, so that it can be found.
fn photograph(text: &Text, settings: &Settings) -> Option<Text> {
    let metadata = &text.metadata;
    let extra = |name: &str| metadata.extra.get(name).cloned();
    let (camera, place) = (extra("camera"), extra("gps"));
    if camera.is_none() && place.is_none() {
        return None;
    }
    let taken = metadata.created_at.map(|at| format!("taken {}", at.rfc3339()));
    let place = place.map(|place| format!("at {place}"));
    let author = metadata.author.as_ref().map(|author| format!("by {author}"));
    let said: Vec<String> = [taken, place, camera, author, extra("description")].into_iter().flatten().collect();
    let mut composer = Composer::new(&settings.limits);
    composer.metadata = metadata.clone();
    let page = text.pages.first()?;
    composer.begin_page(page.size, page.label.clone());
    composer.warn(Category::NoText, Some(page.number), "no text was recognised on the page");
    composer.begin_asides();
    composer.push(&format!("[Photograph] {}", said.join("; ")));
    Some(composer.finish())
}

/// Lets go of each recognised page once it is in its place: a long scan's words need not stand in memory twice.
fn rebuild(text: &Text, mut recognised: BTreeMap<u32, Recognised>, settings: &Settings) -> Text {
    let mut composer = Composer::new(&settings.limits);
    composer.metadata = text.metadata.clone();
    for warning in &text.warnings {
        composer.warn(warning.category, warning.page, warning.detail.clone());
    }
    for page in &text.pages {
        if recognised.get(&page.number).is_some_and(Recognised::is_nothing) {
            continue;
        }
        if !composer.begin_page(page.size, page.label.clone()) {
            break;
        }
        let native = text.slice(page.start..page.end).unwrap_or_default();
        let Some(found) = recognised.remove(&page.number) else {
            composer.append(native, page, &text.headings);
            continue;
        };
        match &found.failure {
            Some((category, detail)) => composer.warn(*category, Some(page.number), detail.clone()),
            None if found.words.is_empty() => {
                composer.warn(Category::NoText, Some(page.number), "no text was recognised on the page");
            }
            None => {}
        }
        if found.words.is_empty() {
            composer.append(native, page, &text.headings);
        } else {
            composer.set_source(PageSource::Ocr);
            composer.append_words(&found.text, &found.words);
            if let Some(asides) = page.asides.and_then(|at| text.slice(at..page.end)) {
                composer.begin_asides();
                composer.push(asides);
            }
        }
    }
    composer.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    const TSV: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
        1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t\n\
        5\t1\t1\t1\t1\t1\t20\t10\t40\t20\t90.0\tThis\n\
        5\t1\t1\t1\t1\t2\t70\t10\t40\t20\t70.0\tgrün\n\
        5\t1\t1\t1\t2\t1\t20\t40\t40\t20\t80.0\tline\n\
        5\t1\t2\t1\t1\t1\t20\t70\t40\t20\t80.0\tblock\n";

    #[test]
    fn rows_become_lines_and_boxes_in_points() {
        let head = ImageHead { page: 1, width: 200, height: 100, dpi: 144, is_beside: false };
        let found = parse(TSV, &head, Turn::None);
        assert_eq!(found.text, "This grün\nline\n\nblock");
        let second = Word { start: 5, end: 9, bbox: [35.0, 5.0, 55.0, 15.0], confidence: Some(70) };
        assert_eq!(found.words[1], second);
        assert!((found.confidence - 80.0).abs() < 0.01);
    }

    #[test]
    fn a_turned_box_finds_its_way_back() {
        let head = ImageHead { page: 1, width: 3, height: 2, dpi: 72, is_beside: false };
        let grey = [0, 0, 9, 0, 0, 0];
        for turn in [Turn::Right, Turn::Half, Turn::Left] {
            let turned = turn.apply(&head, &grey);
            let (width, height) = if turn == Turn::Half { (3, 2) } else { (2, 3) };
            let at = turned.iter().position(|pixel| *pixel == 9).unwrap();
            let (x, y) = ((at % width) as f32, (at / width) as f32);
            assert_eq!(
                turn.undo([x, y, x + 1.0, y + 1.0], width as f32, height as f32),
                [2.0, 0.0, 3.0, 1.0],
                "{turn:?}"
            );
        }
    }
}
