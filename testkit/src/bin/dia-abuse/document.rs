//! The `OpenAPI` document as an attacker reads it: operations, their parameters, and bodies that they would take.

use anyhow::{Context as _, Result};
use reqwest::{
    Method, RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Map, Value, json};

use crate::{
    caller::Caller,
    ground::{LETTER, Things},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
    schemas: Value,
}

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// Below `/api/v1`, such as `/cases/{id}`.
    pub(crate) path: String,
    /// Names of the parameters in the path, in their order.
    pub(crate) places: Vec<String>,
    /// Parameters of the query.
    pub(crate) query: Vec<Parameter>,
    /// The type of its body and its schema, if it takes one.
    pub(crate) body: Option<(String, Value)>,
}

/// A parameter of the query.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) required: bool,
}

/// Ids that a request names, by kind; what is not there is a fresh one.
pub(crate) struct Ids<'a>(pub(crate) &'a Things);

impl Document {
    /// Reads the server's own.
    pub(crate) async fn read(caller: &Caller) -> Result<Self> {
        Self::parse(&caller.read("/openapi.json").await?)
    }

    fn parse(document: &Value) -> Result<Self> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().context("no paths in the document")? {
            // Health and figures stand beside the API and name nothing.
            let Some(path) = path.strip_prefix("/api/v1") else { continue };
            for (method, operation) in item.as_object().into_iter().flatten() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
                operations.push(Operation::parse(method, path, operation));
            }
        }
        Ok(Self { operations, schemas: document["components"]["schemas"].clone() })
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        name.map_or(schema, |name| &self.schemas[name])
    }

    /// A value that the schema allows, with these ids in it.
    pub(crate) fn sample(&self, name: &str, schema: &Value, ids: &Ids<'_>) -> Value {
        let schema = self.resolved(schema);
        if let Some(known) = known(name, ids) {
            return known;
        }
        if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
            return first.clone();
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            let choices = schema[choice].as_array().into_iter().flatten();
            if let Some(first) = choices.into_iter().find(|schema| schema["type"] != "null") {
                return self.sample(name, first, ids);
            }
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find(|kind| **kind != "null").and_then(Value::as_str).unwrap_or(""),
            kind => kind.as_str().unwrap_or(""),
        };
        match kind {
            "object" => Value::Object(self.fields(schema, ids)),
            "array" => json!([self.sample(name.trim_end_matches('s'), &schema["items"], ids)]),
            "integer" | "number" => json!(1),
            "boolean" => json!(false),
            _ if schema["format"] == "uuid" => json!(ids.of(name)),
            _ => json!("grey heron"),
        }
    }

    /// The fields that must be there, and those that name ids.
    fn fields(&self, schema: &Value, ids: &Ids<'_>) -> Map<String, Value> {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted = |name: &str| required.contains(&name) || name.ends_with("_id") || name.ends_with("_ids");
        let properties = schema["properties"].as_object().into_iter().flatten();
        let wanted = properties.filter(|(name, _)| wanted(name));
        wanted.map(|(name, schema)| (name.clone(), self.sample(name, schema, ids))).collect()
    }

    /// Every field of a JSON body.
    pub(crate) fn names(&self, operation: &Operation) -> Vec<String> {
        self.properties(operation, "application/json")
    }

    /// Every field of a form.
    pub(crate) fn parts(&self, operation: &Operation) -> Vec<String> {
        self.properties(operation, "multipart/form-data")
    }

    fn properties(&self, operation: &Operation, wanted: &str) -> Vec<String> {
        let Some((kind, schema)) = &operation.body else { return Vec::new() };
        if kind != wanted {
            return Vec::new();
        }
        let properties = self.resolved(schema)["properties"].as_object();
        properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// A JSON body as the operation wants it; null where it wants none.
    pub(crate) fn body(&self, operation: &Operation, ids: &Ids<'_>) -> Value {
        match &operation.body {
            Some((kind, schema)) if kind == "application/json" => self.sample("", schema, ids),
            _ => Value::Null,
        }
    }

    /// The request with these ids in path, query and body.
    pub(crate) fn request(&self, caller: &Caller, operation: &Operation, ids: &Ids<'_>) -> RequestBuilder {
        let names = operation.query.iter().filter(|one| one.required || one.name.ends_with("_id"));
        let query: Vec<String> = names.map(|one| format!("{}={}", one.name, ids.of(&one.name))).collect();
        let path = operation.at(|place| ids.at(&operation.path, place));
        operation.request(caller, &path, &query, &self.body(operation, ids))
    }
}

