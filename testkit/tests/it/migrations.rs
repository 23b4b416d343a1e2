//! The two migration folders say the same thing in two dialects: the same files, tables, columns and indexes.

use std::collections::BTreeMap;

use crate::tree::{self, File};

/// What a migration makes, with types in the words of SQLite.
#[derive(Debug, Default, PartialEq, Eq)]
struct Schema {
    /// Table → column → (type, the rest of its line).
    tables: BTreeMap<String, BTreeMap<String, (String, String)>>,
    /// Every other statement, as written.
    others: Vec<String>,
}

/// PostgreSQL's word for a type → SQLite's. Identifiers and bytes are both BLOB there.
fn sqlite_type(name: &str) -> String {
    match name {
        "uuid" | "bytea" => "blob",
        "bigint" => "integer",
        "jsonb" | "json" => "text",
        other => other,
    }
    .to_owned()
}

fn schema(sql: &str) -> Schema {
    let uncommented: String =
        sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut schema = Schema::default();
    for statement in uncommented.split(';').map(str::trim).filter(|s| !s.is_empty()) {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let Some(rest) = statement.strip_prefix("create table ") else {
            let alters = statement.starts_with("alter table ");
            let word = |word: &str| if alters { sqlite_type(word) } else { word.to_owned() };
            schema.others.push(statement.split(' ').map(word).collect::<Vec<_>>().join(" "));
            continue;
        };
        let (table, body) = rest.split_once('(').unwrap();
        let mut columns = BTreeMap::new();
        for line in split_columns(body.strip_suffix(')').unwrap()) {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or("").to_owned();
            let constraint = matches!(name.as_str(), "primary" | "unique" | "foreign" | "check");
            let kind = if constraint { String::new() } else { sqlite_type(words.next().unwrap_or("")) };
            columns.insert(if constraint { line.clone() } else { name }, (kind, words.collect::<Vec<_>>().join(" ")));
        }
        schema.tables.insert(table.trim().to_owned(), columns);
    }
    schema
}

/// Splits at the commas outside parentheses.
fn split_columns(body: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in body.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

fn folder(files: &[File], dialect: &str) -> BTreeMap<String, Schema> {
    let prefix = format!("migrations/{dialect}/");
    let names = files.iter().filter_map(|f| Some((f.path.strip_prefix(&prefix)?.to_owned(), schema(&f.text))));
    names.collect()
}

#[test]
fn both_dialects_make_the_same_schema() {
    let files = tree::files();
    let (sqlite, postgres) = (folder(&files, "sqlite"), folder(&files, "postgres"));
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (name, schema) in &sqlite {
        assert!(schema.tables.len() + schema.others.len() > 0, "{name} makes nothing");
        let other = &postgres[name];
        for (table, columns) in &schema.tables {
            assert_eq!(Some(columns), other.tables.get(table), "{name}: table {table}");
        }
        assert_eq!(schema, other, "{name}");
    }
}

#[test]
fn a_difference_shows() {
    let base =
        schema("create table a (id BLOB primary key, n INTEGER not null, unique (id, n)); create index i on a (n);");
    assert_eq!(
        base,
        schema(
            "create table a (\n id uuid primary key, -- a, b\n n bigint not null, unique (id, n));\ncreate index i on a (n);"
        )
    );
    assert_eq!(schema("alter table a add column n INTEGER;"), schema("alter table a add column n bigint;"));
    assert_ne!(schema("alter table a add column n INTEGER;"), schema("alter table a add column n text;"));
    for other in [
        "create table a (id uuid primary key, unique (id, n)); create index i on a (n);",
        "create table a (id uuid primary key, n text not null, unique (id, n)); create index i on a (n);",
        "create table a (id uuid primary key, n bigint, unique (id, n)); create index i on a (n);",
        "create table a (id uuid primary key, n bigint not null, unique (n)); create index i on a (n);",
        "create table a (id uuid primary key, n bigint not null, unique (id, n)); create index i on a (id);",
    ] {
        assert_ne!(base, schema(other), "{other}");
    }
}
