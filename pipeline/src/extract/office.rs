//! Word and `PowerPoint`, new and old, by `office_oxide`: its document tree becomes text. A slide is a page; Word knows no
//! pages before it is laid out, so a Word document is one.

use std::{collections::HashSet, io::Cursor};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use office_oxide::{
    Document, DocumentFormat, OfficeError,
    ir::{DocumentIR, Element, HeaderFooter, InlineContent, List, Note, Section, Table},
    options::{DamageKind, ParseOptions},
};

use super::{
    asides::{Aside, Asides, Kind},
    corrupt, docx, imported, pptx,
};
use crate::compose::Composer;

pub(super) fn read(bytes: Vec<u8>, format: DocumentFormat, composer: &mut Composer) -> Result<(), Exception> {
    read_with(bytes, format, true, composer)
}

/// Reads a document without the files it takes in.
pub(super) fn read_own(bytes: Vec<u8>, format: DocumentFormat, composer: &mut Composer) -> Result<(), Exception> {
    read_with(bytes, format, false, composer)
}

fn read_with(bytes: Vec<u8>, format: DocumentFormat, imports: bool, composer: &mut Composer) -> Result<(), Exception> {
    let mut asides = Asides::default();
    let mut slide_asides = Vec::new();
    let mut importing = None;
    match format {
        DocumentFormat::Docx => {
            docx::gather(bytes.clone(), &mut asides);
            importing = imports.then(|| bytes.clone());
        }
        DocumentFormat::Pptx => slide_asides = pptx::gather(bytes.clone()),
        _ => {}
    }
    // Embedded packages become documents of their own.
    let mut options = ParseOptions::default();
    options.limits.embedded_depth = 0;
    let document = Document::from_reader_with(Cursor::new(bytes), format, &options).map_err(|error| reason(&error))?;
    let tree = document.to_ir();
    metadata(&tree, composer);
    let slides = matches!(format, DocumentFormat::Pptx | DocumentFormat::Ppt);
    let (mut hidden, mut said) = (Vec::new(), HashSet::new());
    for (section, place) in tree.sections.iter().zip(0_usize..) {
        if slides && !composer.begin_page(None, section.title.clone()) {
            break;
        }
        if format == DocumentFormat::Doc {
            asides.extend(section.elements.iter().filter_map(remark));
        }
        write_section(section, slides, &mut said, composer);
        if slides && section.hidden {
            hidden.push(composer.page_number().to_string());
        }
        let slide = document.as_pptx().and_then(|deck| deck.slides.get(place));
        for comment in slide.iter().flat_map(|slide| slide.comments()) {
            let (by, text) = (comment.author.clone(), comment.text.clone());
            asides.push(Aside { kind: Kind::Comment, by, at: None, text });
        }
        if slides {
            asides.extend(slide_asides.get(place).into_iter().flatten().cloned());
            asides.write(composer);
        }
    }
    if let Some(bytes) = importing {
        imported::write(bytes, composer);
    }
    asides.write(composer);
    if !hidden.is_empty() {
        composer.metadata.extra.insert("hidden_slides".to_owned(), hidden.join(", "));
    }
    for damage in document.damage() {
        if damage.kind != DamageKind::Recovered {
            composer.warn(Category::Partial, None, "part of the file is damaged or beyond a limit and was left out");
            break;
        }
    }
    Ok(())
}

fn reason(error: &OfficeError) -> Exception {
    let said = error.to_string().to_lowercase();
    if said.contains("password") || said.contains("encrypt") {
        return Exception::new(Category::Encrypted, "the file is protected by a password");
    }
    match error {
        OfficeError::Panic(_) => Exception::new(Category::Crashed, "the reader failed on this file"),
        _ => corrupt("the file is not a readable Office document"),
    }
}

fn metadata(tree: &DocumentIR, composer: &mut Composer) {
    let known = &tree.metadata;
    let metadata = &mut composer.metadata;
    let text =
        |value: &Option<String>| value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
    metadata.title = text(&known.title);
    metadata.author = text(&known.author);
    metadata.subject = text(&known.subject);
    metadata.created_at = known.created.as_deref().and_then(Timestamp::parse);
    metadata.modified_at = known.modified.as_deref().and_then(Timestamp::parse);
    let extra = [
        ("last_modified_by", &known.last_modified_by),
        ("company", &known.company),
        ("description", &known.description),
    ];
    metadata.extra.extend(extra.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value)?))));
}

