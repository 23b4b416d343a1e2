//! Dates in queries: a year, a month or a day, in UTC, alone, compared, or as an inclusive range.

use time::{Date, Month};

use super::{Node, QueryError, lexer::error};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Parses the value of `date:`, which starts at scalar `at` of the query.
pub(super) fn parse(text: &str, at: usize) -> Result<Node, QueryError> {
    if let Some((from, until)) = text.split_once("..") {
        let from_bound = if from.is_empty() { None } else { Some(period(from, at)?.0) };
        let until_at = at + from.chars().count() + 2;
        let until_bound = if until.is_empty() { None } else { Some(period(until, until_at)?.1) };
        if from_bound.is_none() && until_bound.is_none() {
            return error(at, "a date range needs at least one end, as date:2024-01-01..2024-12-31");
        }
        if from_bound.zip(until_bound).is_some_and(|(from, until)| from >= until) {
            return error(at, "this date range ends before it begins; write the earlier date first");
        }
        return Ok(Node::Date { from: from_bound, until: until_bound });
    }
    let operator = text.len() - text.trim_start_matches(['<', '>', '=']).len();
    let (start, end) = period(&text[operator..], at + operator)?;
    match &text[..operator] {
        "" | "=" => Ok(Node::Date { from: Some(start), until: Some(end) }),
        ">=" => Ok(Node::Date { from: Some(start), until: None }),
        ">" => Ok(Node::Date { from: Some(end), until: None }),
        "<=" => Ok(Node::Date { from: None, until: Some(end) }),
        "<" => Ok(Node::Date { from: None, until: Some(start) }),
        _ => error(at, "dates are compared with <, <=, > or >="),
    }
}

/// First moment of a year, month or day, and the first moment after it.
fn period(text: &str, at: usize) -> Result<(i64, i64), QueryError> {
    let Some((first, next)) = days(text) else {
        return error(at, "this is not a date; write 2024, 2024-03 or 2024-03-31");
    };
    Ok((micros(first), micros(next)))
}

fn days(text: &str) -> Option<(Date, Date)> {
    let mut parts = text.split('-');
    let year: i32 = number(parts.next()?, 4)?;
    let (month, day) = (parts.next(), parts.next());
    if parts.next().is_some() || year < 1 {
        return None;
    }
    let Some(month) = month else {
        return Some((date(year, 1, 1)?, date(year + 1, 1, 1)?));
    };
    let month: i32 = number(month, 2)?;
    let Some(day) = day else {
        let next = if month == 12 { date(year + 1, 1, 1)? } else { date(year, month + 1, 1)? };
        return Some((date(year, month, 1)?, next));
    };
    let first = date(year, month, number(day, 2)?)?;
    Some((first, first.next_day()?))
}

fn number(text: &str, digits: usize) -> Option<i32> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn date(year: i32, month: i32, day: i32) -> Option<Date> {
    // The year after 9999 is only ever the end of a range.
    if year > 9999 {
        return Some(Date::MAX);
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
}

fn micros(date: Date) -> i64 {
    date.midnight().assume_utc().unix_timestamp().saturating_mul(MICROS_PER_SECOND)
}
