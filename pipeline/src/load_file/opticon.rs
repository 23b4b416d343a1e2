//! Opticon: a line a page image, `control number, volume, path, Y for a document's first page, box, folder, pages`. The page
//! images of a document belong to the document whose first page begins it.

use super::{Item, LoadFileError, Record, Take, characters::Characters, give, lines};

/// Lines looked at to tell an Opticon file.
const LOOKED_AT: usize = 5;

/// True when the first lines are page images.
pub(super) fn is_like(beginning: &str) -> bool {
    let mut lines = beginning.lines().filter(|line| !line.trim().is_empty()).take(LOOKED_AT).peekable();
    lines.peek().is_some() && lines.all(|line| page(line).is_some())
}

struct Page<'a> {
    number: &'a str,
    volume: &'a str,
    path: &'a str,
    begins: bool,
    pages: &'a str,
}

fn page(line: &str) -> Option<Page<'_>> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [number, volume, path, begins, _box, _folder, pages] = fields[..] else { return None };
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())?;
    let image = ["tif", "tiff", "jpg", "jpeg", "pdf", "png"].contains(&ending.as_str());
    (image && !number.is_empty() && matches!(begins, "Y" | "y" | "")).then_some(Page {
        number,
        volume,
        path,
        begins: !begins.is_empty(),
        pages,
    })
}

pub(super) fn read(characters: &mut Characters<'_>, take: &mut Take<'_>) -> Result<(), LoadFileError> {
    let mut document: Option<String> = None;
    while let Some((number, line)) = lines::next(characters)? {
        let lines::Line::Text(line) = line else {
            give(take, number, Record::Refused("the line is longer than 4 MiB"))?;
            continue;
        };
        if line.trim().is_empty() {
            continue;
        }
        let Some(page) = page(&line) else {
            give(take, number, Record::Refused("the line is not a page of seven fields with an image's path"))?;
            continue;
        };
        if page.begins {
            document = Some(page.number.to_owned());
        }
        let parent = document.clone().filter(|first| first != page.number);
        let said = [("Volume", page.volume), ("Pages", page.pages)];
        let fields = said.iter().filter(|(_, value)| !value.is_empty());
        let item = Item {
            path: page.path.to_owned(),
            control_number: Some(page.number.to_owned()),
            parent,
            fields: fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Item::default()
        };
        give(take, number, Record::Item(item))?;
    }
    Ok(())
}
