//! The authorisation matrix: every operation of the document and both sockets, with everybody who may knock, at everything there may be
//! to knock at. What a cell must answer follows by rule from one table; a cell that answers otherwise is a leak. What is foreign answers
//! as what is missing does, to the byte.

mod cast;
mod judge;
mod sockets;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use domain::{access::Action, scope::Scope};
use serde_json::{Value, json};
use testkit::TestStorage;

use self::{
    cast::{Member, OTHER_SCOPE, cast},
    judge::{Face, Seen, leak},
    table::{Expected, Knocker, Needs, Target, expected, needs, variants},
};
use crate::{
    door::Door,
    scopes::{For, operations, send, table},
};

testkit::in_each_mode!(the_matrix_has_no_leak, a_broken_rule_is_a_leak);

/// One knock and what came of it.
struct Cell {
    operation: String,
    who: Knocker,
    at: Target,
    expected: Expected,
    seen: Seen,
}

/// The whole matrix.
struct Report {
    operations: usize,
    cells: Vec<Cell>,
    unlisted: Vec<String>,
}

impl Report {
    fn leaks(&self) -> Vec<String> {
        let leak = |cell: &Cell| {
            let what = leak(cell.expected, &cell.seen)?;
            Some(format!("{} by {:?} at {:?}: {what}", cell.operation, cell.who, cell.at))
        };
        self.cells.iter().filter_map(leak).collect()
    }

    #[allow(clippy::print_stdout, reason = "`make authz` ends with this line")]
    fn say(&self) {
        let (cells, leaks) = (self.cells.len(), self.leaks().len());
        let line = json!({
            "operations": self.operations, "cells": cells, "leaks": leaks, "unlisted": self.unlisted.len(),
        });
        println!("{line}");
    }
}

async fn the_matrix_has_no_leak(test: TestStorage) {
    let door = Door::new(test);
    let report = run(&door, &needs(), None).await;
    report.say();
    let leaks = report.leaks();
    assert!(report.unlisted.is_empty(), "no row in the table, or a row of nothing: {:?}", report.unlisted);
    let shown = leaks.iter().take(60).fold(String::new(), |mut text, leak| {
        let _ = writeln!(text, "{leak}");
        text
    });
    assert!(leaks.is_empty(), "{} leaks\n{shown}", leaks.len());

    // Every cell can fail: none of them passes under another expectation than its own, …
    for cell in &report.cells {
        let others = Expected::ALL.into_iter().filter(|other| *other != cell.expected);
        let passes: Vec<Expected> = others.filter(|other| leak(*other, &cell.seen).is_none()).collect();
        assert!(passes.is_empty(), "{} by {:?} at {:?} passes as {passes:?}", cell.operation, cell.who, cell.at);
    }
    // … no refusal that differs from the missing in anything, and no answer with a foreign id.
    for cell in report.cells.iter().filter(|cell| cell.seen.missing.is_some()) {
        let mut seen = cell.seen.clone();
        seen.face.headers.insert("x-differs".to_owned(), b"1".to_vec());
        assert!(leak(cell.expected, &seen).is_some(), "{} by {:?} at {:?}", cell.operation, cell.who, cell.at);
    }
    for cell in report.cells.iter().filter(|cell| !cell.seen.secrets.is_empty()) {
        let mut seen = cell.seen.clone();
        seen.face.body.extend_from_slice(seen.secrets[0].as_bytes());
        assert!(leak(cell.expected, &seen).is_some(), "{} by {:?} at {:?}", cell.operation, cell.who, cell.at);
    }
}

/// A table that says something else than dia does is found out, and so is one without a row.
async fn a_broken_rule_is_a_leak(test: TestStorage) {
    let door = Door::new(test);
    let only = Some(&["read_document", "delete_document", "read_message"][..]);
    let honest = run(&door, &needs(), only).await;
    assert!(honest.cells.len() > 100 && honest.leaks().is_empty(), "{:?}", honest.leaks());
    for (operation, wrong) in [
        ("read_document", Needs::Case(Action::DeleteDocuments)),
        ("read_document", Needs::Known),
        ("delete_document", Needs::Case(Action::SeeCase)),
        ("read_message", Needs::Case(Action::Chat)),
    ] {
        let mut table = needs();
        table.insert(operation, wrong);
        let report = run(&door, &table, Some(&[operation])).await;
        assert!(!report.leaks().is_empty(), "{operation} as {wrong:?} was not noticed");
        assert!(report.unlisted.is_empty());
    }
    let mut table = needs();
    table.remove("read_document");
    table.insert("read_mind", Needs::Known);
    let report = run(&door, &table, Some(&[])).await;
    assert_eq!(report.unlisted, ["read_document", "read_mind"]);
}

/// One way to ask for an operation: what it is called in the report, its query if it is not the usual one, and its body.
struct Asked {
    label: String,
    operation: &'static str,
    path: String,
    body: Value,
    keys: For,
    needs: Needs,
}

