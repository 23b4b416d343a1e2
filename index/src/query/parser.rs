//! Tokens to a query, by recursive descent with a bounded depth.

use super::{
    Field, MAX_DEPTH, MAX_LENGTH, MAX_WORDS, Node, Query, QueryError, date,
    lexer::{Placed, Token, error, lex},
};
use crate::words::words;

/// Shortest beginning of a word that may stand before a star, in scalars.
const MIN_PREFIX: usize = 2;

/// Parses a query; see [the module](super) for the syntax.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let chars: Vec<char> = text.chars().take(MAX_LENGTH + 1).collect();
    if chars.len() > MAX_LENGTH {
        return error(MAX_LENGTH, format!("the query is longer than {MAX_LENGTH} characters; shorten it"));
    }
    let mut parser = Parser { tokens: lex(&chars)?, next: 0, end: chars.len(), words: 0 };
    if parser.tokens.is_empty() {
        return error(0, "the query is empty; write at least one word");
    }
    let root = parser.either(Field::Anywhere, 0)?;
    if let Some((_, at)) = parser.peek() {
        return error(*at, "this parenthesis closes nothing; remove it, or open one before it");
    }
    match root {
        Some(root) => Ok(Query { root }),
        None => error(0, "the query has no letters or digits to search for; write at least one word"),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    words: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Placed> {
        self.tokens.get(self.next)
    }

    /// Where the next token stands, or the end of the query.
    fn place(&self) -> usize {
        self.peek().map_or(self.end, |(_, at)| *at)
    }

    /// Takes the next token if it is `token`.
    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek().is_some_and(|(next, _)| next == token);
        self.next += usize::from(found);
        found
    }

    /// `both (OR both)*`. `None` when nothing in it can be searched, as in `& –`.
    fn either(&mut self, field: Field, depth: usize) -> Result<Option<Node>, QueryError> {
        let mut nodes = Vec::new();
        loop {
            nodes.extend(self.both(field, depth)?);
            if !self.take(&Token::Or) {
                return Ok(joined(nodes, Node::Or));
            }
        }
    }

    /// `single (AND? single)*`.
    fn both(&mut self, field: Field, depth: usize) -> Result<Option<Node>, QueryError> {
        let mut nodes = Vec::new();
        nodes.extend(self.single(field, depth)?);
        loop {
            let and = self.take(&Token::And);
            let more = !matches!(self.peek(), None | Some((Token::Or | Token::Close, _)));
            if !and && !more {
                return Ok(joined(nodes, Node::And));
            }
            nodes.extend(self.single(field, depth)?);
        }
    }

    /// One operand, with its NOT and its field.
    fn single(&mut self, field: Field, depth: usize) -> Result<Option<Node>, QueryError> {
        let at = self.place();
        if depth > MAX_DEPTH {
            return error(at, format!("parentheses and NOT are nested deeper than {MAX_DEPTH}; simplify the query"));
        }
        let Some((token, _)) = self.peek().cloned() else {
            return error(at, self.missing("something must follow here; write a word, or remove the last operator"));
        };
        self.next += 1;
        match token {
            Token::Not => {
                let node = self.single(field, depth + 1)?;
                Ok(node.map(|node| Node::Not(Box::new(node))))
            }
            Token::Open => {
                if self.take(&Token::Close) {
                    return error(at, "these parentheses are empty; write a word between them");
                }
                let node = self.either(field, depth + 1)?;
                if self.take(&Token::Close) {
                    return Ok(node);
                }
                error(at, "this parenthesis is never closed; add one")
            }
            Token::Field(name) if name == "date" => self.date().map(Some),
            Token::Field(name) => {
                let field = Field::parse(&name).unwrap_or(field);
                self.single(field, depth + 1)
            }
            Token::Word { text, star } => self.words(field, &text, star, at, false),
            Token::Phrase { text, star } => self.words(field, &text, star, at, true),
            Token::And | Token::Or | Token::Close => {
                error(at, self.missing("a word is missing before this; write one, or remove the operator"))
            }
        }
    }

    /// The same message, unless a capital operator was perhaps meant as a word.
    fn missing(&self, message: &str) -> String {
        let operator = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        match operator {
            Some((Token::And | Token::Or | Token::Not, _)) => {
                format!("{message} (to search for the word itself write it in small letters)")
            }
            _ => message.to_owned(),
        }
    }

    fn date(&mut self) -> Result<Node, QueryError> {
        let at = self.place();
        let text = match self.peek() {
            Some((Token::Word { text, star: false } | Token::Phrase { text, star: false }, _)) => text.clone(),
            _ => {
                return error(
                    at,
                    "this is not a date; write date:2024, date:2024-03-31 or date:2024-01-01..2024-12-31",
                );
            }
        };
        let quoted = matches!(self.peek(), Some((Token::Phrase { .. }, _)));
        self.next += 1;
        date::parse(&text, at + usize::from(quoted))
    }

    fn words(
        &mut self,
        field: Field,
        text: &str,
        star: bool,
        at: usize,
        quoted: bool,
    ) -> Result<Option<Node>, QueryError> {
        let words: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
        let Some(last) = words.last() else {
            if quoted || field != Field::Anywhere {
                return error(at, "there are no letters or digits to search for here");
            }
            return Ok(None);
        };
        if star && last.chars().count() < MIN_PREFIX && words.len() == 1 {
            return error(at, format!("write at least {MIN_PREFIX} letters before the star"));
        }
        self.words += words.len();
        if self.words > MAX_WORDS {
            return error(at, format!("the query has more than {MAX_WORDS} words; split it"));
        }
        Ok(Some(Node::Words { field, words, prefix: star }))
    }
}

/// One node alone, several joined, none as nothing.
fn joined(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Option<Node> {
    match nodes.len() {
        0 | 1 => nodes.pop(),
        _ => Some(join(nodes)),
    }
}
