//! Cursor pagination: every list is read by keyset, newest or first page on, and continued by an opaque cursor. No
//! offsets: a page stays right while rows are added.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Rows per page when the caller does not say.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most rows a page may hold.
pub const MAX_LIMIT: u32 = 500;

/// One page of a list and where the next begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Pass as `cursor` to get the next page; absent on the last one.
    pub next_cursor: Option<String>,
}

/// What a caller asks of a list.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PageQuery {
    /// The `next_cursor` of the page before; absent for the first page.
    pub cursor: Option<String>,
    /// Rows wanted, 1 to [`MAX_LIMIT`]; [`DEFAULT_LIMIT`] when absent.
    pub limit: Option<u32>,
}

/// A cursor that this list did not give out, or a limit out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The cursor does not decode to this list's key.
    #[error("the cursor is not one this list gave out; start again without a cursor")]
    Cursor,
    /// The limit is zero or above the most allowed.
    #[error("limit must be between 1 and {MAX_LIMIT}")]
    Limit,
}

impl PageQuery {
    /// Rows wanted, checked.
    pub fn limit(&self) -> Result<u32, PageError> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(n) if (1..=MAX_LIMIT).contains(&n) => Ok(n),
            Some(_) => Err(PageError::Limit),
        }
    }

    /// The decoded key of the last row seen, if a cursor was given.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, PageError> {
        self.cursor.as_deref().map(decode).transpose()
    }
}

impl<T> Page<T> {
    /// Builds a page from up to `limit + 1` rows (the extra one only tells that there is more); `key` names a row's
    /// place in the order.
    pub fn of<K: Serialize>(mut rows: Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(|row| encode(&key(row))) } else { None };
        Self { items: rows, next_cursor }
    }

    /// The same page with every row changed by `f`.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

/// Encodes a key as an opaque, URL-safe cursor (hexadecimal JSON).
pub fn encode<K: Serialize>(key: &K) -> String {
    use std::fmt::Write as _;
    serde_json::to_vec(key).unwrap_or_default().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Decodes a cursor made by [`encode`].
pub fn decode<K: DeserializeOwned>(cursor: &str) -> Result<K, PageError> {
    if !cursor.len().is_multiple_of(2) || cursor.len() > 2_048 {
        return Err(PageError::Cursor);
    }
    let bytes: Option<Vec<u8>> = (0..cursor.len())
        .step_by(2)
        .map(|i| cursor.get(i..i + 2).and_then(|h| u8::from_str_radix(h, 16).ok()))
        .collect();
    serde_json::from_slice(&bytes.ok_or(PageError::Cursor)?).map_err(|_| PageError::Cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_cursor_exactly_when_there_is_more() {
        let page = Page::of(vec![1, 2, 3], 2, |n| *n);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(page.next_cursor.as_deref().map(decode::<i32>), Some(Ok(2)));
        assert_eq!(Page::of(vec![1, 2], 2, |n| *n).next_cursor, None);
    }

    #[test]
    fn foreign_cursors_and_bad_limits_are_refused() {
        for cursor in ["zz", "0", "é", "7b7d", &"00".repeat(2_000)] {
            assert_eq!(decode::<(i64, u8)>(cursor), Err(PageError::Cursor), "{cursor}");
        }
        assert_eq!(PageQuery { limit: Some(0), cursor: None }.limit(), Err(PageError::Limit));
        assert_eq!(PageQuery { limit: Some(501), cursor: None }.limit(), Err(PageError::Limit));
        assert_eq!(PageQuery::default().limit(), Ok(50));
    }
}
