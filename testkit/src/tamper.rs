//! What an attacker would do to the audit log: to its rows, and to a bundle of it.

use domain::{
    actor::Actor,
    ids::{self, CaseId},
    page::{MAX_LIMIT, PageQuery},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use storage::{Storage, audit::bundle as audit_bundle};

/// What is done to rows, how, and how it is undone; statements are separated by semicolons, `$size` is the number of leaves.
pub const ROWS: &[(&str, &str, &str)] = &[
    (
        "an event at another time",
        "update audit_events set at = at + 1 where id = (select event_id from audit_leaves where position = 3)",
        "update audit_events set at = at - 1 where id = (select event_id from audit_leaves where position = 3)",
    ),
    (
        "an event of another action",
        "update audit_events set action = 'x' || action where id = (select event_id from audit_leaves where position = 9)",
        "update audit_events set action = substr(action, 2) where id = (select event_id from audit_leaves where position = 9)",
    ),
    (
        "an event without its actor",
        "create table kept as select id, actor_id from audit_events where actor_id is not null;
         update audit_events set actor_id = null where actor_id is not null",
        "update audit_events set actor_id = (select actor_id from kept where kept.id = audit_events.id) where id in (select id from kept);
         drop table kept",
    ),
    (
        "another commitment with other fields",
        "create table kept as select id, commitment from audit_events where commitment is not null;
         update audit_events set commitment = null, case_id = case_id where commitment is not null",
        "update audit_events set commitment = (select commitment from kept where kept.id = audit_events.id) where id in (select id from kept);
         drop table kept",
    ),
    (
        "fields of another event",
        "create table kept as select id, sealed_details from audit_events where sealed_details is not null;
         update audit_events set sealed_details = (select sealed_details from kept order by id limit 1) where sealed_details is not null",
        "update audit_events set sealed_details = (select sealed_details from kept where kept.id = audit_events.id)
         where id in (select id from kept);
         drop table kept",
    ),
    (
        "two events that changed places",
        "update audit_leaves set position = -1 where position = 4; update audit_leaves set position = 4 where position = 5;
         update audit_leaves set position = 5 where position = -1",
        "update audit_leaves set position = -1 where position = 4; update audit_leaves set position = 4 where position = 5;
         update audit_leaves set position = 5 where position = -1",
    ),
    (
        "an event taken out of the log",
        "create table kept as select position, event_id, hash from audit_leaves where position = 6;
         delete from audit_leaves where position = 6",
        "insert into audit_leaves (position, event_id, hash) select position, event_id, hash from kept; drop table kept",
    ),
    (
        "the tail cut off with its checkpoint",
        "create table kept as select position, event_id, hash from audit_leaves where position = $size - 1;
         create table signed as select size, note, created_at from audit_checkpoints where size = $size;
         delete from audit_leaves where position = $size - 1; delete from audit_checkpoints where size = $size",
        "insert into audit_leaves (position, event_id, hash) select position, event_id, hash from kept; drop table kept;
         insert into audit_checkpoints (size, note, created_at) select size, note, created_at from signed; drop table signed",
    ),
    (
        "an event slipped in",
        "insert into audit_events (id, at, actor_kind, request_id, action, resource_type, details)
         select request_id, at, actor_kind, request_id, action, resource_type, '{}' from audit_events
         where id = (select event_id from audit_leaves where position = 50)",
        "delete from audit_events where id = (select request_id from audit_events where id = (select event_id from audit_leaves where position = 50))",
    ),
    (
        "an older checkpoint in the place of the last",
        "create table kept as select size, note from audit_checkpoints where size = $size;
         update audit_checkpoints set note = (select min(note) from audit_checkpoints where size < $size) where size = $size",
        "update audit_checkpoints set note = (select note from kept) where size = $size; drop table kept",
    ),
    (
        "another hash of a subtree",
        "create table kept as select hash from audit_nodes where level = 1 and position = 0;
         update audit_nodes set hash = (select hash from audit_leaves where position = 0) where level = 1 and position = 0",
        "update audit_nodes set hash = (select hash from kept) where level = 1 and position = 0; drop table kept",
    ),
];

/// A bundle of a case, or of the whole log, as the door hands it out.
pub async fn write(storage: &Storage, case: Option<CaseId>) -> String {
    let mut tx = storage.read(&Actor::system(ids::fresh())).await.unwrap();
    let (head, checkpoint) = audit_bundle::head(&mut tx, case).await.unwrap().unwrap();
    let mut text = serde_json::to_string(&head).unwrap() + "\n";
    let mut page = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    loop {
        let found = match case {
            Some(case) => audit_bundle::of_case(&mut tx, case, checkpoint.size, &page).await.unwrap(),
            None => audit_bundle::of_log(&mut tx, checkpoint.size, &page).await.unwrap(),
        };
        for leaf in &found.items {
            text.push_str(&serde_json::to_string(leaf).unwrap());
            text.push('\n');
        }
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return text,
        }
    }
}

/// A source of randomness that repeats itself.
pub fn random(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// A bundle that says something else than `text`, and what was done to it.
pub fn bundle(text: &str, random: &mut SmallRng) -> (String, String) {
    loop {
        let (what, changed) = change(text, random);
        if changed != text {
            return (what, changed);
        }
    }
}

fn change(text: &str, random: &mut SmallRng) -> (String, String) {
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    let (first, other) = (random.random_range(0..lines.len()), random.random_range(1..lines.len()));
    let what = match random.random_range(0..7) {
        // The last line of a part of the log may go: whoever takes out a part says which.
        0 if first == 0 || !lines[0].contains("\"case\":\"") => {
            lines.remove(first);
            format!("line {first} was taken out")
        }
        1 => {
            let line = lines[first].clone();
            lines.insert(other, line);
            format!("line {first} was put before line {other}")
        }
        2 => {
            lines.swap(first, other);
            format!("lines {first} and {other} changed places")
        }
        3 => {
            let digits: Vec<usize> =
                lines[first].char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
            let at = *digits.choose(random).expect("a line has digits");
            let digit = char::from(b'0' + random.random_range(0..10_u8));
            lines[first].replace_range(at..=at, &digit.to_string());
            format!("a digit of line {first} at {at} became {digit}")
        }
        4 if !lines[0].contains("\"case\":\"") => {
            lines.truncate(other);
            format!("the log was cut at line {other}")
        }
        _ => {
            let at = random.random_range(0..lines[first].len());
            let letter = char::from(random.random_range(b' '..=b'~'));
            if !lines[first].is_char_boundary(at) || !lines[first].is_char_boundary(at + 1) {
                return (String::new(), text.to_owned());
            }
            lines[first].replace_range(at..=at, &letter.to_string());
            format!("byte {at} of line {first} became {letter:?}")
        }
    };
    (what, lines.join("\n") + "\n")
}
