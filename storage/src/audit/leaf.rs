//! What of an event stands in the log: one line of JSON with sorted keys and no spaces, so that everybody hashes the same bytes. The
//! fields of an event of a case are in it as a commitment, SHA-256(salt ‖ fields); salt and fields are sealed in the event's row.
//! Who gets both can check them, and when the key of the case is destroyed they are gone and the log still proves itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::ids::CaseId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    Result,
    vault::{CaseKey, Place},
};

/// The fields of an event with what makes its commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// 32 random bytes in Base64.
    pub salt: String,
    /// The fields: JSON with sorted keys.
    pub details: String,
}

impl Disclosure {
    /// Fields with a fresh salt.
    pub(crate) fn new(details: &Value) -> Result<Self> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(std::io::Error::other)?;
        Ok(Self { salt: STANDARD.encode(salt), details: canonical(details).to_string() })
    }

    /// SHA-256(salt ‖ fields).
    pub fn commitment(&self) -> [u8; 32] {
        let salt = STANDARD.decode(&self.salt).unwrap_or_default();
        Sha256::new().chain_update(salt).chain_update(&self.details).finalize().into()
    }

    pub(crate) fn seal(&self, key: &CaseKey, event: Uuid) -> Result<Vec<u8>> {
        crate::tx::seal(key, &place(event), self)
    }

    pub(crate) fn open(key: &CaseKey, event: Uuid, sealed: &[u8]) -> Result<Self> {
        crate::tx::unseal(key, &place(event), sealed)
    }
}

fn place(event: Uuid) -> Place {
    Place::new("audit_events", "sealed_details", event)
}

/// The same value with the keys of every object sorted.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            names.into_iter().map(|name| (name.clone(), canonical(&fields[name]))).collect()
        }
        other => other.clone(),
    }
}

/// An event as its row has it. The fields are declared in the order of their names, which is that of the line.
#[derive(Debug, Clone, sqlx::FromRow, Serialize)]
pub(crate) struct Event {
    pub action: String,
    pub actor_id: Option<Uuid>,
    pub actor_kind: String,
    pub address: Option<String>,
    pub agent: Option<String>,
    pub at: i64,
    pub case_id: Option<Uuid>,
    #[serde(serialize_with = "hexadecimal")]
    pub commitment: Option<Vec<u8>>,
    #[serde(serialize_with = "sorted")]
    pub details: sqlx::types::Json<Value>,
    pub id: Uuid,
    pub key_id: Option<Uuid>,
    pub request_id: Uuid,
    pub resource_id: Option<Uuid>,
    pub resource_type: String,
    #[serde(skip)]
    pub sealed_details: Option<Vec<u8>>,
    pub session_id: Option<Uuid>,
}

/// The columns of an [`Event`] in `audit_events e`.
macro_rules! event_columns {
    () => {
        "e.action, e.actor_id, e.actor_kind, e.address, e.agent, e.at, e.case_id, e.commitment, e.details, e.id, e.key_id, \
         e.request_id, e.resource_id, e.resource_type, e.sealed_details, e.session_id"
    };
}
pub(crate) use event_columns;

impl Event {
    /// The leaf.
    pub(crate) fn line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The fields: those in the row, or those under the key of the case, if there is still one.
    pub(super) fn disclosed(&self, key: Option<&CaseKey>) -> Result<Option<Disclosure>> {
        let Some(sealed) = &self.sealed_details else { return Ok(None) };
        key.map(|key| Disclosure::open(key, self.id, sealed)).transpose()
    }

    pub(super) fn case(&self) -> Option<CaseId> {
        self.case_id.map(CaseId)
    }
}

#[allow(clippy::ref_option, reason = "serde calls it so")]
fn hexadecimal<S: serde::Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(hex::encode).serialize(to)
}

fn sorted<S: serde::Serializer>(details: &sqlx::types::Json<Value>, to: S) -> Result<S::Ok, S::Error> {
    canonical(&details.0).serialize(to)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_the_same_whatever_order_a_database_gives() {
        let event = |details: Value| Event {
            action: "case.created".to_owned(),
            actor_id: Some(Uuid::nil()),
            actor_kind: "user".to_owned(),
            address: Some("192.0.2.1".to_owned()),
            agent: None,
            at: 1,
            case_id: Some(Uuid::max()),
            commitment: Some(vec![0xab]),
            details: sqlx::types::Json(details),
            id: Uuid::nil(),
            key_id: None,
            request_id: Uuid::nil(),
            resource_id: None,
            resource_type: "case".to_owned(),
            sealed_details: Some(vec![1]),
            session_id: None,
        };
        let line = event(json!({ "b": [{ "d": 1, "c": 2 }], "a": "x" })).line().unwrap_or_default();
        let zero = Uuid::nil();
        let most = Uuid::max();
        let expected = format!(
            r#"{{"action":"case.created","actor_id":"{zero}","actor_kind":"user","address":"192.0.2.1","agent":null,"at":1,"case_id":"{most}","commitment":"ab","details":{{"a":"x","b":[{{"c":2,"d":1}}]}},"id":"{zero}","key_id":null,"request_id":"{zero}","resource_id":null,"resource_type":"case","session_id":null}}"#
        );
        assert_eq!(line, expected);
    }
}
