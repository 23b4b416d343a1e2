//! How a person stands to a case, in SQL: the only place where membership, walls and break-glass grants are joined. Statements that find
//! one thing select the [`Row`] and let [`domain::access::decide`] decide; statements that list say [`current`] or [`visible`], which is
//! the same rule for pages.

use domain::{
    access::{CaseRole, Membership, Standing, SystemRole},
    actor::Who,
    clock::Timestamp,
};

use crate::Tx;

/// The columns of a [`Row`], after [`joins`].
macro_rules! columns {
    () => {
        "m.role as member_role, m.not_before as member_from, m.expires_at as member_until, w.user_id is not null as is_walled, \
         g.expires_at as glass_until"
    };
}

/// Joins what decides over the access of a person to a case, both named as in the statement.
macro_rules! joins {
    ($case:literal, $person:literal) => {
        concat!(
            " left join case_members m on m.case_id = ",
            $case,
            " and m.user_id = ",
            $person,
            " left join case_walls w on w.case_id = ",
            $case,
            " and w.user_id = ",
            $person,
            " left join break_glass g on g.case_id = ",
            $case,
            " and g.requested_by = ",
            $person,
            " and g.state = 'approved' "
        )
    };
}

/// True, after [`joins`], for a membership that counts at this moment.
macro_rules! current {
    ($now:literal) => {
        concat!(
            " (w.user_id is null and m.role is not null and (m.not_before is null or m.not_before <= ",
            $now,
            ") and (m.expires_at is null or m.expires_at > ",
            $now,
            ")) "
        )
    };
}

/// True, after [`joins`], for a case that may be seen at this moment; the last says whether a break-glass grant counts for who asks
/// ([`may_break_glass`]).
macro_rules! visible {
    ($now:literal, $glass:literal) => {
        concat!(
            " (",
            $crate::standing::current!($now),
            " or (w.user_id is null and ",
            $glass,
            " and g.expires_at > ",
            $now,
            ")) "
        )
    };
}

/// The cases that a person may have to do with, for lists to begin from.
macro_rules! cases_of {
    ($person:literal) => {
        concat!(
            " (select case_id from case_members where user_id = ",
            $person,
            " union select case_id from break_glass where state = 'approved' and requested_by = ",
            $person,
            ") r join cases c on c.id = r.case_id "
        )
    };
}

pub(crate) use {cases_of, columns, current, joins, visible};

/// What [`columns`] select.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
#[sqlx(default)]
pub(crate) struct Row {
    member_role: Option<String>,
    member_from: Option<i64>,
    member_until: Option<i64>,
    is_walled: bool,
    glass_until: Option<i64>,
}

impl From<Row> for Standing {
    fn from(row: Row) -> Self {
        let role = row.member_role.as_deref().and_then(CaseRole::parse);
        Self {
            membership: role.map(|role| Membership {
                role,
                not_before: row.member_from.map(Timestamp),
                expires_at: row.member_until.map(Timestamp),
            }),
            is_walled: row.is_walled,
            break_glass_until: row.glass_until.map(Timestamp),
            is_suspended: false,
        }
    }
}

/// A break-glass grant counts for administrators who signed in, never for their keys.
pub(crate) fn may_break_glass(tx: &Tx) -> bool {
    matches!(tx.actor().who, Who::User { role: SystemRole::Administrator, .. })
}
