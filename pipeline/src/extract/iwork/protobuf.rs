//! Messages in Protocol Buffers' encoding, without their schemas: fields by number.

/// The fields of a message, as far as they can be told apart.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(pub(super) &'a [u8]);

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    /// A text, a message, or the bytes of a number of fixed size.
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    pub(super) fn fields(self) -> impl Iterator<Item = (u64, Value<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (key, after) = number(rest)?;
            let (value, after) = match key & 7 {
                0 => number(after).map(|(value, after)| (Value::Number(value), after))?,
                kind @ (1 | 2 | 5) => {
                    let (length, after) = match kind {
                        1 => (8, after),
                        5 => (4, after),
                        _ => number(after)?,
                    };
                    let (bytes, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                    (Value::Bytes(bytes), after)
                }
                _ => return None,
            };
            rest = after;
            Some((key >> 3, value))
        })
    }

    pub(super) fn number(self, field: u64) -> Option<u64> {
        self.fields().find_map(|(number, value)| match value {
            Value::Number(value) if number == field => Some(value),
            _ => None,
        })
    }

    /// All values of a field that are texts, messages or fixed numbers.
    pub(super) fn all(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        })
    }

    pub(super) fn message(self, field: u64) -> Option<Self> {
        self.all(field).next().map(Message)
    }

    pub(super) fn text(self, field: u64) -> Option<String> {
        self.all(field).next().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A number of seven bits a byte, and what follows it.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0, bytes);
    for place in 0..10_u32 {
        let (byte, after) = rest.split_first()?;
        rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(place.saturating_mul(7)).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}
