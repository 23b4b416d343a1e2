//! Everybody who knocks, each with a matter of their own where they may do something to it.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    access::{Action, CaseRole},
    actor::Actor,
    ids::{CaseId, DatabaseId, SessionId},
    scope::Scope,
};
use serde_json::json;
use storage::sessions::{self, Lifetimes, Proof};

use super::table::{Knocker, Needs, Target};
use crate::{
    door::{Door, Person},
    keys,
    scopes::{For, Matter},
};

/// The only scope of [`Knocker::OtherKey`].
pub(super) const OTHER_SCOPE: Scope = Scope::AuditRead;

/// One who knocks.
pub(super) struct Member {
    pub(super) who: Knocker,
    pub(super) targets: BTreeMap<Target, Matter>,
    /// The case a neighbour's things are in, or a child's.
    children: BTreeMap<Target, Matter>,
    token: Option<String>,
    /// For the one operation that ends it.
    spare: Option<String>,
    /// A key for each set of scopes.
    keys: Vec<(Vec<Scope>, String)>,
    /// Ids of a case that is not theirs.
    foreign: Vec<String>,
    /// Ids of what a neighbour began.
    neighbour: Vec<String>,
}

impl Member {
    fn new(who: Knocker, token: Option<&str>) -> Self {
        Self {
            who,
            targets: BTreeMap::from([(Target::Missing, missing())]),
            children: BTreeMap::new(),
            token: token.map(ToOwned::to_owned),
            spare: token.map(ToOwned::to_owned),
            keys: Vec::new(),
            foreign: Vec::new(),
            neighbour: Vec::new(),
        }
    }

    fn at(mut self, at: Target, matter: &Matter) -> Self {
        self.targets.insert(at, matter.clone());
        self
    }

    /// With what to say; the last operation of a session has a token of its own.
    pub(super) fn token_for(&self, operation: &str, keys: &For) -> Option<String> {
        if operation == "log_out" && self.who != Knocker::FittingKey {
            return self.spare.clone();
        }
        if self.who != Knocker::FittingKey {
            return self.token.clone();
        }
        let wanted: &[Scope] = if let For::Holders(scopes) = keys { scopes } else { &[Scope::CasesRead] };
        let key = self.keys.iter().find(|(scopes, _)| scopes == wanted);
        Some(key.unwrap_or_else(|| panic!("no key for {wanted:?}")).1.clone())
    }

    /// The matter that an operation names first, and the one whose child it names.
    pub(super) fn pair(&self, operation: &str, at: Target) -> (&Matter, &Matter) {
        let matter = &self.targets[&at];
        let names_two = matches!(operation, "pin" | "ask");
        (matter, self.children.get(&at).filter(|_| names_two).unwrap_or(matter))
    }

    /// True when something that needs this can be theirs.
    pub(super) fn owns(&self, needs: Needs) -> bool {
        let is_outside = matches!(self.who, Knocker::Stranger | Knocker::Administrator | Knocker::KeyElsewhere);
        !is_outside || !matches!(needs, Needs::Case(_) | Needs::CaseOrOffice(_) | Needs::Conversation)
    }

    /// What their answers may not tell of. Who looks after the whole system sees the ids of all of it, and the trail of a case names
    /// what everybody began in it.
    pub(super) fn secrets(&self, needs: Needs) -> Vec<String> {
        let by_office = matches!(needs, Needs::CaseOrOffice(_) | Needs::SomewhereOrOffice(_));
        match needs {
            Needs::System(_) | Needs::OwnOrManaging => Vec::new(),
            _ if by_office && self.who == Knocker::Administrator => Vec::new(),
            Needs::Case(Action::ReadAudit | Action::ExportCase) => self.foreign.clone(),
            _ => self.foreign.iter().chain(&self.neighbour).cloned().collect(),
        }
    }
}

fn fresh() -> String {
    domain::ids::fresh().to_string()
}

/// Ids of nothing.
fn missing() -> Matter {
    const NAMES: [&str; 18] = [
        "document",
        "batch",
        "load_file",
        "upload",
        "upload_batch",
        "password",
        "webhook",
        "delivery",
        "conversation",
        "message",
        "context",
        "event",
        "member",
        "session",
        "key",
        "job",
        "alert",
        "break_glass",
    ];
    let ids = NAMES.into_iter().map(|name| (name, fresh())).collect();
    Matter { case: CaseId::new(), database: DatabaseId::new(), ids }
}

