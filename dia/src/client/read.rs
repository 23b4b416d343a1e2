//! Commands that show what the server knows: cases, databases, status, search.

use anyhow::Result;
use domain::{
    events::{Counts, DatabaseStatus},
    ids,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::session::Session;
use crate::out;

/// All pages of a list.
pub(super) async fn all<T: DeserializeOwned>(session: &Session, path: &str, query: &[(&str, &str)]) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.push(("limit", "500"));
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let page: domain::page::Page<T> = session.get(path, &query).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// `dia cases`
pub(super) async fn cases(server: &str, create: Option<&str>) -> Result<()> {
    let session = Session::resume(server)?;
    if let Some(title) = create {
        let case: Value = session.post("/cases", &ids::fresh().to_string(), &json!({ "title": title })).await?;
        out::line(text(&case, "id"));
        return Ok(());
    }
    for case in all::<Value>(&session, "/cases", &[]).await? {
        out::line(&format!("{}  {:<8}  {}", text(&case, "id"), text(&case, "status"), text(&case, "title")));
    }
    Ok(())
}

/// `dia databases`
pub(super) async fn databases(server: &str, case: Option<&str>, create: Option<&str>) -> Result<()> {
    let session = Session::resume(server)?;
    if let (Some(case), Some(name)) = (case, create) {
        let body = json!({ "case_id": case, "name": name });
        let database: Value = session.post("/databases", &ids::fresh().to_string(), &body).await?;
        out::line(text(&database, "id"));
        return Ok(());
    }
    let query: Vec<(&str, &str)> = case.map(|case| ("case_id", case)).into_iter().collect();
    for database in all::<Value>(&session, "/databases", &query).await? {
        let count = database["file_count"].as_u64().unwrap_or(0);
        out::line(&format!("{}  {count:>8} documents  {}", text(&database, "id"), text(&database, "name")));
    }
    Ok(())
}

/// The equation, both sides and what it says.
pub(super) fn reconciliation(counts: &Counts) -> String {
    let exceptions: Vec<String> = counts.exceptions.iter().map(|(category, n)| format!("{category} {n}")).collect();
    let detail = if exceptions.is_empty() { String::new() } else { format!(" ({})", exceptions.join(", ")) };
    let moving = if counts.in_flight == 0 { String::new() } else { format!(" + in flight {}", counts.in_flight) };
    format!(
        "received {} + unpacked {} = indexed {} + duplicate {} + excluded {} + exception {}{moving}{detail}",
        counts.received, counts.unpacked, counts.indexed, counts.duplicate, counts.excluded, counts.exception
    )
}

/// `dia status`
pub(super) async fn status(server: &str, database: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let status: DatabaseStatus = session.get(&format!("/databases/{database}/status"), &[]).await?;
    out::line(&format!("{}, index generation {}", status.status, status.generation));
    out::line(&reconciliation(&status.counts));
    Ok(())
}

/// `dia search`
pub(super) async fn search(server: &str, database: &str, query: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let found: Value = session.get(&format!("/databases/{database}/search"), &[("q", query)]).await?;
    out::line(&format!("{} documents", found["total"].as_u64().unwrap_or(0)));
    for hit in found["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
        out::line(&format!("\n{}  {}", text(hit, "document_id"), text(hit, "path")));
        for highlight in hit["highlights"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let passage: String = text(highlight, "text").split_whitespace().collect::<Vec<_>>().join(" ");
            let short: String = passage.chars().take(240).collect();
            out::line(&format!("  page {}: {short}", highlight["first_page"].as_u64().unwrap_or(1)));
        }
    }
    Ok(())
}
