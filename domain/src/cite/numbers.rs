//! Numbers, amounts and dates by value: `1,000` is `1000`, `thirty (30)` is 30, `$1.5 million` is `USD 1,500,000`,
//! `May 5, 2021` is `5th day of May, 2021` is `2021-05-05`.

use super::words::Raw;

/// A number, amount or date.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    /// A value with the unit written beside it, if there is one.
    Value { value: Value, unit: Option<&'static str> },
    /// A date: every reading of it as (year, month, day). `05/06/2021` has two.
    Date(Vec<(u32, u32, u32)>),
}

/// An exact decimal, or digits that are no number (`12.1.3`, a telephone number).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `mantissa / 10^scale`, without trailing zeros.
    Decimal { mantissa: u128, scale: u32 },
    /// As written.
    Label(String),
}

const MONTHS: [(&str, &str); 12] = [
    ("january", "jan"),
    ("february", "feb"),
    ("march", "mar"),
    ("april", "apr"),
    ("may", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sept"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: [&str; 21] = [
    "",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];

impl Number {
    /// A name of the value that equal values share.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Value { value: Value::Decimal { mantissa, scale: 0 }, .. } => mantissa.to_string(),
            Self::Value { value: Value::Decimal { mantissa, scale }, .. } => {
                let digits = format!("{mantissa:0>width$}", width = *scale as usize + 1);
                let (whole, part) = digits.split_at(digits.len() - *scale as usize);
                format!("{whole}.{part}")
            }
            Self::Value { value: Value::Label(label), .. } => label.clone(),
            Self::Date(readings) => readings.first().map(|(y, m, d)| format!("{y}-{m}-{d}")).unwrap_or_default(),
        }
    }

    /// True when both are the same value in units that do not contradict each other.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value { value: a, unit: u }, Self::Value { value: b, unit: v }) => {
                a == b && (u.is_none() || v.is_none() || u == v)
            }
            (Self::Date(a), Self::Date(b)) => a.iter().any(|reading| b.contains(reading)),
            (Self::Value { value: Value::Decimal { mantissa, scale: 0 }, unit: None }, Self::Date(readings)) => {
                readings.iter().any(|(y, _, d)| [*y, *d].map(u128::from).contains(mantissa))
            }
            _ => false,
        }
    }

    /// True when `next` in brackets only repeats this number.
    pub(super) fn repeats(&self, next: &Self) -> bool {
        matches!((self, next), (Self::Value { value: a, .. }, Self::Value { value: b, .. }) if a == b)
    }

    /// Takes the unit of a number that repeats this one.
    pub(super) fn take_unit(&mut self, next: Self) {
        if let (Self::Value { unit, .. }, Self::Value { unit: Some(found), .. }) = (self, next) {
            unit.get_or_insert(found);
        }
    }
}

type Raws<'a> = &'a [(Raw, bool)];

/// The number that begins at the first of `raws`, and how many of them it takes. `first` when a sentence begins there.
pub(super) fn read(raws: Raws<'_>, first: bool) -> Option<(Number, usize)> {
    if let Some(date) = date(raws) {
        return Some(date);
    }
    let currency = currency(raws);
    let skipped = currency.map_or(0, |(_, taken)| taken);
    let (value, taken) = match raws.get(skipped)? {
        (Raw::Digits(digits), _) => digits_value(digits, &raws[skipped + 1..]),
        (Raw::Word(_), _) if currency.is_none() => words_value(raws, first)?,
        _ => return None,
    };
    let mut taken = skipped + taken;
    let unit = currency.map(|(unit, _)| unit).or_else(|| unit(&raws[taken..]));
    if matches!(raws.get(taken), Some((Raw::Sign('%'), _))) {
        taken += 1;
    }
    Some((Number::Value { value, unit }, taken))
}

fn currency(raws: Raws<'_>) -> Option<(&'static str, usize)> {
    let mut taken = 0;
    let mut found = None;
    while let Some((raw, _)) = raws.get(taken) {
        let unit = match raw {
            Raw::Sign(sign) => sign_unit(*sign),
            Raw::Word(word) if found.is_none() || word == "S" => match word.to_lowercase().as_str() {
                "usd" | "us" => Some("$"),
                "eur" => Some("€"),
                "gbp" => Some("£"),
                _ => None,
            },
            _ => None,
        };
        let Some(unit) = unit else { break };
        found = Some(unit);
        taken += 1;
    }
    found.filter(|_| matches!(raws.get(taken), Some((Raw::Digits(_), _)))).map(|unit| (unit, taken))
}

fn sign_unit(sign: char) -> Option<&'static str> {
    match sign {
        '$' => Some("$"),
        '€' => Some("€"),
        '£' => Some("£"),
        '¥' => Some("¥"),
        _ => None,
    }
}

