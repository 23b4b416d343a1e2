//! Newline-delimited JSON: an object a line. `path`, `source`, `control_number`, `parent`, `custodian` and `sha256` mean what
//! [`Item`](super::Item) says; other names of columns are understood as in delimited files; `fields` is an object of further ones.

use serde_json::{Map, Value};

use super::{
    LoadFileError, Record, Take,
    characters::Characters,
    columns::{Draft, Role},
    give, lines,
};

pub(super) fn read(characters: &mut Characters<'_>, take: &mut Take<'_>) -> Result<(), LoadFileError> {
    while let Some((number, line)) = lines::next(characters)? {
        let record = match line {
            lines::Line::TooLong => Record::Refused("the line is longer than 4 MiB"),
            lines::Line::Text(line) if line.trim().is_empty() => continue,
            lines::Line::Text(line) => match serde_json::from_str::<Map<String, Value>>(&line) {
                Ok(object) => record(object),
                Err(_) => Record::Refused("the line is not a JSON object"),
            },
        };
        give(take, number, record)?;
    }
    Ok(())
}

fn record(object: Map<String, Value>) -> Record {
    let mut draft = Draft::default();
    for (name, value) in object {
        match value {
            Value::Object(fields) if name == "fields" => {
                for (name, value) in fields {
                    draft.take(Role::Other, &name, &written(&value));
                }
            }
            value => draft.take(Role::of(&name), &name, &written(&value)),
        }
    }
    draft.finish().map_or(Record::Refused("the record says neither path nor source"), Record::Item)
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}
