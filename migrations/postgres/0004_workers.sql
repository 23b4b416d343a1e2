-- The processes that work the queues, as they tell it themselves. Jobs do not depend on these rows; their leases count.

create table workers (
    name text primary key,
    host text not null,
    version text not null,
    queues jsonb not null,
    is_stopping boolean not null,
    started_at bigint not null,
    seen_at bigint not null
);
