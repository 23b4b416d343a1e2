//! The decision against tables written out, and against a plain model of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;
use crate::{
    actor::Origin,
    ids::{ApiKeyId, SessionId, UserId},
    scope::Grant,
};

fn user(role: SystemRole) -> Actor {
    Actor { who: Who::User { user: UserId::new(), session: SessionId::new(), role }, origin: Origin::default() }
}

fn key(role: SystemRole, scopes: &[Scope], cases: Option<&[CaseId]>) -> Actor {
    let cases = cases.map(|cases| cases.iter().copied().collect());
    let grant = Arc::new(Grant { scopes: scopes.iter().copied().collect::<BTreeSet<_>>(), cases });
    let who = Who::Key { user: UserId::new(), key: ApiKeyId::new(), role, grant };
    Actor { who, origin: Origin::default() }
}

fn now() -> Timestamp {
    Timestamp(1_000)
}

fn in_role(role: CaseRole) -> Standing {
    Standing { membership: Some(Membership::of(role)), ..Standing::default() }
}

/// The whole matrix, written out: rows are actions, columns auditor, reviewer, paralegal, lawyer, manager.
#[test]
fn the_matrix() {
    let table = [
        (Action::SeeCase, "yyyyy"),
        (Action::EditCase, "nnnyy"),
        (Action::DeleteCase, "nnnny"),
        (Action::ManageMembers, "nnnny"),
        (Action::ManageDatabase, "nnyyy"),
        (Action::Upload, "nnyyy"),
        (Action::ManagePasswords, "nnyyy"),
        (Action::ManageWebhooks, "nnnny"),
        (Action::ReadDocuments, "nyyyy"),
        (Action::DeleteDocuments, "nnnny"),
        (Action::Chat, "nyyyy"),
        (Action::ReadAudit, "ynnny"),
        (Action::ExportCase, "nnnny"),
        (Action::ManageWalls, "nnnny"),
        (Action::BreakGlass, "nnnnn"),
        (Action::ExplainAccess, "ynnny"),
    ];
    assert_eq!(table.len(), Action::ALL.len());
    for (action, row) in table {
        for (role, want) in CaseRole::ALL.into_iter().zip(row.chars()) {
            let may = may(&user(SystemRole::Member), CaseId::new(), &in_role(role), now(), action);
            assert_eq!(may, want == 'y', "{role:?} {action:?}");
        }
    }
}

#[test]
fn an_administrator_reads_no_evidence_without_membership() {
    let over_access = [Action::ManageWalls, Action::BreakGlass, Action::ExplainAccess];
    for action in Action::ALL {
        let (case, nobody) = (CaseId::new(), Actor { who: Who::Anonymous, origin: Origin::default() });
        let administrator = user(SystemRole::Administrator);
        let is_allowed = may(&administrator, case, &Standing::default(), now(), action);
        assert_eq!(is_allowed, over_access.contains(&action), "{action:?}");
        assert!(!may(&nobody, case, &in_role(CaseRole::Manager), now(), action) && !may_somewhere(&nobody, action));
    }
    assert!(may_system(&user(SystemRole::Administrator), SystemAction::ManageJobs));
    assert!(!may_system(&user(SystemRole::Member), SystemAction::ManageJobs));
}

/// The whole matrix of keys, written out: rows are actions, columns the scopes in their order.
#[test]
fn the_matrix_of_keys() {
    // cases:read, cases:write, databases:write, documents:read, documents:write, documents:delete, passwords:write,
    // webhooks:write, chat, audit:read, jobs:write
    let table = [
        (Action::SeeCase, "yyyyyyyyyyn"),
        (Action::EditCase, "nynnnnnnnnn"),
        (Action::DeleteCase, "nnnnnnnnnnn"),
        (Action::ManageMembers, "nynnnnnnnnn"),
        (Action::ManageDatabase, "nnynnnnnnnn"),
        (Action::Upload, "nnnnynnnnnn"),
        (Action::ManagePasswords, "nnnnnnynnnn"),
        (Action::ManageWebhooks, "nnnnnnnynnn"),
        (Action::ReadDocuments, "nnnynnnnnnn"),
        (Action::DeleteDocuments, "nnnnnynnnnn"),
        (Action::Chat, "nnnnnnnnynn"),
        (Action::ReadAudit, "nnnnnnnnnyn"),
        (Action::ExportCase, "nnnnnnnnnnn"),
        (Action::ManageWalls, "nnnnnnnnnnn"),
        (Action::BreakGlass, "nnnnnnnnnnn"),
        (Action::ExplainAccess, "nnnnnnnnnnn"),
    ];
    assert_eq!(table.len(), Action::ALL.len());
    let (case, other) = (CaseId::new(), CaseId::new());
    for (action, row) in table {
        assert_eq!(row.len(), Scope::ALL.len());
        for (scope, want) in Scope::ALL.iter().zip(row.chars()) {
            for role in CaseRole::ALL {
                // Never more than the person in that role.
                let want = want == 'y' && may(&user(SystemRole::Member), case, &in_role(role), now(), action);
                let (all, one) =
                    (key(SystemRole::Member, &[*scope], None), key(SystemRole::Member, &[*scope], Some(&[case])));
                assert_eq!(may(&all, case, &in_role(role), now(), action), want, "{scope:?} {role:?} {action:?}");
                assert_eq!(may(&one, case, &in_role(role), now(), action), want, "{scope:?} {role:?} {action:?}");
                assert!(!may(&one, other, &in_role(role), now(), action), "{scope:?} {role:?} {action:?}");
                assert!(
                    !may(&all, case, &Standing::default(), now(), action)
                        && !may(&one, case, &Standing::default(), now(), action)
                );
            }
            assert_eq!(may_somewhere(&key(SystemRole::Member, &[*scope], None), action), want == 'y');
        }
        assert!(!may(&key(SystemRole::Administrator, &[], None), case, &in_role(CaseRole::Manager), now(), action));
    }
}

