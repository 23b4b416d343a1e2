//! The face of an answer, and whether a cell leaks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::table::Expected;
use crate::door::Answer;

/// What an outsider can tell of an answer: all of it but the request's own id, the time, and what is left of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Face {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, Vec<u8>>,
    pub(super) body: Vec<u8>,
}

impl Face {
    pub(super) fn of(answer: &Answer) -> Self {
        let told = |name: &str| !matches!(name, "date" | "x-request-id" | "retry-after") && !name.contains("ratelimit");
        let mut headers: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (name, value) in answer.headers.iter().filter(|(name, _)| told(name.as_str())) {
            headers.entry(name.to_string()).or_default().extend_from_slice(value.as_bytes());
        }
        // A script's nonce is as fresh as a request's id.
        if let Some(policy) = headers.get_mut("content-security-policy") {
            *policy = blank_nonce(policy);
        }
        let id = answer.headers.get("x-request-id").map_or(&b""[..], |id| id.as_bytes());
        Self { status: answer.status.as_u16(), headers, body: without(&answer.raw, id) }
    }

    /// A message of a socket, or the end of one.
    pub(super) fn of_socket(heard: Result<Value, u16>) -> Self {
        let (status, body) = match heard {
            Ok(said) if said["type"] == "error" && said["code"] == "not_found" => (404, said.to_string()),
            Ok(said) => (200, said.to_string()),
            Err(4_401) => (401, String::new()),
            Err(code) => (500, code.to_string()),
        };
        Self { status, headers: BTreeMap::new(), body: body.into_bytes() }
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or("").to_owned()
    }

    /// What it is as a refusal; none when it broke.
    fn class(&self) -> Option<Expected> {
        match self.status {
            401 if self.code() != "bad_credentials" && self.code() != "bad_refresh_token" => {
                Some(Expected::Unauthenticated)
            }
            // HEAD is answered without a body.
            403 if self.body.is_empty() || self.code() == "forbidden" => Some(Expected::Forbidden),
            404 => Some(Expected::NotFound),
            405 | 500.. => None,
            _ => Some(Expected::Answer),
        }
    }
}

fn without(body: &[u8], id: &[u8]) -> Vec<u8> {
    if id.is_empty() {
        return body.to_vec();
    }
    String::from_utf8_lossy(body).replace(&*String::from_utf8_lossy(id), "").into_bytes()
}

fn blank_nonce(policy: &[u8]) -> Vec<u8> {
    let policy = String::from_utf8_lossy(policy);
    let words = policy.split(' ').map(|word| if word.contains("nonce-") { "nonce" } else { word });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// What a cell answered, and what is known to judge it by.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) face: Face,
    /// The answer to the same knock at what does not exist.
    pub(super) missing: Option<Face>,
    /// Ids that no answer may hold.
    pub(super) secrets: Vec<String>,
}

/// Why the cell is a leak; `None` when it answers as it must.
pub(super) fn leak(expected: Expected, seen: &Seen) -> Option<String> {
    let class = seen.face.class();
    let words = || format!("{} {}", seen.face.status, String::from_utf8_lossy(&seen.face.body));
    if class != Some(expected) {
        return Some(format!("{expected:?} was expected: {}", words()));
    }
    if seen.missing.as_ref().is_some_and(|missing| *missing != seen.face) {
        return Some(format!("it differs from what is missing: {:?} and {:?}", seen.face, seen.missing));
    }
    let text = String::from_utf8_lossy(&seen.face.body);
    let told = seen.secrets.iter().find(|id| text.contains(id.as_str()));
    told.map(|id| format!("it tells of {id}: {}", words()))
}