/// `said` holds the headers and footers written so far: sections repeat them, and each is worth saying once.
fn write_section(section: &Section, slide: bool, said: &mut HashSet<String>, composer: &mut Composer) {
    let mut running = |running: &Option<HeaderFooter>, composer: &mut Composer| {
        if let Some(running) = running
            && said.insert(plain(&running.content))
        {
            write(&running.content, composer);
        }
    };
    running(&section.first_page_header, composer);
    running(&section.header, composer);
    running(&section.even_page_header, composer);
    if slide && let Some(title) = section.title.as_deref().filter(|title| !repeats(title, &section.elements)) {
        composer.push_heading(1, title);
    }
    write(&section.elements, composer);
    running(&section.first_page_footer, composer);
    running(&section.footer, composer);
    running(&section.even_page_footer, composer);
    if let Some(notes) = &section.speaker_notes {
        write(notes, composer);
    }
}

fn is_comment(note: &Note) -> bool {
    note.marker.as_deref().is_some_and(|marker| marker.starts_with("Comment") || marker == "comment")
}

/// A comment of an old Word document, which stands among its notes; its time is not kept.
fn remark(element: &Element) -> Option<Aside> {
    match element {
        Element::Endnote(note) if is_comment(note) => {
            let text = plain(&note.content);
            Some(Aside { kind: Kind::Comment, by: note.author.clone(), at: None, text })
        }
        _ => None,
    }
}

/// True when the first element says the title anyway.
fn repeats(title: &str, elements: &[Element]) -> bool {
    let first = elements.first().map(|element| plain(std::slice::from_ref(element)));
    first.is_some_and(|first| first.trim() == title.trim())
}

fn write(elements: &[Element], composer: &mut Composer) {
    for element in elements {
        if composer.is_full() {
            return;
        }
        match element {
            Element::Heading(heading) => composer.push_heading(heading.clamped_level(), &inline(&heading.content)),
            Element::Paragraph(paragraph) => composer.push(&inline(&paragraph.content)),
            Element::Table(table) => write_table(table, composer),
            Element::List(list) => write_list(list, composer),
            Element::TextBox(text_box) => write(&text_box.content, composer),
            // Comments come as asides, with their dates.
            Element::Endnote(note) if is_comment(note) => {}
            Element::Footnote(note) | Element::Endnote(note) => write(&note.content, composer),
            Element::CodeBlock(code) => composer.push(&code.content),
            _ => {}
        }
        composer.end_line();
    }
}

fn write_list(list: &List, composer: &mut Composer) {
    for item in &list.items {
        write(&item.content, composer);
        if let Some(nested) = &item.nested {
            write_list(nested, composer);
        }
    }
}

fn write_table(table: &Table, composer: &mut Composer) {
    for row in &table.rows {
        let cells: Vec<String> = row.cells.iter().map(|cell| plain(&cell.content)).collect();
        composer.push(cells.join("\t").trim_end());
        composer.end_line();
    }
}

/// The text of a cell, paragraphs on lines of their own.
fn plain(elements: &[Element]) -> String {
    let mut parts = Vec::new();
    for element in elements {
        match element {
            Element::Heading(heading) => parts.push(inline(&heading.content)),
            Element::Paragraph(paragraph) => parts.push(inline(&paragraph.content)),
            Element::Table(table) => {
                parts.extend(table.rows.iter().flat_map(|row| &row.cells).map(|cell| plain(&cell.content)));
            }
            Element::List(list) => parts.extend(list_parts(list)),
            Element::TextBox(text_box) => parts.push(plain(&text_box.content)),
            Element::Footnote(note) | Element::Endnote(note) => parts.push(plain(&note.content)),
            Element::CodeBlock(code) => parts.push(code.content.clone()),
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n")
}

fn list_parts(list: &List) -> Vec<String> {
    let mut parts = Vec::new();
    for item in &list.items {
        parts.push(plain(&item.content));
        if let Some(nested) = &item.nested {
            parts.extend(list_parts(nested));
        }
    }
    parts
}

fn inline(content: &[InlineContent]) -> String {
    let mut text = String::new();
    for piece in content {
        match piece {
            InlineContent::Text(span) => text.push_str(&span.text),
            InlineContent::LineBreak => text.push('\n'),
            _ => {}
        }
    }
    text
}
