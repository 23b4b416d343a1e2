//! Business cards (RFC 6350; vCard 2.1 and 3.0): each card a heading with its name and a line for each thing it says.

use super::content_lines::{Line, lines};
use crate::compose::Composer;

pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let mut card: Vec<Line> = Vec::new();
    for line in lines(bytes) {
        let ends = matches!(line.name.as_str(), "BEGIN" | "END") && line.value.trim().eq_ignore_ascii_case("VCARD");
        if ends {
            write(&card, composer);
            card.clear();
        } else {
            card.push(line);
        }
    }
    // A card whose end was cut off.
    write(&card, composer);
}

fn write(card: &[Line], composer: &mut Composer) {
    if card.is_empty() {
        return;
    }
    let named = |name: &str| card.iter().find(|line| line.name == name).map(Line::parts);
    let title = named("FN").or_else(|| named("N")).or_else(|| named("ORG")).filter(|title| !title.is_empty());
    if let Some(title) = title {
        composer.push_heading(1, &title);
        composer.metadata.title.get_or_insert(title);
    }
    for line in card {
        let value = match line.name.as_str() {
            "FN" | "VERSION" | "REV" | "PRODID" | "UID" | "SORT-STRING" => continue,
            // Pictures and sounds; what is linked is text.
            "PHOTO" | "LOGO" | "SOUND" | "KEY" if !line.value.contains("://") => continue,
            _ if line.parameter("ENCODING").is_some_and(|encoding| encoding.to_ascii_uppercase().starts_with('B')) => {
                continue;
            }
            "N" | "ADR" | "ORG" => line.parts(),
            _ => line.text(),
        };
        let kind = line.parameter("TYPE").filter(|_| matches!(line.name.as_str(), "TEL" | "EMAIL" | "ADR" | "URL"));
        let kind = kind.map(|kind| format!(" ({})", kind.to_ascii_lowercase())).unwrap_or_default();
        if !value.trim().is_empty() {
            composer.push(&format!("{}{kind}: {}\n", label(&line.name), value.trim()));
        }
    }
    composer.push("\n");
}

/// What a property is called in plain words; its own name when it is none of the usual.
fn label(name: &str) -> &str {
    match name {
        "N" => "Name",
        "NICKNAME" => "Nickname",
        "ORG" => "Organization",
        "TITLE" => "Title",
        "ROLE" => "Role",
        "TEL" => "Telephone",
        "EMAIL" => "E-mail",
        "ADR" | "LABEL" => "Address",
        "URL" => "Link",
        "BDAY" => "Birthday",
        "NOTE" => "Note",
        "CATEGORIES" => "Categories",
        "PHOTO" => "Picture",
        other => other,
    }
}
