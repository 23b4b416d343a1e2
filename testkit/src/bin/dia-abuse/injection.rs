//! Payloads in every place of the `OpenAPI` document where a value is asked for: paths, queries, bodies, forms, headers. Nothing
//! breaks, nothing is slower because it was asked to sleep, no list shows more than for nonsense, and nothing comes back as a page.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, stream};
use reqwest::{
    Method, RequestBuilder,
    header::{HeaderName, HeaderValue},
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    caller::{Answer, hear},
    document::{Ids, Operation},
    ground::Ground,
    payloads::{Payload, all, encoded},
    verdict::Class,
};

/// Requests at once.
const AT_ONCE: usize = 8;
/// An answer that takes this long may be one that slept.
const SLEPT: Duration = Duration::from_millis(2_500);
/// An answer to the same without sleep that takes no longer than this makes it certain.
const AWAKE: Duration = Duration::from_millis(1_200);
/// What no list knows.
const NONSENSE: &[u8] = b"zzxqvzz";
/// Headers whose values dia reads.
const HEADERS: [&str; 9] = [
    "user-agent",
    "x-request-id",
    "idempotency-key",
    "x-forwarded-for",
    "range",
    "if-none-match",
    "upload-metadata",
    "origin",
    "accept-language",
];

/// Where a payload goes.
#[derive(Debug, Clone)]
enum Place {
    Path(String),
    Query(String),
    Field(String),
    /// A field of a form.
    Part(String),
    Header(&'static str),
}

/// One operation with one place in it.
#[derive(Debug, Clone)]
struct Target<'a> {
    operation: &'a Operation,
    place: Place,
}

impl Target<'_> {
    fn name(&self) -> String {
        format!("{} {:?}", self.operation.name(), self.place)
    }

    /// The request with a payload in the place and good values elsewhere.
    fn request(&self, ground: &Ground, payload: &Payload) -> Option<RequestBuilder> {
        let (ids, operation) = (Ids(&ground.things), self.operation);
        let at = |place: &str| match &self.place {
            Place::Path(name) if name == place => encoded(&payload.bytes),
            _ => ids.at(&operation.path, place),
        };
        let path = operation.at(at);
        let mut query = Vec::new();
        for parameter in &operation.query {
            match &self.place {
                Place::Query(name) if *name == parameter.name => {
                    query.push(format!("{name}={}", encoded(&payload.bytes)));
                }
                _ if parameter.required && parameter.name == "q" => query.push("q=heron".to_owned()),
                _ if parameter.required => query.push(format!("{}={}", parameter.name, ids.of(&parameter.name))),
                _ => {}
            }
        }
        let mut body = ground.document.body(operation, &ids);
        if let Place::Field(name) = &self.place {
            let is_list = body[name.as_str()].is_array();
            body[name.as_str()] = json!("@@");
            let json = if is_list { format!("[{}]", payload.json) } else { payload.json.clone() };
            let text = body.to_string().replacen("\"@@\"", &json, 1);
            let request = ground.ann.ask(operation.method.clone(), &format!("{path}?{}", query.join("&")));
            return Some(request.header("content-type", "application/json").body(text));
        }
        if let Place::Part(name) = &self.place {
            let own = Part::bytes(payload.bytes.clone());
            let file = Part::bytes(b"Seven herons".to_vec());
            let form = match name.as_str() {
                "file" => {
                    Form::new().part("file", file.file_name(String::from_utf8_lossy(&payload.bytes).into_owned()))
                }
                name => Form::new().part(name.to_owned(), own).part("file", file.file_name("a.txt")),
            };
            return Some(ground.ann.ask(operation.method.clone(), &path).multipart(form));
        }
        let request = operation.request(&ground.ann, &path, &query, &body);
        let Place::Header(name) = self.place else { return Some(request) };
        let value = if name == "upload-metadata" {
            format!("filename {}", STANDARD.encode(&payload.bytes)).into_bytes()
        } else {
            payload.bytes.clone()
        };
        // What no client can send in a header is sent by the class that smuggles.
        let value = HeaderValue::from_bytes(&value).ok()?;
        let mut request = request.build().ok()?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
        Some(RequestBuilder::from_parts(ground.ann.http(), request))
    }
}