/// `matter` with these ids of `other`.
fn mixed(matter: &Matter, other: &Matter, names: &[&'static str]) -> Matter {
    let mut ids = matter.ids.clone();
    for name in names {
        ids.insert(name, other.ids[name].clone());
    }
    Matter { ids, ..matter.clone() }
}

const CHILDREN: [&str; 8] =
    ["batch", "load_file", "upload", "upload_batch", "password", "webhook", "delivery", "event"];
const LAST: [&str; 3] = ["load_file", "upload", "delivery"];
const BEGUN: [&str; 3] = ["conversation", "message", "context"];

/// Ids that nobody outside the case may hear.
fn told(matter: &Matter) -> Vec<String> {
    let inside = CHILDREN.iter().chain(&BEGUN).chain(&["document", "break_glass"]).map(|name| matter.ids[name].clone());
    inside.chain([matter.case.to_string(), matter.database.to_string()]).collect()
}

async fn session(door: &Door, person: &Person, life: Duration) -> (SessionId, String) {
    let storage = &door.test.storage;
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    let lives = Lifetimes { idle: life, absolute: life };
    let (session, _) = sessions::open(&mut tx, person.id, &lives, Proof::Password).await.unwrap();
    tx.commit().await.unwrap();
    (session, door.state.tokens.issue(person.id, session, storage.clock.now()).unwrap())
}

const DAY: Duration = Duration::from_hours(24);

async fn join(door: &Door, manager: &Person, case: CaseId, person: &Person, role: CaseRole) {
    let path = format!("/api/v1/cases/{case}/members/{}", person.id);
    door.put(&path, &json!({ "role": role.name() })).by(manager).send().await.expect(204);
}

/// A conversation that `person` begins in the case of `matter`, which is otherwise the same.
async fn begun(door: &Door, person: &Person, matter: &Matter) -> Matter {
    let asked = json!({ "case_id": matter.case, "database_id": matter.database, "message": "Who signed?" });
    let asked = door.post("/api/v1/chat/message", &asked).by(person).key(&fresh()).send().await.expect(202);
    let mut ids = matter.ids.clone();
    ids.insert("conversation", asked.text("/conversation_id"));
    ids.insert("message", asked.text("/answer_id"));
    let context = format!("/api/v1/chat/context?conversation_id={}", ids["conversation"]);
    ids.insert("context", door.get(&context).by(person).send().await.expect(200).text("/0/id"));
    Matter { ids, ..matter.clone() }
}

/// What belongs to the person alone.
async fn personal(door: &Door, person: &Person, matter: &Matter) -> Matter {
    let mut own = matter.clone();
    own.ids.insert("session", session(door, person, DAY).await.0.to_string());
    own.ids.insert("key", keys::make(door, person, &["chat"]).await.id);
    own
}

/// Two matters of the same manager: one that is foreign to all others, and one that they are members of too.
struct Stage<'a> {
    door: &'a Door,
    operator: Person,
    owner: Person,
    foreign: Matter,
    second: Matter,
}

/// Everybody, each ready to knock.
pub(super) async fn cast(door: &Door) -> Vec<Member> {
    let (operator, owner) = (door.administrator().await, door.member().await);
    let foreign = Matter::open(door, &owner, &operator).await;
    let foreign = personal(door, &owner, &foreign).await;
    let second = Matter::open(door, &owner, &operator).await;
    let stage = Stage { door, operator, owner, foreign, second };
    let mut cast = stage.nobodies().await;
    cast.extend(stage.outsiders().await);
    for role in CaseRole::ALL {
        cast.push(stage.member(role, false).await);
    }
    cast.push(stage.member(CaseRole::Manager, true).await);
    cast
}