impl Operation {
    fn parse(method: Method, path: &str, operation: &Value) -> Self {
        let places =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(ToOwned::to_owned);
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|parameter| parameter["in"] == "query").map(|parameter| Parameter {
            name: parameter["name"].as_str().unwrap_or("").to_owned(),
            required: parameter["required"] == true,
        });
        let body = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
        let body = body.map(|(kind, content)| (kind.clone(), content["schema"].clone()));
        Self { method, path: path.to_owned(), places: places.collect(), query: query.collect(), body }
    }

    /// The request with this path, query and JSON body.
    pub(crate) fn request(&self, caller: &Caller, path: &str, query: &[String], body: &Value) -> RequestBuilder {
        let joint = if query.is_empty() { "" } else { "?" };
        let request = caller.ask(self.method.clone(), &format!("{path}{joint}{}", query.join("&")));
        let request = request.header("Tus-Resumable", "1.0.0");
        match self.body.as_ref().map(|(kind, _)| kind.as_str()) {
            Some("application/json") => request.json(body),
            Some("multipart/form-data") => {
                let part = Part::bytes(LETTER.as_bytes().to_vec()).file_name("letter.txt");
                request.multipart(Form::new().part("file", part))
            }
            Some(kind) => {
                let request = request.header("content-type", kind).header("Upload-Offset", "0");
                request.body("{\"path\": \"herons.txt\"}\n")
            }
            None if path.ends_with("/uploads") => request.header("Upload-Length", "64"),
            None => request,
        }
    }

    /// The path with its places filled.
    pub(crate) fn at(&self, mut fill: impl FnMut(&str) -> String) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(place) => fill(place),
            None => part.to_owned(),
        };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// How it is called, for people.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The kind of thing that a place of a path holds; `id` is what the path begins with.
fn kind_at(path: &str, place: &str) -> &'static str {
    match place {
        "id" => kind_of_first(path),
        "user_id" => "user",
        "password_id" => "password",
        "webhook_id" => "webhook",
        "delivery_id" => "delivery",
        "event_id" => "event",
        "batch" if path.contains("/load-files") || path.contains("/uploads") => "announced",
        "batch" => "batch",
        "load_file" => "load_file",
        "upload" => "upload",
        _ => "",
    }
}

fn kind_of_first(path: &str) -> &'static str {
    let kinds = [
        ("/cases", "case"),
        ("/databases", "database"),
        ("/documents", "document"),
        ("/chat/context", "context"),
        ("/chat/messages", "answer"),
        ("/api-keys", "key"),
        ("/auth/sessions", "session"),
        ("/jobs", "job"),
    ];
    kinds.into_iter().find(|(begin, _)| path.starts_with(begin)).map_or("", |(_, kind)| kind)
}

impl Ids<'_> {
    /// The id at a place of a path.
    pub(crate) fn at(&self, path: &str, place: &str) -> String {
        match place {
            "number" => "1".to_owned(),
            "name" if path.starts_with("/queues") => "relate".to_owned(),
            _ => self.get(kind_at(path, place)),
        }
    }

    /// The id that a parameter or field of this name asks for.
    pub(crate) fn of(&self, name: &str) -> String {
        self.get(name.strip_suffix("_ids").or_else(|| name.strip_suffix("_id")).unwrap_or(name))
    }

    fn get(&self, kind: &str) -> String {
        self.0.get(kind).cloned().unwrap_or_else(|| domain::ids::fresh().to_string())
    }
}

/// Values of fields that no schema tells.
fn known(name: &str, ids: &Ids<'_>) -> Option<Value> {
    Some(match name {
        "url" => json!("https://hooks.example.org/dia"),
        "email" => json!("carol@example.org"),
        "events" => json!(["*"]),
        "scopes" => json!(["cases:read"]),
        "role" => json!("reviewer"),
        "password" | "new_password" | "current_password" => json!("nineteen grey herons over wet granite"),
        "status" => json!("open"),
        "networks" => json!([]),
        "case_ids" | "document_ids" | "database_ids" => json!([ids.of(name)]),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn requests_are_made_from_the_document() {
        let document = json!({
            "paths": { "/api/v1/cases/{id}/members/{user_id}": { "put": {
                "parameters": [{ "in": "query", "name": "case_id", "required": false }],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Fields" } } } },
            } }, "/health/live": { "get": {} } },
            "components": { "schemas": { "Fields": { "type": "object", "required": ["title", "count"], "properties": {
                "title": { "type": "string" }, "count": { "type": ["null", "integer"] }, "note": { "type": "string" },
                "database_id": { "type": "string", "format": "uuid" },
            } } } },
        });
        let document = Document::parse(&document).unwrap();
        let operation = &document.operations[0];
        let things = Things::from([("case", "1".to_owned()), ("user", "2".to_owned()), ("database", "3".to_owned())]);
        let ids = Ids(&things);
        assert_eq!(operation.at(|place| ids.at(&operation.path, place)), "/cases/1/members/2");
        assert_eq!(document.body(operation, &ids), json!({ "title": "grey heron", "count": 1, "database_id": "3" }));
        assert_eq!(document.names(operation).len(), 4);
        assert_eq!(document.operations.len(), 1);
    }
}
