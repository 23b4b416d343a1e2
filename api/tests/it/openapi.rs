//! The document says what the router does.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use testkit::TestStorage;

use crate::door::Door;

testkit::in_each_mode!(the_document_is_the_router);

/// Every operation of the document: method, path with its parameters filled in, description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = domain::ids::fresh().to_string();
            let parts: Vec<&str> = path.split('/').map(|p| if p.starts_with('{') { id.as_str() } else { p }).collect();
            all.push((method.to_uppercase(), parts.join("/"), operation.clone()));
        }
    }
    all
}

async fn the_document_is_the_router(test: TestStorage) {
    let door = Door::new(test);
    let document = door.get("/api/v1/openapi.json").send().await.expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations = operations(&document);
    assert!(operations.len() > 20);

    let mut names = BTreeSet::new();
    for (method, path, operation) in &operations {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} names two operations");
        assert!(!operation["summary"].as_str().unwrap_or("").is_empty(), "{name} says nothing");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['1', '2'])), "{name} never succeeds");
        let error = &responses["default"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(error, "#/components/schemas/ErrorBody");

        // The operation exists; and without a token it says so, unless it is one for everybody.
        let open = operation["security"] == serde_json::json!([{}]);
        let answer = door.knock(method, path).send().await;
        assert_ne!(answer.status, 405, "{name}");
        if open {
            assert_ne!(answer.status, 401, "{name}");
        } else if method == "HEAD" {
            assert_eq!((answer.status.as_u16(), answer.raw.len()), (401, 0), "{name}");
        } else {
            answer.refused(401, "unauthenticated");
        }
    }
    // References lead somewhere.
    for reference in references(&document) {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    // And nothing is routed around the document: resources register with `routes!` only.
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
    for file in [routes.clone(), routes.join("tus")].iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let path = file.unwrap().path();
        if path.is_dir() {
            assert!(path.ends_with("tus"), "{}: look into it here too", path.display());
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        assert!(!source.contains(".route("), "routes are registered with routes!");
    }
    for asset in ["/api/v1/reference", "/api/v1/reference/script.js", "/api/v1/reference/style.css"] {
        let asset = door.get(asset).send().await.expect(200);
        assert!(!String::from_utf8(asset.raw).unwrap().contains("https://"), "the page loads nothing from elsewhere");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
