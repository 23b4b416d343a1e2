//! Delimited text with a header line. Concordance writes `þ` around fields, U+0014 between them and `®` for a line's end within
//! a field; everything else is CSV (RFC 4180) with whatever delimiter the header shows.

use super::{
    Kind, LoadFileError, MOST_COLUMNS, MOST_FIELD, MOST_RECORD, Record, Take,
    characters::Characters,
    columns::{Draft, Role},
    give, malformed,
};

/// Concordance's delimiter.
pub(super) const CONCORDANCE: char = '\u{14}';
/// Concordance's quote.
const THORN: char = 'þ';
/// Stands for a line's end in a field of Concordance.
const LINE_END: char = '®';

/// Tells delimiter and quote by the header line.
pub(super) fn kind(beginning: &str) -> Kind {
    let header = beginning.trim_start().lines().next().unwrap_or_default();
    if header.contains(CONCORDANCE) {
        return Kind::Delimited { delimiter: CONCORDANCE, quote: Some(THORN) };
    }
    let quote = ['"', THORN, '^', '\''].into_iter().find(|quote| header.starts_with(*quote));
    let outside: String = match quote {
        Some(quote) => header.split(quote).step_by(2).collect(),
        None => header.to_owned(),
    };
    let count = |delimiter: &char| outside.chars().filter(|c| c == delimiter).count();
    // Of equals, max_by_key takes the last: the comma.
    let delimiter = ['~', '|', ';', '\t', ','].into_iter().max_by_key(count).unwrap_or(',');
    Kind::Delimited { delimiter, quote: quote.or(Some('"')) }
}

pub(super) fn read(
    characters: &mut Characters<'_>,
    delimiter: char,
    quote: Option<char>,
    take: &mut Take<'_>,
) -> Result<Vec<String>, LoadFileError> {
    let mut fields = Fields { characters, delimiter, quote };
    let Some(Row::Fields(columns)) = fields.row()? else {
        return Err(malformed(1, "there is no header line; the first line must name the columns"));
    };
    let roles: Vec<Role> = columns.iter().map(|name| Role::of(name)).collect();
    if roles.iter().all(|role| matches!(role, Role::Other | Role::Custodian | Role::Sha256 | Role::Parent)) {
        return Err(malformed(
            1,
            "no column says where the files lie; name one of them path, NativeFile, TextPath, source or FileName",
        ));
    }
    loop {
        let line = fields.characters.line;
        let Some(row) = fields.row()? else { return Ok(columns) };
        let record = match row {
            Row::Blank => continue,
            Row::TooLong => {
                Record::Refused("the record is longer than 4 MiB, or a field than 1 MiB; is a quote missing?")
            }
            Row::Fields(values) if values.len() > columns.len() => {
                Record::Refused("the record has more fields than the header has columns")
            }
            Row::Fields(values) => record(&columns, &roles, &values),
        };
        give(take, line, record)?;
    }
}

fn record(columns: &[String], roles: &[Role], values: &[String]) -> Record {
    let mut draft = Draft::default();
    for ((name, role), value) in columns.iter().zip(roles).zip(values) {
        draft.take(*role, name, value);
    }
    draft.finish().map_or(Record::Refused("the record does not say where its file lies"), Record::Item)
}

enum Row {
    Fields(Vec<String>),
    Blank,
    TooLong,
}

struct Fields<'a, 'b> {
    characters: &'a mut Characters<'b>,
    delimiter: char,
    quote: Option<char>,
}

/// What a field ended with.
#[derive(PartialEq)]
enum End {
    Field,
    Row,
}

impl Fields<'_, '_> {
    /// The next row; `None` behind the last.
    fn row(&mut self) -> Result<Option<Row>, LoadFileError> {
        if self.characters.peek()?.is_none() {
            return Ok(None);
        }
        let (mut row, mut size, mut too_long) = (Vec::new(), 0_usize, false);
        loop {
            let (field, end, fits) = self.field()?;
            size = size.saturating_add(field.len());
            too_long |= !fits || size > MOST_RECORD || row.len() >= MOST_COLUMNS;
            if !too_long {
                row.push(field);
            }
            if end == End::Row {
                break;
            }
        }
        if too_long {
            return Ok(Some(Row::TooLong));
        }
        let blank = matches!(row.as_slice(), [only] if only.trim().is_empty());
        Ok(Some(if blank { Row::Blank } else { Row::Fields(row) }))
    }

    /// The next field, what it ended with, and whether it was short enough to be kept.
    fn field(&mut self) -> Result<(String, End, bool), LoadFileError> {
        let mut field = String::new();
        let (mut quoted, mut fits) = (false, true);
        if self.quote.is_some() && self.characters.peek()? == self.quote {
            self.characters.next()?;
            quoted = true;
        }
        loop {
            let Some(next) = self.characters.next()? else { return Ok((field, End::Row, fits)) };
            let ends = if quoted && Some(next) == self.quote {
                match self.characters.peek()? {
                    // A doubled quote is one that belongs to the text; a lone one within the text does too.
                    Some(after) if Some(after) == self.quote => {
                        self.characters.next()?;
                        false
                    }
                    Some(after) if after == self.delimiter || after == '\n' || after == '\r' => {
                        quoted = false;
                        continue;
                    }
                    None => return Ok((field, End::Row, fits)),
                    Some(_) => false,
                }
            } else {
                !quoted && (next == self.delimiter || next == '\n')
            };
            if ends {
                return Ok((field, if next == '\n' { End::Row } else { End::Field }, fits));
            }
            if field.len() >= MOST_FIELD {
                fits = false;
            } else {
                let concordance = self.delimiter == CONCORDANCE && next == LINE_END;
                field.push(if concordance { '\n' } else { next });
            }
        }
    }
}