/// Every place of the document.
fn targets(ground: &Ground) -> Vec<Target<'_>> {
    let mut targets = Vec::new();
    for operation in &ground.document.operations {
        if operation.path.starts_with("/ws/") || operation.path == "/auth/logout" {
            continue;
        }
        let paths = operation.places.iter().cloned().map(Place::Path);
        let query = operation.query.iter().map(|parameter| Place::Query(parameter.name.clone()));
        let fields = ground.document.names(operation).into_iter().map(Place::Field);
        let parts = ground.document.parts(operation).into_iter().map(Place::Part);
        targets.extend(paths.chain(query).chain(fields).chain(parts).map(|place| Target { operation, place }));
        let reads_headers = ["/cases", "/documents/{id}/original"].contains(&operation.path.as_str())
            || operation.path.ends_with("/uploads");
        if reads_headers {
            targets.extend(HEADERS.into_iter().map(|name| Target { operation, place: Place::Header(name) }));
        }
    }
    targets
}

/// What holds of every answer, and of a list beside what it shows for nonsense.
fn judge(method: &Method, payload: &[u8], answer: &Answer, nonsense: Option<&Answer>) -> Result<(), String> {
    if answer.status >= 500 {
        return Err(answer.words());
    }
    if answer.headers.contains_key("x-injected") {
        return Err("a header was injected".to_owned());
    }
    if answer.header("x-content-type-options") != "nosniff" {
        return Err(format!("no X-Content-Type-Options: {}", answer.words()));
    }
    let kind = answer.header("content-type");
    let has_body = *method != Method::HEAD && *method != Method::OPTIONS;
    if answer.status >= 400 && has_body && !kind.starts_with("application/json") {
        return Err(format!("an error as {kind:?}: {}", answer.words()));
    }
    let marked = payload.contains(&b'<') && answer.body.windows(payload.len().max(1)).any(|window| window == payload);
    if marked && kind.contains("html") {
        return Err("the payload stands in a page".to_owned());
    }
    let count = |answer: &Answer| answer.json()["items"].as_array().map(Vec::len);
    // Whoever asks for nothing is shown everything.
    let asks = !payload.trim_ascii().is_empty();
    match nonsense.filter(|_| asks).map(|nonsense| (count(answer), count(nonsense))) {
        Some((Some(shown), Some(usual))) if shown != usual => {
            Err(format!("the list shows {shown}, for nonsense {usual}"))
        }
        _ => Ok(()),
    }
}