/// The value of a group of digits with what is glued to it or multiplies it, and how many raws that takes in all.
fn digits_value(digits: &str, rest: Raws<'_>) -> (Value, usize) {
    let Some(value) = decimal(digits) else { return (Value::Label(digits.to_owned()), 1) };
    if let Some((Raw::Word(word), glued)) = rest.first() {
        let word = word.to_lowercase();
        if *glued && matches!(word.as_str(), "st" | "nd" | "rd" | "th") {
            return (value, 2);
        }
        let shift = match word.as_str() {
            "thousand" => 3,
            "million" => 6,
            "billion" => 9,
            "k" if *glued => 3,
            "m" | "mm" if *glued => 6,
            "bn" if *glued => 9,
            _ => 0,
        };
        if shift > 0
            && let Some(value) = times(&value, shift)
        {
            return (value, 2);
        }
    }
    (value, 1)
}

fn decimal(digits: &str) -> Option<Value> {
    let bare = digits.replace(',', "");
    let (whole, part) = bare.split_once('.').unwrap_or((&bare, ""));
    if part.contains('.') || whole.len() + part.len() > 30 {
        return None;
    }
    let mantissa: u128 = format!("{whole}{part}").parse().ok()?;
    Some(normal(mantissa, u32::try_from(part.len()).ok()?))
}

fn normal(mut mantissa: u128, mut scale: u32) -> Value {
    while scale > 0 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        scale -= 1;
    }
    Value::Decimal { mantissa, scale }
}

fn times(value: &Value, shift: u32) -> Option<Value> {
    let Value::Decimal { mantissa, scale } = value else { return None };
    let up = shift.saturating_sub(*scale);
    Some(normal(mantissa.checked_mul(10_u128.checked_pow(up)?)?, scale.saturating_sub(shift)))
}

/// A number in words: `twenty-five`, `one hundred and twenty`, `five million`, `thirtieth`.
fn words_value(raws: Raws<'_>, first: bool) -> Option<(Value, usize)> {
    let (mut total, mut group) = (0_u128, 0_u128);
    let (mut taken, mut at) = (0, 0);
    let mut last = Step::Nothing;
    while let Some((raw, _)) = raws.get(at) {
        let word = match raw {
            Raw::Word(word) => word.to_lowercase(),
            Raw::Sign('-') if taken > 0 => {
                at += 1;
                continue;
            }
            _ => break,
        };
        if word == "and" && matches!(last, Step::Hundred | Step::Thousand) {
            at += 1;
            continue;
        }
        let Some((step, value)) = number_word(&word) else { break };
        match step {
            Step::Small | Step::Ordinal if matches!(last, Step::Small | Step::Ordinal) => break,
            Step::Ten if matches!(last, Step::Small | Step::Ten) => break,
            Step::Hundred | Step::Thousand if taken == 0 => return None,
            Step::Small | Step::Ordinal | Step::Ten => group += value,
            Step::Hundred => group = group.saturating_mul(100),
            Step::Thousand => {
                total = total.saturating_add(group.saturating_mul(value));
                group = 0;
            }
            Step::Nothing => {}
        }
        last = step;
        at += 1;
        taken = at;
        if step == Step::Ordinal || taken > 40 {
            break;
        }
    }
    if taken == 0 || (taken == 1 && is_no_number(raws, first)) {
        return None;
    }
    Some((normal(total.saturating_add(group), 0), taken))
}

/// `one`, `first` and `second` where they count nothing: `one of`, `one or more`, `no one`, `First, …`.
fn is_no_number(raws: Raws<'_>, first: bool) -> bool {
    let (Some((Raw::Word(word), _)), next) = (raws.first(), raws.get(1)) else { return false };
    match word.to_lowercase().as_str() {
        "one" => match next {
            Some((Raw::Word(next), _)) => {
                matches!(next.to_lowercase().as_str(), "of" | "or" | "another" | "and" | "party")
            }
            _ => false,
        },
        "first" | "second" | "third" => {
            first || matches!(next, Some((Raw::Word(next), _)) if next.to_lowercase().starts_with("part"))
        }
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Small,
    Ordinal,
    Ten,
    Hundred,
    Thousand,
}

fn number_word(word: &str) -> Option<(Step, u128)> {
    let place = |list: &[&str]| list.iter().position(|entry| *entry == word).map(|at| at as u128);
    if word.is_empty() {
        return None;
    }
    if let Some(value) = place(&SMALL) {
        return Some((Step::Small, value));
    }
    if let Some(value) = place(&TENS) {
        return Some((Step::Ten, value * 10));
    }
    if let Some(value) = place(&ORDINALS) {
        return Some((Step::Ordinal, value));
    }
    match word {
        "thirtieth" => Some((Step::Ordinal, 30)),
        "hundred" => Some((Step::Hundred, 100)),
        "thousand" => Some((Step::Thousand, 1_000)),
        "million" => Some((Step::Thousand, 1_000_000)),
        "billion" => Some((Step::Thousand, 1_000_000_000)),
        _ => None,
    }
}

/// Words that may stand between a number and its unit.
const BETWEEN: [&str; 14] = [
    "business",
    "calendar",
    "consecutive",
    "full",
    "working",
    "additional",
    "successive",
    "u",
    "s",
    "us",
    "united",
    "states",
    "percentage",
    "whole",
];

/// The unit written after a number, brackets and repetitions skipped.
fn unit(rest: Raws<'_>) -> Option<&'static str> {
    let mut words = 0;
    for (raw, _) in rest.iter().take(8) {
        match raw {
            Raw::Sign('%') => return Some("%"),
            Raw::Word(word) => {
                let word = word.to_lowercase();
                let word = word.strip_suffix("'s").unwrap_or(&word);
                if let Some(unit) = unit_word(word) {
                    return Some(unit);
                }
                words += 1;
                if !BETWEEN.contains(&word) || words > 4 {
                    return None;
                }
            }
            Raw::Sign('-' | '.' | ')') => {}
            Raw::Sign(_) | Raw::Digits(_) => return None,
        }
    }
    None
}

fn unit_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "day" | "days" => "day",
        "week" | "weeks" => "week",
        "month" | "months" => "month",
        "quarter" | "quarters" => "quarter",
        "year" | "years" => "year",
        "hour" | "hours" => "hour",
        "minute" | "minutes" => "minute",
        "percent" | "percentage" | "pct" => "%",
        "dollar" | "dollars" | "usd" => "$",
        "euro" | "euros" | "eur" => "€",
        "pounds" | "gbp" => "£",
        "yen" => "¥",
        "mile" | "miles" => "mile",
        _ => return None,
    })
}

