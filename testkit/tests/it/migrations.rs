//! The two migration folders say the same thing in two dialects: the same files, tables, columns and indexes.

use std::collections::{BTreeMap, BTreeSet};

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

/// What would break a process of the version before, which goes on working while a fleet is upgraded: it knows nothing of new
/// columns and still uses the old ones. A step that takes something away follows one version later and says so:
/// `-- contract: since VERSION nothing uses it`.
fn breaking(sql: &str) -> Vec<String> {
    let mut bad = Vec::new();
    let code = sql.lines().map(|line| if line.starts_with("-- contract: since ") { "contract" } else { line });
    let code: Vec<&str> = code.map(|line| line.split("--").next().unwrap_or("")).collect();
    let code = code.join("\n");
    // A process of the version before writes nothing into a table that it does not know.
    let is_new = |words: &[String]| {
        let table = words.iter().skip_while(|word| *word != "on").nth(1);
        table.is_some_and(|table| code.to_lowercase().contains(&format!("create table {table} ")))
    };
    for statement in code.split(';') {
        let words: Vec<String> = statement.split_whitespace().map(str::to_lowercase).collect();
        if words.first().is_some_and(|word| word == "contract") {
            continue;
        }
        let plain = words.join(" ");
        let makes = plain.is_empty()
            || plain.starts_with("create table ")
            || plain.starts_with("create index ")
            || (plain.starts_with("create unique index ") && is_new(&words));
        let adds = plain.starts_with("alter table ")
            && plain.contains(" add column ")
            && (!plain.contains(" not null") || plain.contains(" default "));
        let fills = plain.starts_with("insert into ") || plain.starts_with("update ");
        if !(makes || adds || fills) {
            bad.push(plain);
        }
    }
    bad
}

#[test]
fn migrations_leave_room_for_the_version_before() {
    for file in tree::files().iter().filter(|f| f.path.starts_with("migrations/") && !f.path.contains("/0001_")) {
        assert_eq!(breaking(&file.text), Vec::<String>::new(), "{}", file.path);
    }
    for bad in [
        "alter table a drop column b",
        "alter table a rename column b to c",
        "alter table a add column b text not null",
        "drop table a",
        "create unique index a on b (c)",
        "alter table a alter column b set not null",
    ] {
        assert_eq!(breaking(bad).len(), 1, "{bad}");
        assert_eq!(breaking(&format!("-- contract: since 0.3 nothing uses it\n{bad}")).len(), 0, "{bad}");
    }
    assert!(breaking("create table b (c bigint); create unique index a on b (c)").is_empty());
    assert!(
        breaking("alter table a add column b text not null default ''; -- drop\ncreate index i on a (b)").is_empty()
    );
}

/// Table → what is done to it, by the SQL of storage.
fn statements(files: &[File]) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut found: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path.starts_with("storage/src/")) {
        let code = file.text.split("#[cfg(test)]").next().unwrap_or("");
        let words: Vec<&str> = code.split(|c: char| c.is_whitespace() || c == '"').filter(|w| !w.is_empty()).collect();
        let (mut into, mut from) = ("", "");
        for window in words.windows(3) {
            match *window {
                ["from", table, _] => from = table,
                // Whoever locks a row must be allowed to change it. (The claim's own lock is on what it updates.)
                ["for", "share" | "update", end] if end != "skip" => {
                    found.entry(from.to_owned()).or_default().insert("update");
                }
                ["insert", "into", table] => {
                    into = table;
                    found.entry(table.to_owned()).or_default().insert("insert");
                }
                ["delete", "from", table] => {
                    found.entry(table.to_owned()).or_default().insert("delete");
                }
                ["update", table, "set"] if table != "do" => {
                    found.entry(table.to_owned()).or_default().insert("update");
                }
                ["do", "update", "set"] => {
                    found.entry(into.to_owned()).or_default().insert("update");
                }
                _ => {}
            }
        }
    }
    found
}

/// Nobody may do more than the code does: an `update audit_events` is refused by the server, whoever sends it.
#[test]
fn processes_may_do_what_storage_does_and_no_more() {
    let files = tree::files();
    let list = files.iter().find(|f| f.path == "storage/src/db/schema.rs").unwrap();
    let list = list.text.split("PRIVILEGES").nth(1).unwrap().split("];").next().unwrap();
    let mut granted: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut may = "";
    for word in list.split('"').skip(1).step_by(2) {
        if word.starts_with("select") {
            may = word;
        } else if word != "_sqlx_migrations" {
            granted.insert(word.to_owned(), may.split(", ").filter(|verb| *verb != "select").collect());
        }
    }
    assert_eq!(granted, statements(&files));
    let tables: BTreeSet<String> =
        folder(&files, "postgres").into_values().flat_map(|s| s.tables.into_keys()).collect();
    assert_eq!(granted.into_keys().collect::<BTreeSet<_>>(), tables);
}

/// A statement of all columns, prepared before a migration adds one, fails in PostgreSQL: the process of the version before goes on.
#[test]
fn statements_name_their_columns() {
    for file in tree::files().iter().filter(|f| f.is_rust() && f.path.starts_with("storage/src/")) {
        for all in ["select *", "returning *", ".* from", ".*, "] {
            let lines: Vec<&str> =
                file.text.lines().filter(|l| l.contains(all) && !l.trim().starts_with("//")).collect();
            assert!(lines.is_empty(), "{}: {lines:?}", file.path);
        }
    }
}
