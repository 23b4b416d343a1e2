-- What somebody should look at soon, found in the audit trail by its rules.
create table alerts (
    id BLOB primary key,
    rule text not null,
    severity text not null,
    subject_kind text not null,
    subject text not null,
    events INTEGER not null,
    first_at INTEGER not null,
    last_at INTEGER not null,
    raised_at INTEGER not null,
    acknowledged_at INTEGER,
    acknowledged_by BLOB references users (id)
);
create index alerts_subject on alerts (rule, subject, last_at);

-- The rules look for some actions of a short while.
create index audit_events_action on audit_events (action, at);