#[test]
fn keys_outside_cases() {
    for (action, scope, role) in [
        (SystemAction::CreateCase, Some(Scope::CasesWrite), SystemRole::Member),
        (SystemAction::ManageUsers, None, SystemRole::Administrator),
        (SystemAction::ManageJobs, Some(Scope::JobsWrite), SystemRole::Administrator),
        (SystemAction::ReadAudit, Some(Scope::AuditRead), SystemRole::Administrator),
    ] {
        for tried in Scope::ALL {
            let want = scope == Some(*tried);
            assert_eq!(may_system(&key(role, &[*tried], None), action), want, "{action:?} {tried:?}");
            assert!(!may_system(&key(role, &[*tried], Some(&[])), action), "{action:?} {tried:?}");
        }
    }
    assert!(!may_system(&key(SystemRole::Member, Scope::ALL, None), SystemAction::ManageJobs));
}

/// The rules once more, as a person would say them: a flat list of what must hold, in no clever order.
fn model(actor: &Actor, case: CaseId, standing: &Standing, now: Timestamp, action: Action) -> bool {
    let (administrator, key) = match &actor.who {
        Who::System { .. } => return true,
        Who::Anonymous => return false,
        Who::User { role, .. } => (*role == SystemRole::Administrator, None),
        Who::Key { grant, .. } => (false, Some(grant)),
    };
    let key_allows = key.is_none_or(|grant| {
        let reaches = grant.cases.as_ref().is_none_or(|cases| cases.contains(&case));
        reaches && scopes_of(action).iter().any(|scope| grant.scopes.contains(scope))
    });
    let begins = |m: &Membership| m.not_before.map_or(i64::MIN, Timestamp::micros);
    let ends = |m: &Membership| m.expires_at.map_or(i64::MAX, Timestamp::micros);
    let member = standing.membership.filter(|m| (begins(m)..ends(m)).contains(&now.micros()));
    let by_role = member.is_some_and(|m| {
        use CaseRole::{Auditor, Lawyer, Manager, Paralegal, Reviewer};
        let holders: &[CaseRole] = match action {
            Action::SeeCase => &[Auditor, Reviewer, Paralegal, Lawyer, Manager],
            Action::ReadDocuments | Action::Chat => &[Reviewer, Paralegal, Lawyer, Manager],
            Action::Upload | Action::ManagePasswords | Action::ManageDatabase => &[Paralegal, Lawyer, Manager],
            Action::EditCase => &[Lawyer, Manager],
            Action::ReadAudit | Action::ExplainAccess => &[Auditor, Manager],
            Action::BreakGlass => &[],
            _ => &[Manager],
        };
        holders.contains(&m.role)
    });
    let by_office = administrator && [Action::ManageWalls, Action::BreakGlass, Action::ExplainAccess].contains(&action);
    let by_glass = administrator
        && standing.break_glass_until.is_some_and(|until| until.micros() > now.micros())
        && [Action::SeeCase, Action::ReadDocuments].contains(&action);
    !standing.is_walled && !standing.is_suspended && key_allows && (by_role || by_office || by_glass)
}

fn moments() -> impl Strategy<Value = Option<Timestamp>> {
    // Close to each other, so that edges meet.
    proptest::option::of((0_i64..8).prop_map(Timestamp))
}