fn month(raw: Option<&(Raw, bool)>) -> Option<u32> {
    let Some((Raw::Word(word), _)) = raw else { return None };
    let word = word.to_lowercase();
    let at = MONTHS
        .iter()
        .position(|(long, short)| word == *long || word == *short || (word == "sep" && *long == "september"))?;
    u32::try_from(at).ok().map(|at| at + 1)
}

fn plain(raw: Option<&(Raw, bool)>, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let Some((Raw::Digits(digits), _)) = raw else { return None };
    digits.parse().ok().filter(|n| range.contains(n))
}

const DAYS: std::ops::RangeInclusive<u32> = 1..=31;
const YEARS: std::ops::RangeInclusive<u32> = 1000..=2999;

fn date(raws: Raws<'_>) -> Option<(Number, usize)> {
    numeric_date(raws).or_else(|| written_date(raws))
}

/// `2021-05-05`, `05/06/2021`, `5.6.2021` (which lexes as one group of digits).
fn numeric_date(raws: Raws<'_>) -> Option<(Number, usize)> {
    let Some((Raw::Digits(digits), _)) = raws.first() else { return None };
    let dotted: Vec<u32> = digits.split('.').filter_map(|part| part.parse().ok()).collect();
    let (parts, taken) = if let [a, b, c] = dotted[..] {
        ([a, b, c], 1)
    } else {
        let [_, (Raw::Sign(one), true), (Raw::Digits(b), true), (Raw::Sign(two), true), (Raw::Digits(c), true), ..] =
            raws
        else {
            return None;
        };
        if one != two || !matches!(one, '-' | '/') {
            return None;
        }
        ([digits.parse().ok()?, b.parse().ok()?, c.parse().ok()?], 5)
    };
    let readings: Vec<_> = match parts {
        [y, m, d] if YEARS.contains(&y) => vec![(y, m, d)],
        [a, b, y] if YEARS.contains(&y) || (taken == 5 && y < 100) => {
            let year = if y >= 100 {
                y
            } else if y < 50 {
                2000 + y
            } else {
                1900 + y
            };
            vec![(year, a, b), (year, b, a)]
        }
        _ => return None,
    };
    let sound: Vec<_> = readings.into_iter().filter(|(_, m, d)| (1..=12).contains(m) && DAYS.contains(d)).collect();
    (!sound.is_empty()).then_some((Number::Date(sound), taken))
}

/// `May 5, 2021`, `5 May 2021`, `5th day of May, 2021`.
fn written_date(raws: Raws<'_>) -> Option<(Number, usize)> {
    let mut at = 0;
    let word = |at: usize, words: &[&str]| matches!(raws.get(at), Some((Raw::Word(w), _)) if words.contains(&w.to_lowercase().as_str()));
    let day = |at: &mut usize| {
        let day = plain(raws.get(*at), DAYS)?;
        *at += 1;
        if word(*at, &["st", "nd", "rd", "th"]) {
            *at += 1;
        }
        Some(day)
    };
    let (month_found, day_found) = if let Some(found) = month(raws.first()) {
        at += 1;
        if matches!(raws.get(at), Some((Raw::Sign('.'), _))) {
            at += 1;
        }
        (found, day(&mut at)?)
    } else {
        let found = day(&mut at)?;
        while word(at, &["day", "of"]) {
            at += 1;
        }
        let month_found = month(raws.get(at))?;
        at += 1;
        (month_found, found)
    };
    while matches!(raws.get(at), Some((Raw::Sign(',' | '.'), _))) || word(at, &["of", "in", "the", "year"]) {
        at += 1;
    }
    let year = plain(raws.get(at), YEARS)?;
    Some((Number::Date(vec![(year, month_found, day_found)]), at + 1))
}