impl Stage<'_> {
    /// Tokens that would open everything in the foreign matter, if they counted.
    async fn nobodies(&self) -> Vec<Member> {
        let door = self.door;
        let now = door.test.storage.clock.now();
        let expired_token = door.state.tokens.issue(self.owner.id, self.owner.session, now.minus(DAY)).unwrap();
        let (_, expired_session) = session(door, &self.owner, Duration::ZERO).await;
        let (ended, ended_session) = session(door, &self.owner, DAY).await;
        let path = format!("/api/v1/auth/sessions/{ended}");
        door.delete(&path).by(&self.owner).send().await.expect(204);
        let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        let key = keys::make(door, &self.owner, &scopes).await;
        door.delete(&format!("/api/v1/api-keys/{}", key.id)).by(&self.owner).send().await.expect(204);
        let suspended = door.member().await;
        join(door, &self.owner, self.foreign.case, &suspended, CaseRole::Manager).await;
        let suspended_key = keys::make(door, &suspended, &scopes).await.text;
        let id = if door.test.is_postgres() {
            format!("'{}'", suspended.id)
        } else {
            format!("x'{}'", suspended.id.uuid().simple())
        };
        door.test.statement(&format!("update users set is_active = false where id = {id}")).await;
        [
            ("anonymous", None),
            ("a bad token", Some("eyJhbGciOiJub25lIn0.e30.")),
            ("an expired token", Some(&expired_token[..])),
            ("an expired session", Some(&expired_session)),
            ("an ended session", Some(&ended_session)),
            ("an ended key", Some(&key.text)),
            ("a suspended user", Some(&suspended.token)),
            ("a key of a suspended user", Some(&suspended_key)),
        ]
        .map(|(name, token)| Member::new(Knocker::Nobody(name), token).at(Target::Own, &self.foreign))
        .into()
    }

    /// Those who are known, and not in the foreign matter or not with this key.
    async fn outsiders(&self) -> Vec<Member> {
        let door = self.door;
        let stranger = door.member().await;
        let administrator = door.administrator().await;
        let mut outsiders = Vec::new();
        for (who, person) in [(Knocker::Stranger, &stranger), (Knocker::Administrator, &administrator)] {
            let own = personal(door, person, &self.foreign).await;
            let member = Member::new(who, Some(&person.token)).at(Target::Own, &own).at(Target::Foreign, &self.foreign);
            let (_, spare) = session(door, person, DAY).await;
            outsiders.push(Member { spare: Some(spare), foreign: told(&self.foreign), ..member });
        }
        let other = keys::make(door, &self.owner, &[OTHER_SCOPE.name()]).await.text;
        outsiders.push(Member::new(Knocker::OtherKey, Some(&other)).at(Target::Own, &self.foreign));
        let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        let fields = json!({ "name": "n", "scopes": scopes, "expires_in_days": 1, "case_ids": [self.second.case] });
        let elsewhere = keys::ask(door, &self.owner, &fields).await.expect(201).text("/key");
        let member = Member::new(Knocker::KeyElsewhere, Some(&elsewhere)).at(Target::Foreign, &self.foreign);
        let member = member.at(Target::Own, &self.foreign);
        outsiders.push(Member { foreign: told(&self.foreign), ..member });
        outsiders
    }

    /// A member in this role of a matter they opened, and of the second one; with keys of theirs, or signed in.
    async fn member(&self, role: CaseRole, by_keys: bool) -> Member {
        let door = self.door;
        let person = door.member().await;
        let manager = door.member().await;
        let own = Matter::open(door, &person, &self.operator).await;
        join(door, &person, own.case, &manager, CaseRole::Manager).await;
        let neighbour = begun(door, &manager, &own).await;
        let own = personal(door, &person, &own).await;
        join(door, &self.owner, self.second.case, &person, role).await;
        if role != CaseRole::Manager {
            join(door, &manager, own.case, &person, role).await;
        }
        let who = if by_keys { Knocker::FittingKey } else { Knocker::Member(role) };
        let nothing = missing();
        let children: Vec<&'static str> = CHILDREN.into_iter().chain(["member"]).collect();
        let member = Member::new(who, Some(&person.token))
            .at(Target::Own, &own)
            .at(Target::Foreign, &self.foreign)
            .at(Target::Neighbour, &mixed(&own, &neighbour, &BEGUN))
            .at(Target::MissingChild, &mixed(&own, &nothing, &children))
            .at(Target::WrongParent, &mixed(&own, &self.second, &children))
            .at(Target::WrongLast, &mixed(&own, &self.second, &LAST));
        let (_, spare) = session(door, &person, DAY).await;
        Member {
            spare: Some(spare),
            children: [(Target::MissingChild, nothing), (Target::WrongParent, self.second.clone())].into(),
            keys: if by_keys { self.keys(&person).await } else { Vec::new() },
            foreign: told(&self.foreign),
            neighbour: BEGUN.iter().map(|name| neighbour.ids[name].clone()).collect(),
            ..member
        }
    }

    async fn keys(&self, person: &Person) -> Vec<(Vec<Scope>, String)> {
        let mut sets: Vec<Vec<Scope>> = Scope::ALL.iter().map(|scope| vec![*scope]).collect();
        sets.push(vec![Scope::Chat, Scope::DocumentsRead]);
        let mut keys = Vec::new();
        for scopes in sets {
            let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
            keys.push((scopes, keys::make(self.door, person, &names).await.text));
        }
        keys
    }
}
