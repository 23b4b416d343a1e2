//! Cuts a query into tokens, each with the place where it stands.

use super::{FIELD_NAMES, QueryError};

/// One piece of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// `subject:` before its value.
    Field(String),
    /// A bare word; with `star`, a prefix.
    Word {
        text: String,
        star: bool,
    },
    /// A quoted phrase; with `star`, its last word is a prefix.
    Phrase {
        text: String,
        star: bool,
    },
}

/// A token and the scalar where it starts.
pub(super) type Placed = (Token, usize);

/// An error at a scalar of the query.
pub(super) fn error<T>(at: usize, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError { at: u32::try_from(at).unwrap_or(u32::MAX), message: message.into() })
}

/// Cuts `chars` into tokens.
pub(super) fn lex(chars: &[char]) -> Result<Vec<Placed>, QueryError> {
    let mut tokens: Vec<Placed> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        match c {
            _ if c.is_whitespace() => at += 1,
            '(' => {
                tokens.push((Token::Open, at));
                at += 1;
            }
            ')' => {
                tokens.push((Token::Close, at));
                at += 1;
            }
            _ if is_quote(c) => {
                let (token, next) = phrase(chars, at)?;
                tokens.push((token, at));
                at = next;
            }
            '-' if chars.get(at + 1).is_some_and(|next| starts_operand(*next)) => {
                tokens.push((Token::Not, at));
                at += 1;
            }
            _ => {
                let (token, next) = word(chars, at)?;
                tokens.push((token, at));
                at = next;
            }
        }
    }
    Ok(tokens)
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '«' | '»')
}

fn starts_operand(c: char) -> bool {
    c.is_alphanumeric() || c == '(' || is_quote(c)
}

/// A phrase that opens at `open`.
fn phrase(chars: &[char], open: usize) -> Result<(Token, usize), QueryError> {
    let start = open + 1;
    let Some(length) = chars[start..].iter().position(|c| is_quote(*c)) else {
        return error(open, "this quotation mark is never closed; add one at the end of the phrase");
    };
    let mut text: String = chars[start..start + length].iter().collect();
    let star = text.ends_with('*');
    if star {
        text.pop();
    }
    if let Some(inside) = text.chars().position(|c| c == '*') {
        return error(start + inside, "a star inside a phrase works only at its very end");
    }
    Ok((Token::Phrase { text, star }, start + length + 1))
}

/// A word, an operator, or a field with its colon, that starts at `start`.
fn word(chars: &[char], start: usize) -> Result<(Token, usize), QueryError> {
    let mut end = start;
    while let Some(&c) = chars.get(end) {
        if c.is_whitespace() || matches!(c, '(' | ')') || is_quote(c) {
            break;
        }
        end += 1;
        // The first colon after letters ends a field's name.
        if c == ':' && is_name(&chars[start..end - 1]) {
            return field(chars, start, end);
        }
    }
    let text: String = chars[start..end].iter().collect();
    let token = match text.as_str() {
        "AND" => Token::And,
        "OR" => Token::Or,
        "NOT" => Token::Not,
        _ => return Ok((starred(text, start)?, end)),
    };
    Ok((token, end))
}

/// A word with or without its star.
fn starred(text: String, start: usize) -> Result<Token, QueryError> {
    let Some(star) = text.chars().position(|c| c == '*') else {
        return Ok(Token::Word { text, star: false });
    };
    if !text.chars().take(star).any(char::is_alphanumeric) {
        return error(start + star, "a word cannot begin with a star; write the beginning of the word, then the star");
    }
    if text.chars().skip(star).any(char::is_alphanumeric) {
        return error(start + star, "a star works only at the end of a word");
    }
    let text = text.chars().take(star).collect();
    Ok(Token::Word { text, star: true })
}

fn is_name(chars: &[char]) -> bool {
    !chars.is_empty() && chars.iter().all(|c| c.is_ascii_alphabetic() || *c == '_')
}

fn field(chars: &[char], start: usize, end: usize) -> Result<(Token, usize), QueryError> {
    let name: String = chars[start..end - 1].iter().collect::<String>().to_ascii_lowercase();
    if !FIELD_NAMES.contains(&name.as_str()) {
        let known = FIELD_NAMES.join(", ");
        return error(
            start,
            format!("there is no field `{name}`; fields are {known}; put text that holds a colon in quotes"),
        );
    }
    match chars.get(end) {
        Some(c) if !c.is_whitespace() && *c != ')' => Ok((Token::Field(name), end)),
        _ => error(end, format!("`{name}:` needs a value right after the colon")),
    }
}
