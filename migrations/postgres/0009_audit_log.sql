-- The audit trail as a log: every event is a leaf of a Merkle tree (RFC 6962 §2.1), at a position given once.
-- What an event of a case says is sealed under the case's key; the log has a commitment to it.
alter table audit_events add column sealed_details bytea;
alter table audit_events add column commitment bytea;

-- Events without a position, written with them.
create table audit_pending (
    event_id uuid primary key
);
insert into audit_pending (event_id) select id from audit_events;

create table audit_leaves (
    position bigint primary key,
    event_id uuid not null unique references audit_events (id),
    hash bytea not null
);

-- Roots of complete subtrees of 256^level leaves.
create table audit_nodes (
    level bigint not null,
    position bigint not null,
    hash bytea not null,
    primary key (level, position)
);

-- What was signed: a note (C2SP tlog-checkpoint) for each size that the log had.
create table audit_checkpoints (
    size bigint primary key,
    note text not null,
    created_at bigint not null
);
