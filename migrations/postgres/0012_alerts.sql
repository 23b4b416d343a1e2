-- What somebody should look at soon, found in the audit trail by its rules.
create table alerts (
    id uuid primary key,
    rule text not null,
    severity text not null,
    subject_kind text not null,
    subject text not null,
    events bigint not null,
    first_at bigint not null,
    last_at bigint not null,
    raised_at bigint not null,
    acknowledged_at bigint,
    acknowledged_by uuid references users (id)
);
create index alerts_subject on alerts (rule, subject, last_at);

-- The rules look for some actions of a short while.
create index audit_events_action on audit_events (action, at);
