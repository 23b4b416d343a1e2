//! Signed and encrypted content (CMS, RFC 5652), as S/MIME puts it into mail (RFC 8551). What is signed is taken out, what
//! is encrypted is said to be; signatures are not verified. The readers of crates take only the strict encoding, while
//! mail programs write the older one with lengths left open, so the few fields needed are read here.

use std::borrow::Cow;

/// What the content is.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// Signed: what was signed (nothing when the signature stands beside it), and whose certificates came along.
    Signed { inside: Option<Cow<'a, [u8]>>, certificates: Vec<String> },
    /// Encrypted for someone's key.
    Encrypted,
    /// Something else, such as compressed content.
    Other,
}

const SIGNED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const ENCRYPTED: [&[u8]; 3] = [
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17",
];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const FIRST: u8 = 0xa0;
const COMMON_NAME: &[u8] = b"\x55\x04\x03";
const EMAIL_ADDRESS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01";

/// True when `bytes` begin as CMS does.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    let head = bytes.get(..24).unwrap_or(bytes);
    head.first() == Some(&SEQUENCE)
        && crate::sniff::find(head, b"\x2a\x86\x48\x86\xf7\x0d\x01").is_some_and(|at| at <= 8)
}

/// Reads the content; `None` when the bytes are no CMS.
pub(crate) fn open(bytes: &[u8]) -> Option<Content<'_>> {
    let info = children(expect(element(bytes)?.0, SEQUENCE)?);
    let kind = expect(*info.first()?, OBJECT_IDENTIFIER)?;
    if ENCRYPTED.contains(&kind) {
        return Some(Content::Encrypted);
    }
    if kind != SIGNED {
        return Some(Content::Other);
    }
    let data = children(expect(*children(expect(*info.get(1)?, FIRST)?).first()?, SEQUENCE)?);
    // Version, digest algorithms, content, certificates, revocations, signers (RFC 5652 section 5.1).
    let content = children(expect(*data.get(2)?, SEQUENCE)?);
    let wrapped = content.get(1).and_then(|wrapped| children(expect(*wrapped, FIRST)?).first().copied());
    let inside = wrapped.map(|octets| octets.octets(0));
    let listed = data.get(3).and_then(|listed| expect(*listed, FIRST)).unwrap_or_default();
    let certificates = children(listed).into_iter().filter_map(owner).collect();
    Some(Content::Signed { inside, certificates })
}

/// Whose certificate it is: `Name <address>`, or whichever part it has.
fn owner(certificate: Element<'_>) -> Option<String> {
    let certified = children(expect(*children(expect(certificate, SEQUENCE)?).first()?, SEQUENCE)?);
    // Version (tagged, optional), serial number, algorithm, issuer, validity, subject (RFC 5280 section 4.1).
    let at = if certified.first()?.tag == FIRST { 5 } else { 4 };
    let (mut name, mut address) = (None, None);
    for set in children(expect(*certified.get(at)?, SEQUENCE)?) {
        for pair in children(expect(set, SET)?) {
            let pair = children(expect(pair, SEQUENCE)?);
            let (kind, value) = (expect(*pair.first()?, OBJECT_IDENTIFIER)?, *pair.get(1)?);
            // BMPString is UTF-16 with the high byte first; the others read as UTF-8 or Latin.
            let label = if value.tag == 0x1e { "utf-16be" } else { "windows-1252" };
            let text = crate::decode::text(value.content, Some(label)).trim().to_owned();
            match kind {
                COMMON_NAME => name = Some(text),
                EMAIL_ADDRESS => address = Some(text),
                _ => {}
            }
        }
    }
    match (name, address) {
        (Some(name), Some(address)) if name != address => Some(format!("{name} <{address}>")),
        (name, address) => name.or(address),
    }
}

/// One element (X.690): tag and content.
#[derive(Debug, Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

/// Elements nested deeper than this are not looked into.
const DEEPEST: u32 = 32;

impl<'a> Element<'a> {
    /// The bytes of a string, which may come in pieces.
    fn octets(self, depth: u32) -> Cow<'a, [u8]> {
        if self.tag & 0x20 == 0 || depth > DEEPEST {
            return Cow::Borrowed(self.content);
        }
        let pieces = children(self.content);
        let pieces = pieces.into_iter().map(|piece| piece.octets(depth.saturating_add(1)).into_owned());
        Cow::Owned(pieces.collect::<Vec<_>>().concat())
    }
}

fn expect(element: Element<'_>, tag: u8) -> Option<&[u8]> {
    (element.tag == tag).then_some(element.content)
}

fn children(mut content: &[u8]) -> Vec<Element<'_>> {
    let mut found = Vec::new();
    while let Some((element, rest)) = element(content) {
        if element.tag == 0 {
            break;
        }
        found.push(element);
        content = rest;
    }
    found
}

/// The first element and what follows it. An element cut short ends where the bytes end.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    element_at(bytes, 0)
}

fn element_at(bytes: &[u8], depth: u32) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *length == 0x80 {
        // The length is open: the element ends at an empty element of tag zero, after whole elements.
        let mut inner = rest;
        let deeper = depth.checked_add(1).filter(|deeper| *deeper <= DEEPEST);
        while let Some(deeper) = deeper {
            if let Some(after) = inner.strip_prefix(b"\0\0") {
                let length = rest.len().saturating_sub(inner.len());
                return Some((Element { tag: *tag, content: rest.get(..length)? }, after));
            }
            let Some((_, after)) = element_at(inner, deeper) else { break };
            inner = after;
        }
        return Some((Element { tag: *tag, content: rest }, &[]));
    }
    let (length, rest) = if length & 0x80 == 0 {
        (usize::from(*length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        let value =
            digits.iter().try_fold(0_usize, |value, digit| value.checked_mul(256)?.checked_add(usize::from(*digit)));
        (value?, rest)
    };
    let (content, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    Some((Element { tag: *tag, content }, rest))
}
