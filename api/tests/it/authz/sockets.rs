//! The cells of the two sockets: everybody, at every conversation and every database.

use std::collections::BTreeMap;

use domain::{access::Action, scope::Scope};
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use super::{
    Cell,
    cast::{Member, OTHER_SCOPE},
    judge::{Face, Seen},
    table::{Expected, Knocker, Needs, Target, expected},
};
use crate::{
    door::Door,
    scopes::{For, Matter},
    sockets::{Server, Socket},
};

struct Topic {
    operation: &'static str,
    path: &'static str,
    needs: Needs,
    keys: For,
    subscribe: fn(&Matter) -> serde_json::Value,
}

const TOPICS: [Topic; 2] = [
    Topic {
        operation: "watch_chat",
        path: "/api/v1/ws/chat",
        needs: Needs::Conversation,
        keys: For::Holders(&[Scope::Chat]),
        subscribe: |matter| json!({ "type": "subscribe", "conversation_id": matter.ids["conversation"] }),
    },
    Topic {
        operation: "watch_databases",
        path: "/api/v1/ws/database-status",
        needs: Needs::Case(Action::SeeCase),
        keys: For::AnyOfCases,
        subscribe: |matter| json!({ "type": "subscribe", "database_id": matter.database }),
    },
];

pub(super) async fn run(door: &Door, cast: &[Member]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for topic in &TOPICS {
        let server = Server::start(door, topic.path).await;
        for member in cast {
            let token = member.token_for(topic.operation, &topic.keys);
            let socket = open(&server, token.as_deref()).await;
            watch(topic, member, socket, &mut cells).await;
        }
        server.shutdown.cancel();
    }
    cells
}

async fn open(server: &Server, token: Option<&str>) -> Result<Socket, Face> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&'static str, &str)> = bearer.iter().map(|bearer| ("authorization", &bearer[..])).collect();
    match server.connect(&headers).await {
        Ok(socket) => Ok(socket),
        Err(Error::Http(answer)) => {
            Err(Face { status: answer.status().as_u16(), headers: BTreeMap::new(), body: Vec::new() })
        }
        Err(error) => panic!("{error}"),
    }
}

async fn watch(topic: &Topic, member: &Member, socket: Result<Socket, Face>, cells: &mut Vec<Cell>) {
    let mut cell = |at, expected, face: Face, missing: Option<Face>| {
        let seen = Seen { face, missing: missing.filter(|_| expected == Expected::NotFound), secrets: Vec::new() };
        cells.push(Cell { operation: topic.operation.to_owned(), who: member.who, at, expected, seen });
    };
    let mut socket = match socket {
        Ok(socket) => socket,
        Err(face) => return cell(Target::Own, Expected::Unauthenticated, face, None),
    };
    if matches!(member.who, Knocker::Nobody(_)) {
        socket.say((topic.subscribe)(&member.targets[&Target::Own])).await;
        let face = Face::of_socket(socket.hear().await);
        return cell(Target::Own, Expected::Unauthenticated, face, None);
    }
    let mut missing = None;
    for at in [Target::Missing, Target::Foreign, Target::Neighbour, Target::Own] {
        let is_there = at != Target::Own || member.owns(topic.needs);
        let is_there = is_there && (at != Target::Neighbour || topic.needs == Needs::Conversation);
        let Some(matter) = member.targets.get(&at).filter(|_| is_there) else { continue };
        socket.say((topic.subscribe)(matter)).await;
        let face = Face::of_socket(socket.hear().await);
        // A socket tells nobody that something is there which they may not watch.
        let expected = match expected(topic.needs, &topic.keys, member.who, at, OTHER_SCOPE) {
            Expected::Forbidden => Expected::NotFound,
            expected => expected,
        };
        if at == Target::Missing {
            missing = Some(face.clone());
        }
        cell(at, expected, face, missing.clone());
    }
}
