//! What a camera or a scanner wrote beside the picture (Exif 2.32, CIPA DC-008): when it was taken, by whom, with what and
//! where. A time without a zone is taken as UTC, as those of archives are.

use std::io::Cursor;

use domain::{clock::Timestamp, text::Metadata};
use exif::{Context, DateTime, Exif, In, Rational, Reader, Tag, Value};
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use crate::decode;

/// Where Windows keeps what people typed in its file properties, as UTF-16 (no standard says so).
const TITLE: Tag = Tag(Context::Tiff, 0x9c9b);
const COMMENT: Tag = Tag(Context::Tiff, 0x9c9c);
const AUTHOR: Tag = Tag(Context::Tiff, 0x9c9d);

/// Puts down what the picture says about itself. A picture without Exif, or with damaged Exif, says what can be read of it.
pub(super) fn describe(bytes: &[u8], metadata: &mut Metadata) {
    let read = Reader::new().continue_on_error(true).read_from_container(&mut Cursor::new(bytes));
    let Ok(exif) = read.or_else(|error| error.distill_partial_result(|_| {})) else { return };
    let text = |tag| text(&exif, tag);
    metadata.title = text(TITLE);
    metadata.author = text(Tag::Artist).or_else(|| text(AUTHOR));
    metadata.created_at = moment(&exif, Tag::DateTimeOriginal, Tag::OffsetTimeOriginal)
        .or_else(|| moment(&exif, Tag::DateTimeDigitized, Tag::OffsetTimeDigitized));
    metadata.modified_at = moment(&exif, Tag::DateTime, Tag::OffsetTime);
    let named = [
        ("camera", camera(&exif)),
        ("gps", place(&exif)),
        ("software", text(Tag::Software)),
        ("description", text(Tag::ImageDescription)),
        ("comment", text(Tag::UserComment).or_else(|| text(COMMENT))),
        ("copyright", text(Tag::Copyright)),
    ];
    metadata.extra.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let decoded = match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(lines) => lines.iter().map(|line| decode::text(line, None)).collect::<Vec<_>>().join(" "),
        // The first eight bytes name the code (4.6.6 of the standard).
        Value::Undefined(bytes, _) => match bytes.split_at_checked(8)? {
            (b"UNICODE\0", rest) => utf16(rest, exif.little_endian()),
            (_, rest) => decode::text(rest, None).into_owned(),
        },
        Value::Byte(bytes) => utf16(bytes, true),
        _ => return None,
    };
    let clean: String = decoded.chars().map(|scalar| if scalar.is_control() { ' ' } else { scalar }).collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    (!clean.is_empty()).then_some(clean)
}

fn utf16(bytes: &[u8], little_endian: bool) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let unit = if little_endian { u16::from_le_bytes } else { u16::from_be_bytes };
    let units = pairs.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|scalar| scalar.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn moment(exif: &Exif, tag: Tag, zone: Tag) -> Option<Timestamp> {
    let ascii = |tag| match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(lines) => lines.first().cloned(),
        _ => None,
    };
    let mut found = DateTime::from_ascii(&ascii(tag)?).ok()?;
    if let Some(zone) = ascii(zone) {
        // A zone that cannot be read is as good as none.
        let _unread = found.parse_offset(&zone);
    }
    let date = Date::from_calendar_date(found.year.into(), Month::try_from(found.month).ok()?, found.day).ok()?;
    let clock = Time::from_hms(found.hour, found.minute, found.second).ok()?;
    let seconds = i32::from(found.offset.unwrap_or(0)).saturating_mul(60);
    let offset = UtcOffset::from_whole_seconds(seconds).ok()?;
    let moment = PrimitiveDateTime::new(date, clock).assume_offset(offset);
    Some(Timestamp(moment.unix_timestamp().saturating_mul(1_000_000)))
}

/// Maker and model; many models begin with the maker's name.
fn camera(exif: &Exif) -> Option<String> {
    match (text(exif, Tag::Make), text(exif, Tag::Model)) {
        (Some(make), Some(model)) if !model.to_lowercase().starts_with(&make.to_lowercase()) => {
            Some(format!("{make} {model}"))
        }
        (make, model) => model.or(make),
    }
}

/// Latitude and longitude in degrees, south and west negative.
fn place(exif: &Exif) -> Option<String> {
    let degrees = |tag, side, negative: &str, most: f64| {
        let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
        let part = |at: usize| parts.get(at).filter(|part| part.denom != 0).map(Rational::to_f64);
        let degrees = part(0)? + part(1).unwrap_or(0.0) / 60.0 + part(2).unwrap_or(0.0) / 3600.0;
        let side = text(exif, side)?;
        (degrees <= most).then_some(if side.eq_ignore_ascii_case(negative) { -degrees } else { degrees })
    };
    let latitude = degrees(Tag::GPSLatitude, Tag::GPSLatitudeRef, "S", 90.0)?;
    let longitude = degrees(Tag::GPSLongitude, Tag::GPSLongitudeRef, "W", 180.0)?;
    Some(format!("{latitude:.5}, {longitude:.5}"))
}