fn standings() -> impl Strategy<Value = Standing> {
    let membership = proptest::option::weighted(0.8, (0_usize..5, moments(), moments()));
    (membership, proptest::bool::weighted(0.2), moments(), proptest::bool::weighted(0.1)).prop_map(
        |(membership, is_walled, break_glass_until, is_suspended)| Standing {
            membership: membership.map(|(role, not_before, expires_at)| Membership {
                role: CaseRole::ALL[role],
                not_before,
                expires_at,
            }),
            is_walled,
            break_glass_until,
            is_suspended,
        },
    )
}

#[test]
fn a_hundred_thousand_policies_agree_with_the_model() {
    let case = CaseId::new();
    let scopes = proptest::sample::subsequence(Scope::ALL, 0..=Scope::ALL.len());
    let actors = (0_u8..8, any::<bool>(), scopes, 0_u8..3).prop_map(move |(kind, chief, scopes, cases)| {
        let role = if chief { SystemRole::Administrator } else { SystemRole::Member };
        let cases: Option<&[CaseId]> = match cases {
            0 => None,
            1 => Some(&[case]),
            _ => Some(&[]),
        };
        match kind {
            0 => Actor::system(uuid::Uuid::nil()),
            1 => Actor { who: Who::Anonymous, origin: Origin::default() },
            2..=4 => user(role),
            _ => key(role, &scopes, cases),
        }
    });
    let config = Config { cases: 100_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (mut allowed, mut refused) = (0_u32, 0_u32);
    let policies = (actors, standings(), 0_i64..8, 0_usize..Action::ALL.len());
    let outcome = runner.run(&policies, |(actor, standing, at, action)| {
        let (now, action) = (Timestamp(at), Action::ALL[action]);
        let decision = decide(&actor, case, &standing, now, action);
        prop_assert_eq!(decision.is_allowed, model(&actor, case, &standing, now, action));
        prop_assert!(!decision.reasons.is_empty());
        prop_assert!(!decision.is_allowed || decision.reasons.len() == 1);
        prop_assert!(!(standing.is_walled && decision.is_allowed) || actor.is_system());
        Ok(())
    });
    outcome.unwrap();
    // The policies are of both kinds.
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_000 {
        let standing = standings().new_tree(&mut runner).unwrap().current();
        let is_allowed = may(&user(SystemRole::Administrator), case, &standing, Timestamp(4), Action::ReadDocuments);
        if is_allowed { allowed += 1 } else { refused += 1 }
    }
    assert!(allowed > 200 && refused > 200, "{allowed} {refused}");
}

#[test]
fn every_refusal_says_why() {
    let (case, now) = (CaseId::new(), Timestamp(10));
    let reviewer = |not_before, expires_at| Standing {
        membership: Some(Membership { role: CaseRole::Reviewer, not_before, expires_at }),
        ..Standing::default()
    };
    let glass = |until| Standing { break_glass_until: Some(until), ..Standing::default() };
    let chief = user(SystemRole::Administrator);
    let person = user(SystemRole::Member);
    for (actor, standing, action, is_allowed, reasons) in [
        (&person, Standing::default(), Action::SeeCase, false, vec![Reason::NotAMember]),
        (&person, reviewer(None, None), Action::Chat, true, vec![Reason::Role]),
        (&person, reviewer(None, None), Action::Upload, false, vec![Reason::RoleTooLow]),
        (&person, reviewer(Some(Timestamp(11)), None), Action::Chat, false, vec![Reason::NotYet]),
        (&person, reviewer(Some(now), None), Action::Chat, true, vec![Reason::Role]),
        (&person, reviewer(None, Some(now)), Action::Chat, false, vec![Reason::MembershipExpired]),
        (&person, reviewer(None, Some(Timestamp(11))), Action::Chat, true, vec![Reason::Role]),
        (&person, glass(Timestamp(11)), Action::ReadDocuments, false, vec![Reason::NotAMember]),
        (&chief, glass(Timestamp(11)), Action::ReadDocuments, true, vec![Reason::BreakGlass]),
        (&chief, glass(Timestamp(11)), Action::Chat, false, vec![Reason::NotAMember, Reason::ReadsOnly]),
        (&chief, glass(now), Action::ReadDocuments, false, vec![Reason::NotAMember, Reason::BreakGlassEnded]),
        (&chief, Standing::default(), Action::ManageWalls, true, vec![Reason::Administrator]),
        (&chief, Standing { is_walled: true, ..glass(Timestamp(11)) }, Action::SeeCase, false, vec![Reason::Walled]),
    ] {
        let decision = decide(actor, case, &standing, now, action);
        assert_eq!((decision.is_allowed, decision.reasons), (is_allowed, reasons), "{standing:?} {action:?}");
    }
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
