-- The processes that work the queues, as they tell it themselves. Jobs do not depend on these rows; their leases count.

create table workers (
    name text primary key,
    host text not null,
    version text not null,
    queues TEXT not null,
    is_stopping BOOLEAN not null,
    started_at INTEGER not null,
    seen_at INTEGER not null
);
