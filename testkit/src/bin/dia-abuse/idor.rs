//! Ids of another person's case. Every operation of the document that names things is asked by somebody who is no member, with the
//! ids of what there is and with ids of nothing; both answers must be the same, byte for byte.

use anyhow::Result;

use crate::{
    caller::{Answer, hear},
    document::{Ids, Operation},
    ground::{Ground, Things},
    verdict::Class,
};

/// Headers that differ by themselves.
const FREE: [&str; 4] = ["date", "x-request-id", "ratelimit", "ratelimit-policy"];
/// What is nobody's by-id operation: everybody may do it to themselves, or it ends the session that asks.
const OWN: [&str; 6] =
    ["/auth/logout", "/auth/login", "/auth/signup", "/auth/refresh", "/auth/change-password", "/auth/invitations"];

/// Both answers must be one.
fn judge(foreign: &Answer, missing: &Answer) -> Result<(), String> {
    if foreign.blank() != missing.blank() {
        return Err(format!("{} for what is another's, {} for what is not", foreign.words(), missing.words()));
    }
    let names = |answer: &Answer| -> Vec<(String, String)> {
        let all = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let mut all: Vec<_> = all.filter(|(name, _)| !FREE.contains(&name.as_str())).collect();
        all.sort();
        all
    };
    let (foreign_names, missing_names) = (names(foreign), names(missing));
    if foreign_names != missing_names {
        return Err(format!("the headers differ: {foreign_names:?} and {missing_names:?}"));
    }
    if foreign.status < 300 && !foreign.body.is_empty() && foreign.json()["items"] != serde_json::json!([]) {
        return Err(format!("it succeeds: {}", foreign.words()));
    }
    Ok(())
}

/// Ids to try: all another's, and another's children under an own parent.
fn mixtures(ground: &Ground) -> [(&'static str, Things); 2] {
    let mut children = ground.things.clone();
    for kind in ["case", "database"] {
        children.insert(kind, ground.others[kind].clone());
    }
    [("all another's", ground.things.clone()), ("another's child under an own parent", children)]
}

/// The ids of nothing in the places of a mixture that are Ann's.
fn missing(ground: &Ground, mixture: &Things) -> Things {
    let fresh = |(kind, id): (&&'static str, &String)| {
        let own = ground.others.get(kind) == Some(id);
        (*kind, if own { id.clone() } else { domain::ids::fresh().to_string() })
    };
    mixture.iter().map(fresh).collect()
}

fn names_things(ground: &Ground, operation: &Operation) -> bool {
    let by_id = |name: &String| name.ends_with("_id") || name.ends_with("_ids");
    !operation.places.is_empty()
        || operation.query.iter().any(|parameter| by_id(&parameter.name))
        || ground.document.names(operation).iter().any(by_id)
}

/// Runs the class.
pub(crate) async fn attack(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    for operation in &ground.document.operations {
        if OWN.contains(&operation.path.as_str())
            || operation.path.starts_with("/ws/")
            || !names_things(ground, operation)
        {
            continue;
        }
        for (what, mixture) in mixtures(ground) {
            let nothing = missing(ground, &mixture);
            let ask = |things: &Things| ground.document.request(&ground.bob, operation, &Ids(things));
            let (foreign, absent) = (hear(ask(&mixture)).await?, hear(ask(&nothing)).await?);
            // What succeeds on what is Bob's own names nothing of Ann's.
            let owned = what != "all another's" && mentions_only_own(ground, operation);
            if !owned {
                class.hear(&format!("{}, {what}", operation.name()), judge(&foreign, &absent));
            }
        }
    }
    class.absorb(untouched(ground).await?);
    Ok(class)
}

/// True when all that the request names is Bob's in the second mixture.
fn mentions_only_own(ground: &Ground, operation: &Operation) -> bool {
    let own: Vec<&str> = ground.others.values().map(String::as_str).collect();
    let (_, mixture) = &mixtures(ground)[1];
    let ids = Ids(mixture);
    let path = operation.places.iter().map(|place| ids.at(&operation.path, place));
    let query = operation.query.iter().filter(|one| one.name.ends_with("_id")).map(|one| ids.of(&one.name));
    let names = ground.document.names(operation);
    let body = names.iter().filter(|name| name.ends_with("_id") || name.ends_with("_ids")).map(|name| ids.of(name));
    path.chain(query).chain(body).all(|id| own.contains(&id.as_str()))
}

/// Everything that was knocked at is still there for its owner.
async fn untouched(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let thing = |kind: &str| ground.thing(kind).to_owned();
    let (case, database) = (thing("case"), thing("database"));
    for path in [
        format!("/cases/{case}"),
        format!("/cases/{case}/webhooks/{}", thing("webhook")),
        format!("/cases/{case}/members"),
        format!("/databases/{database}"),
        format!("/databases/{database}/batches/{}", thing("announced")),
        format!("/documents/{}", thing("document")),
        format!("/documents/{}/text", thing("document")),
        format!("/chat/messages/{}", thing("answer")),
        format!("/api-keys/{}", thing("key")),
    ] {
        let answer = ground.ann.get(&path).await?;
        class.judge(answer.status == 200, || format!("{path} is not what it was: {}", answer.words()));
    }
    let members = ground.ann.read(&format!("/cases/{case}/members")).await?;
    let count = members["items"].as_array().map_or(0, Vec::len);
    class.judge(count == 1, || format!("the case has {count} members"));
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_id_that_is_told_from_a_missing_one_is_counted() {
        let says = |status, body: &str| Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() };
        let missing = says(404, r#"{"code":"not_found","request_id":"a"}"#);
        assert!(judge(&says(404, r#"{"code":"not_found","request_id":"b"}"#), &missing).is_ok());
        assert!(judge(&says(403, r#"{"code":"forbidden","request_id":"b"}"#), &missing).is_err());
        assert!(judge(&says(404, r#"{"code":"not_found","request_id":"b","id":1}"#), &missing).is_err());
        let found = says(200, r#"{"title":"Penrose v. Example"}"#);
        assert!(judge(&found, &found).is_err());
        let mut tagged = missing.clone();
        tagged.headers.insert("etag", reqwest::header::HeaderValue::from_static("x"));
        assert!(judge(&tagged, &missing).is_err());
    }
}