/// True when an answer takes as long as its payload asked for, twice, and the same without sleep does not.
async fn sleeps(ground: &Ground, target: &Target<'_>, payload: &Payload) -> Result<bool> {
    let Some(at_once) = &payload.at_once else { return Ok(false) };
    for _ in 0..2 {
        for (payload, slow) in [(payload, true), (at_once.as_ref(), false)] {
            let Some(request) = target.request(ground, payload) else { return Ok(false) };
            let took = hear(request).await?.took;
            if (slow && took < SLEPT) || (!slow && took > AWAKE) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

async fn try_one(
    ground: &Ground,
    target: &Target<'_>,
    payload: &Payload,
    nonsense: Option<&Answer>,
) -> Option<(String, Result<(), String>)> {
    let shown: String = String::from_utf8_lossy(&payload.bytes).chars().take(40).collect();
    let name = format!("{} with {shown:?}", target.name());
    let answer = match hear(target.request(ground, payload)?).await {
        Ok(answer) => answer,
        Err(error) => return Some((name, Err(format!("no answer: {error:#}")))),
    };
    if answer.took > SLEPT && matches!(sleeps(ground, target, payload).await, Ok(true)) {
        return Some((name, Err(format!("it sleeps as long as it is told to ({:?})", answer.took))));
    }
    let verdict = judge(&target.operation.method, &payload.bytes, &answer, nonsense);
    Some((name, verdict))
}

/// Runs the class; `each` payloads for a place, all for 0, other ones for the next place.
pub(crate) async fn attack(ground: &Ground, each: usize) -> Result<Class> {
    let mut class = Class::default();
    let (targets, payloads) = (targets(ground), all());
    let mut usual: HashMap<usize, Answer> = HashMap::new();
    let nonsense = Payload { bytes: NONSENSE.to_vec(), json: "\"zzxqvzz\"".to_owned(), at_once: None };
    for (number, target) in targets.iter().enumerate() {
        let lists = target.operation.method == Method::GET && matches!(target.place, Place::Query(_));
        if let Some(request) = target.request(ground, &nonsense).filter(|_| lists) {
            usual.insert(number, hear(request).await?);
        }
    }
    let each = if each == 0 { payloads.len() } else { each.min(payloads.len()) };
    let mut tries = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let chosen = payloads.iter().cycle().skip(number * each % payloads.len()).take(each);
        tries.extend(chosen.map(|payload| (target, payload, usual.get(&number))));
    }
    let tries = tries.into_iter().map(|(target, payload, usual)| try_one(ground, target, payload, usual));
    let mut tries = stream::iter(tries).buffer_unordered(AT_ONCE);
    while let Some(tried) = tries.next().await {
        if let Some((name, verdict)) = tried {
            class.hear(&name, verdict);
        }
    }
    class.absorb(announced(ground, &payloads).await?);
    class.note(format!("{} places, {} payloads, {each} tried at each", targets.len(), payloads.len()));
    Ok(class)
}

/// A load file whose every field is a payload: it is read, and no job dies of it.
async fn announced(ground: &Ground, payloads: &[Payload]) -> Result<Class> {
    let mut class = Class::default();
    let mut load_file = Vec::new();
    for (number, payload) in payloads.iter().enumerate() {
        let value = &payload.json;
        for field in ["path", "control_number", "parent", "custodian", "sha256", "source"] {
            load_file.extend(format!("{{\"path\": \"{number}.txt\", \"{field}\": {value}}}\n").bytes());
        }
        load_file.extend(
            format!("{{\"path\": \"f{number}.txt\", \"fields\": {{\"a\": {value}, \"x{number}\": {value}}}}}\n")
                .bytes(),
        );
    }
    let path = format!("/databases/{}/batches?name=HOSTILE", ground.thing("database"));
    let opened = ground.ann.ask(Method::POST, &path).header("content-type", "application/octet-stream").body(load_file);
    let opened = hear(opened).await?;
    class.judge(opened.status == 201, || format!("the load file was not taken: {}", opened.words()));
    if opened.status != 201 {
        return Ok(class);
    }
    let batch = opened.json()["id"].as_str().unwrap_or("").to_owned();
    let path = format!("/databases/{}/batches/{batch}/load-files", ground.thing("database"));
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut state = String::new();
    while Instant::now() < deadline && !["read", "failed"].contains(&state.as_str()) {
        sleep(Duration::from_millis(200)).await;
        ground.ann.read(&path).await?["items"][0]["state"].as_str().unwrap_or("").clone_into(&mut state);
    }
    class.judge(["read", "failed"].contains(&state.as_str()), || format!("the load file is {state:?}"));
    for kind in ["csv", "dat", "json"] {
        let path = format!("/databases/{}/batches/{batch}/errors?format={kind}", ground.thing("database"));
        let answer = ground.ann.get(&path).await?;
        class.judge(answer.status < 500, || format!("the errors of a hostile load file: {}", answer.words()));
    }
    let dead = ground.ann.read("/jobs?state=dead").await?;
    let dead: &[Value] = dead["items"].as_array().map_or(&[], Vec::as_slice);
    class.judge(dead.is_empty(), || format!("{} jobs died: {}", dead.len(), dead.first().unwrap_or(&Value::Null)));
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stumble_an_injected_header_a_page_and_a_longer_list_are_counted() {
        let says = |status, kind: &'static str, body: &str| {
            let mut answer = Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() };
            answer.headers.insert("content-type", HeaderValue::from_static(kind));
            answer.headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
            answer
        };
        let judged = |answer: &Answer| judge(&Method::GET, b"<b>", answer, None);
        assert!(judged(&says(400, "application/json", "{}")).is_ok());
        assert!(judged(&says(500, "application/json", "{}")).is_err());
        assert!(judged(&says(400, "text/html", "{}")).is_err());
        assert!(judged(&says(200, "text/html", "say <b>")).is_err());
        assert!(judged(&Answer { status: 200, ..Answer::default() }).is_err());
        let mut injected = says(200, "application/json", "{}");
        injected.headers.insert("x-injected", HeaderValue::from_static("b"));
        assert!(judged(&injected).is_err());
        let (none, one) =
            (says(200, "application/json", "{\"items\":[]}"), says(200, "application/json", "{\"items\":[1]}"));
        assert!(judge(&Method::GET, b"x", &one, Some(&none)).is_err());
    }
}
