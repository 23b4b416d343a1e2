//! What holds inside a group: where its text goes and how it is marked; and the tables at the start of a document that
//! fonts, styles and revisers are looked up in.

use std::collections::HashMap;

use super::charset::Charset;

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Body,
    Note,
    Comment,
    CommentAuthor,
    /// Headers and footers.
    Running,
    FontTable,
    StyleSheet,
    Revisers,
    /// The `\info` group itself.
    Info,
    Property(InfoField),
    /// A time of the `\info` group: true for creation, false for the last change.
    Time(bool),
    /// A drawn shape: its properties are skipped, its `\shptxt` is text.
    Shape,
    Skipped,
}

/// A property of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InfoField {
    Title,
    Subject,
    Author,
    Operator,
    Company,
    Keywords,
    Description,
}

/// Control words whose group holds no text of the document.
const SKIPPED: &[&str] = &[
    "colortbl",
    "filetbl",
    "listtable",
    "listoverridetable",
    "rsidtbl",
    "pict",
    "objdata",
    "objclass",
    "objname",
    "fldinst",
    "bkmkstart",
    "bkmkend",
    "sn",
    "sv",
    "shprslt",
    "nonesttables",
    "ftnsep",
    "ftnsepc",
    "ftncn",
    "aftnsep",
    "aftnsepc",
    "aftncn",
    "pntxta",
    "pntxtb",
    "atnid",
    "atnref",
    "atndate",
    "atnparent",
    "atntime",
    "atnicn",
    "xe",
    "tc",
    "tcn",
    "themedata",
    "colorschememapping",
    "datastore",
    "latentstyles",
    "generator",
    "userprops",
    "template",
    "private",
    "nonshppict",
    "pgptbl",
    "revtim2",
    "formfield",
    "mmathPr",
    "background",
    "blipuid",
    "datafield",
];

impl Destination {
    /// The destination that the control word `name` opens inside `current`; `None` for words that open none.
    pub(super) fn of_word(name: &str, current: Self) -> Option<Self> {
        if matches!(current, Self::Info | Self::Property(_) | Self::Time(_)) {
            return match name {
                "creatim" => Some(Self::Time(true)),
                "revtim" => Some(Self::Time(false)),
                "printim" | "buptim" => Some(Self::Skipped),
                _ => InfoField::of_word(name).map(Self::Property),
            };
        }
        if current == Self::Skipped {
            return (name == "ud").then_some(Self::Body);
        }
        Some(match name {
            "footnote" => Self::Note,
            "annotation" => Self::Comment,
            "atnauthor" => Self::CommentAuthor,
            "header" | "headerl" | "headerr" | "headerf" | "footer" | "footerl" | "footerr" | "footerf" => {
                Self::Running
            }
            "fonttbl" => Self::FontTable,
            "stylesheet" => Self::StyleSheet,
            "revtbl" => Self::Revisers,
            "info" => Self::Info,
            "shp" | "shpinst" | "shpgrp" | "do" => Self::Shape,
            // The same text twice: for old readers, and in Unicode within `\ud`.
            "upr" => Self::Skipped,
            "shptxt" | "result" | "fldrslt" | "nesttableprops" | "listtext" | "pntext" | "dptxbxtext" => {
                if current == Self::Shape { Self::Body } else { current }
            }
            _ if SKIPPED.contains(&name) => Self::Skipped,
            _ => return None,
        })
    }

    /// False where text is thrown away as it comes.
    pub(super) fn takes_text(self) -> bool {
        !matches!(self, Self::Skipped | Self::Shape | Self::Info)
    }
}

/// Everything a closing brace takes back.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is one RTF property")]
pub(super) struct Group {
    pub(super) destination: Destination,
    pub(super) font: i32,
    /// How many characters stand in for one `\u`.
    pub(super) fallback: i32,
    pub(super) heading: Option<u8>,
    pub(super) in_table: bool,
    pub(super) hidden: bool,
    pub(super) deleted: bool,
    pub(super) inserted: bool,
    pub(super) reviser: Option<i32>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            destination: Destination::Body,
            font: 0,
            fallback: 1,
            heading: None,
            in_table: false,
            hidden: false,
            deleted: false,
            inserted: false,
            reviser: None,
        }
    }
}

impl Group {
    pub(super) fn without_marks(self) -> Self {
        Self { hidden: false, deleted: false, inserted: false, reviser: None, ..self }
    }

    pub(super) fn enter(&mut self, destination: Destination) {
        if self.destination != destination {
            let plain = self.clone().without_marks();
            *self = Self { destination, heading: None, in_table: false, ..plain };
        }
    }
}

/// Fonts, styles, revisers and times.
#[derive(Debug, Default)]
pub(super) struct Tables {
    fonts: HashMap<i32, Option<Charset>>,
    font: i32,
    headings: HashMap<i32, u8>,
    style: i32,
    style_name: String,
    revisers: Vec<String>,
    reviser: String,
    time: [i32; 5],
    /// ISO 8601 without a zone, as RTF has none.
    pub(super) created: Option<String>,
    pub(super) changed: Option<String>,
}

impl Tables {
    pub(super) fn charset(&self, font: i32) -> Option<Charset> {
        self.fonts.get(&font).copied().flatten()
    }

    pub(super) fn begin_font(&mut self, font: i32) {
        self.font = font;
        self.fonts.entry(font).or_default();
    }

    pub(super) fn set_charset(&mut self, charset: Option<Charset>) {
        if charset.is_some() {
            self.fonts.insert(self.font, charset);
        }
    }

    pub(super) fn heading(&self, style: i32) -> Option<u8> {
        self.headings.get(&style).copied()
    }

    pub(super) fn begin_style(&mut self, style: i32) {
        (self.style, self.style_name) = (style, String::new());
    }

    pub(super) fn reviser(&self, number: Option<i32>) -> Option<String> {
        let place = usize::try_from(number.unwrap_or(0)).ok()?;
        self.revisers.get(place).filter(|name| name.as_str() != "Unknown").cloned()
    }

    /// Takes text of a table; a semicolon ends an entry.
    pub(super) fn text(&mut self, destination: Destination, text: &str) {
        for scalar in text.chars() {
            match (destination, scalar) {
                (Destination::StyleSheet, ';') => {
                    let name = std::mem::take(&mut self.style_name).trim().to_lowercase();
                    let level = name.strip_prefix("heading ").and_then(|level| level.trim().parse::<u8>().ok());
                    if let Some(level) = level.filter(|level| matches!(level, 1..=9)) {
                        self.headings.insert(self.style, level);
                    }
                    self.style = 0;
                }
                (Destination::StyleSheet, scalar) if self.style_name.len() < 256 => self.style_name.push(scalar),
                (Destination::Revisers, ';') => {
                    let name = std::mem::take(&mut self.reviser).trim().to_owned();
                    if self.revisers.len() < 10_000 {
                        self.revisers.push(name);
                    }
                }
                (Destination::Revisers, scalar) if self.reviser.len() < 256 => self.reviser.push(scalar),
                _ => {}
            }
        }
    }

    pub(super) fn time_part(&mut self, name: &str, number: i32) {
        let place = ["yr", "mo", "dy", "hr", "min"].iter().position(|part| *part == name);
        if let Some(part) = place.and_then(|place| self.time.get_mut(place)) {
            *part = number;
        }
    }

    pub(super) fn end(&mut self, destination: Destination) {
        let Destination::Time(creation) = destination else { return };
        let [year, month, day, hour, minute] = std::mem::take(&mut self.time);
        let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z");
        if creation {
            self.created = Some(time);
        } else {
            self.changed = Some(time);
        }
    }
}