/// Runs the cells of all operations, or only of these.
async fn run(door: &Door, needs: &BTreeMap<&'static str, Needs>, only: Option<&[&str]>) -> Report {
    let document = operations(door).await;
    let there: BTreeSet<&str> = document.keys().map(String::as_str).collect();
    let told: BTreeSet<&str> = needs.keys().copied().collect();
    let unlisted = there.symmetric_difference(&told).map(|name| (*name).to_owned()).collect();
    let mut cells = Vec::new();
    if only != Some(&[]) {
        let cast = cast(door).await;
        if only.is_none() {
            cells.extend(sockets::run(door, &cast).await);
        }
        for member in &cast {
            walk(door, &document, needs, only, member, &mut cells).await;
        }
    }
    Report { operations: there.len(), cells, unlisted }
}

/// All cells of one who knocks. What takes things away stands last in the table, and what is theirs comes last of each operation.
async fn walk(
    door: &Door,
    document: &BTreeMap<String, (String, String, Value)>,
    needs: &BTreeMap<&'static str, Needs>,
    only: Option<&[&str]>,
    member: &Member,
    cells: &mut Vec<Cell>,
) {
    let ways: BTreeMap<Target, Vec<Asked>> =
        member.targets.keys().map(|at| (*at, ways(document, needs, only, member, *at))).collect();
    let missing = &ways[&Target::Missing];
    for index in 0..missing.len() {
        let without_ids = member.targets.keys().all(|at| same(&ways[at][index], &missing[index]));
        let mut reference = None;
        for at in [
            Target::Missing,
            Target::MissingChild,
            Target::WrongParent,
            Target::WrongLast,
            Target::Foreign,
            Target::Neighbour,
            Target::Own,
        ] {
            let Some(asked) = ways.get(&at).map(|ways| &ways[index]) else { continue };
            let is_asked = if without_ids { at == Target::Own } else { is_of_its_own(member, &ways, index, at) };
            if !is_asked {
                continue;
            }
            let (method, ..) = &document[asked.operation];
            let token = member.token_for(asked.operation, &asked.keys);
            let answer = send(door, token.as_deref(), method, &asked.path, asked.operation, &asked.body).await;
            let face = Face::of(&answer);
            let expected = expected(asked.needs, &asked.keys, member.who, at, OTHER_SCOPE);
            if at == Target::Missing {
                reference = Some(face.clone());
            }
            let is_refusal = matches!(expected, Expected::NotFound | Expected::Unauthenticated);
            let missing = reference.clone().filter(|_| is_refusal);
            let seen = Seen { face, missing, secrets: member.secrets(asked.needs) };
            cells.push(Cell { operation: asked.label.clone(), who: member.who, at, expected, seen });
        }
    }
}

fn same(one: &Asked, other: &Asked) -> bool {
    one.path == other.path && one.body == other.body
}

/// True when asking there is another question than the ones asked before it.
fn is_of_its_own(member: &Member, ways: &BTreeMap<Target, Vec<Asked>>, index: usize, at: Target) -> bool {
    let asked = &ways[&at][index];
    let differs = |from: Target| ways.get(&from).is_none_or(|ways| !same(&ways[index], asked));
    match at {
        Target::Own => member.owns(asked.needs),
        Target::Missing | Target::Foreign => true,
        // Whoever is in another case can be brought into this one.
        Target::WrongParent if matches!(asked.operation, "set_member" | "set_wall" | "explain_access") => false,
        Target::Neighbour | Target::MissingChild | Target::WrongParent => differs(Target::Own),
        Target::WrongLast => differs(Target::Own) && differs(Target::WrongParent),
    }
}

fn ways(
    document: &BTreeMap<String, (String, String, Value)>,
    needs: &BTreeMap<&'static str, Needs>,
    only: Option<&[&str]>,
    member: &Member,
    at: Target,
) -> Vec<Asked> {
    let mut ways = Vec::new();
    for (operation, keys, body) in table(&member.targets[&at]) {
        let wanted = only.is_none_or(|only| only.contains(&operation));
        let (Some(needs), Some((_, template, _)), true) = (needs.get(operation), document.get(operation), wanted)
        else {
            continue;
        };
        if *needs == Needs::Socket {
            continue;
        }
        let (matter, child) = member.pair(operation, at);
        let body = if operation == "pin" {
            json!({ "conversation_id": matter.ids["conversation"], "database_id": child.database })
        } else {
            body
        };
        let bare = matter.path(operation, template);
        for variant in variants(matter, child).into_iter().filter(|variant| variant.operation == operation) {
            let path = format!("{}{}", bare.split('?').next().unwrap_or_default(), variant.query);
            let label = format!("{operation}{} {}", variant.query, variant.body);
            let keys = pinned(operation, &variant.body, &keys);
            ways.push(Asked { label, operation, path, body: variant.body, keys, needs: variant.needs });
        }
        ways.push(Asked { label: operation.to_owned(), operation, path: bare, body, keys, needs: *needs });
    }
    ways
}

/// A question that names what it is to be answered from reads that, too.
fn pinned(operation: &str, body: &Value, keys: &For) -> For {
    let names = body.get("database_id").or(body.get("document_ids")).is_some();
    match keys {
        For::Holders(_) if operation == "ask" && names => For::Holders(&[Scope::Chat, Scope::DocumentsRead]),
        For::Holders(scopes) => For::Holders(scopes),
        For::All => For::All,
        For::AnyKey => For::AnyKey,
        For::Person => For::Person,
        For::AnyOfCases => For::AnyOfCases,
    }
}
