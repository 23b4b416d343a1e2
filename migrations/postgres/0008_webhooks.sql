-- Programs that are told what happened in a case, and when a sealed batch came to rest.

-- Where a program is told. The URL may hold a token, so it is sealed like the secrets that sign; after a rotation the former secret signs
-- too until `former_until`. `disabled`: null while it is told, else why it is not: person, gone, failing. `failures` counts messages in a
-- row that could not be delivered.
create table webhooks (
    id uuid primary key,
    case_id uuid not null references cases (id),
    sealed_url bytea not null,
    events jsonb not null,
    sealed_secret bytea not null,
    sealed_former_secret bytea,
    former_until bigint,
    disabled text,
    failures bigint not null default 0,
    created_by uuid references users (id),
    created_at bigint not null,
    updated_at bigint not null
);
create index webhooks_case on webhooks (case_id, id);

-- One message to one webhook: `body` holds ids and counts only. `state`: pending, delivered, failed, dropped. `tries` counts since it was
-- last set going, `attempts` is the log of all.
create table webhook_deliveries (
    id uuid primary key,
    webhook_id uuid not null references webhooks (id),
    case_id uuid not null references cases (id),
    event text not null,
    body text not null,
    state text not null,
    tries bigint not null default 0,
    attempts jsonb not null,
    next_at bigint,
    created_at bigint not null,
    updated_at bigint not null
);
create index webhook_deliveries_webhook on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_case on webhook_deliveries (case_id);
create index webhook_deliveries_age on webhook_deliveries (created_at);

-- When nothing of a sealed batch was on its way any more; null again while something is.
alter table batches add column settled_at bigint;
create index batches_unsettled on batches (id) where state = 'sealed' and settled_at is null;
