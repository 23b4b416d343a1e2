//! Calendars (RFC 5545; vCalendar 1.0): what, when, where, who, entry by entry. Times keep the zone they are written in.

use domain::clock::Timestamp;

use super::content_lines::{Line, lines};
use crate::compose::Composer;

pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let mut open: Vec<String> = Vec::new();
    for line in lines(bytes) {
        match line.name.as_str() {
            "BEGIN" => {
                let kind = line.value.trim().to_ascii_uppercase();
                if is_entry(&kind) {
                    composer.end_line();
                    composer.push("\n");
                }
                open.push(kind);
            }
            "END" => {
                open.pop();
            }
            // Alarms and the rules of time zones say nothing about the matter.
            _ if open.last().is_some_and(|kind| is_entry(kind)) => entry(&line, composer),
            "METHOD" | "X-WR-CALNAME" | "X-WR-CALDESC" if open.len() == 1 => {
                composer.push(&format!("Calendar: {}\n", line.text()));
            }
            _ => {}
        }
    }
}

fn is_entry(kind: &str) -> bool {
    matches!(kind, "VEVENT" | "VTODO" | "VJOURNAL" | "VFREEBUSY")
}

fn entry(line: &Line, composer: &mut Composer) {
    let metadata = &mut composer.metadata;
    let (label, value) = match line.name.as_str() {
        "SUMMARY" => {
            metadata.subject.get_or_insert_with(|| line.text());
            ("Summary", line.text())
        }
        "ORGANIZER" => {
            metadata.from.get_or_insert_with(|| person(line));
            ("Organizer", person(line))
        }
        "ATTENDEE" => {
            let attendee = person(line);
            if !metadata.to.contains(&attendee) && metadata.to.len() < MOST_PEOPLE {
                metadata.to.push(attendee.clone());
            }
            let answer = line.parameter("PARTSTAT").map(|answer| format!(" ({})", answer.to_ascii_lowercase()));
            ("Attendee", attendee + &answer.unwrap_or_default())
        }
        "DTSTART" => ("Start", time(line)),
        "DTEND" => ("End", time(line)),
        "DUE" => ("Due", time(line)),
        "COMPLETED" => ("Completed", time(line)),
        "RECURRENCE-ID" => ("Occurrence", time(line)),
        "DURATION" => ("Duration", line.text()),
        "LOCATION" => ("Location", line.text()),
        "STATUS" => ("Status", line.text()),
        "RRULE" => ("Repeats", line.value.clone()),
        "CATEGORIES" => ("Categories", line.text()),
        "URL" => ("Link", line.text()),
        "ATTACH" if line.parameter("ENCODING").is_none() => ("Attachment", line.text()),
        "FREEBUSY" => ("Busy", line.text()),
        "DESCRIPTION" => ("Description", line.text()),
        "COMMENT" => ("Comment", line.text()),
        "CREATED" => {
            metadata.created_at = metadata.created_at.or_else(|| instant(&line.value));
            return;
        }
        "LAST-MODIFIED" | "DTSTAMP" => {
            metadata.modified_at = metadata.modified_at.or_else(|| instant(&line.value));
            return;
        }
        _ => return,
    };
    if !value.trim().is_empty() {
        composer.push(&format!("{label}: {}\n", value.trim()));
    }
}

/// People beyond this many stand in the text only.
const MOST_PEOPLE: usize = 1000;

/// `Name <address>`, or whichever part there is.
fn person(line: &Line) -> String {
    let value = line.text();
    let bare = value.trim();
    let address = if bare.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")) {
        bare.get(7..).unwrap_or_default()
    } else {
        bare
    };
    match line.parameter("CN").map(str::trim).filter(|name| !name.is_empty() && *name != address) {
        Some(name) if address.is_empty() => name.to_owned(),
        Some(name) => format!("{name} <{address}>"),
        None => address.to_owned(),
    }
}

/// A date, or a time with its zone; as written when it is neither.
fn time(line: &Line) -> String {
    let value = line.value.trim();
    let Some(date) = value.get(..8).filter(|date| date.bytes().all(|byte| byte.is_ascii_digit())) else {
        return value.to_owned();
    };
    let part = |from: usize, to: usize| value.get(from..to).unwrap_or("00");
    let date = format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8)).replace("--", date);
    if value.get(8..9) != Some("T") {
        return date;
    }
    let zone = match line.parameter("TZID") {
        Some(zone) => format!(" ({zone})"),
        None if value.ends_with('Z') => " UTC".to_owned(),
        None => String::new(),
    };
    format!("{date} {}:{}{zone}", part(9, 11), part(11, 13))
}

/// A time in UTC as a point in time.
fn instant(value: &str) -> Option<Timestamp> {
    let part = |from: usize, to: usize| value.trim().get(from..to);
    let whole = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(9, 11)?,
        part(11, 13)?,
        part(13, 15)?
    );
    Timestamp::parse(&whole)
}
