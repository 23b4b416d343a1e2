-- The first house: people, cases, documents, jobs, audit. Times are microseconds since the epoch (bigint).
-- Columns named `sealed_*` hold ciphertext under the case key, bound to table, column and row.

create table users (
    id uuid primary key,
    email text not null unique,
    name text not null,
    password_hash text not null,
    role text not null,
    is_active boolean not null,
    last_login bigint,
    created_at bigint not null,
    updated_at bigint not null
);

-- One-time codes that let somebody sign up: the setup code of an empty system, and invitations. Only hashes are kept.
create table signup_codes (
    hash bytea primary key,
    purpose text not null,
    role text not null,
    created_by uuid references users (id),
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint
);

create table sessions (
    id uuid primary key,
    user_id uuid not null references users (id),
    refresh_hash bytea not null unique,
    previous_hash bytea,
    rotated_at bigint not null,
    created_at bigint not null,
    last_used_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    address text,
    agent text
);
create index sessions_user on sessions (user_id);
create index sessions_previous on sessions (previous_hash);

-- Sign-in attempts since the last success, by account (keyed hash of the e-mail address, existing or not) and network;
-- the network '' counts them from everywhere.
create table sign_in_attempts (
    account bytea not null,
    network text not null,
    failures bigint not null,
    next_at bigint not null,
    primary key (account, network)
);

create table cases (
    id uuid primary key,
    title text not null,
    description text not null,
    status text not null,
    priority text not null,
    kind text not null,
    owner_id uuid not null references users (id),
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint
);

-- Destroying a case's rows here is its crypto-erase.
create table case_keys (
    case_id uuid not null references cases (id),
    version bigint not null,
    wrapped bytea not null,
    created_at bigint not null,
    primary key (case_id, version)
);

create table case_members (
    case_id uuid not null references cases (id),
    user_id uuid not null references users (id),
    role text not null,
    created_at bigint not null,
    primary key (case_id, user_id)
);
create index case_members_user on case_members (user_id, case_id);

create table databases (
    id uuid primary key,
    case_id uuid not null references cases (id),
    name text not null,
    description text not null,
    deduplication text not null,
    generation bigint not null default 0,
    created_at bigint not null,
    updated_at bigint not null
);
create index databases_case on databases (case_id, id);

-- Every object the store should hold; an object without a row here is an orphan.
create table blobs (
    id uuid primary key,
    case_id uuid not null references cases (id),
    kind text not null,
    size bigint not null,
    sha256 bytea not null,
    created_at bigint not null
);
create index blobs_case on blobs (case_id);

-- Published states of an index; the one whose number is databases.generation is live.
create table generations (
    id uuid primary key,
    database_id uuid not null references databases (id),
    case_id uuid not null references cases (id),
    number bigint not null,
    fence bigint not null,
    sealed_manifest bytea not null,
    documents bigint not null,
    chunks bigint not null,
    created_at bigint not null,
    retired_at bigint,
    unique (database_id, number)
);

create table leases (
    name text primary key,
    holder text not null,
    fence bigint not null,
    expires_at bigint not null
);

create table batches (
    id uuid primary key,
    case_id uuid not null references cases (id),
    database_id uuid not null references databases (id),
    source text not null,
    state text not null,
    sealed_details bytea not null,
    created_by uuid references users (id),
    created_at bigint not null,
    updated_at bigint not null
);
create index batches_database on batches (database_id, id);

create table documents (
    id uuid primary key,
    case_id uuid not null references cases (id),
    database_id uuid not null references databases (id),
    batch_id uuid not null references batches (id),
    parent_id uuid references documents (id),
    family_id uuid not null,
    ordinal bigint not null,
    depth bigint not null,
    item_key bytea not null,
    state text not null,
    format text,
    media_type text,
    size bigint not null,
    sha256 bytea not null,
    original_blob uuid not null,
    text_blob uuid,
    pages bigint,
    characters bigint,
    duplicate_of uuid,
    exception text,
    exclusion text,
    version bigint not null default 1,
    reader bytea,
    in_index boolean not null default false,
    sealed_details bytea not null,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint,
    unique (batch_id, item_key)
);
create index documents_counts on documents (database_id, state, batch_id);
create index documents_listing on documents (database_id, id);
create index documents_case on documents (case_id, id);
create index documents_family on documents (family_id, id);
create index documents_parent on documents (parent_id, ordinal);
create index documents_batch on documents (batch_id, id);
create index documents_duplicate on documents (duplicate_of);
create index documents_deleted on documents (database_id) where deleted_at is not null;
create index documents_in_index on documents (database_id, state) where in_index;

-- Bytes a document had before its file was replaced, numbered from 1; documents.version is the number of the present ones.
create table versions (
    document_id uuid not null references documents (id),
    number bigint not null,
    case_id uuid not null references cases (id),
    original_blob uuid not null,
    size bigint not null,
    sha256 bytea not null,
    format text,
    exception text,
    sealed_details bytea not null,
    primary key (document_id, number)
);

-- What reads documents: a program's version with the settings that decide the text, named by their SHA-256.
create table readers (
    id bytea primary key,
    tool text not null,
    version text not null,
    parameters jsonb not null,
    created_at bigint not null
);

-- Every reading of a document: which bytes were read, by what, and the text that came of it, if one did.
create table readings (
    id uuid primary key,
    case_id uuid not null references cases (id),
    document_id uuid not null references documents (id),
    version bigint not null,
    input_sha256 bytea not null,
    reader bytea not null references readers (id),
    text_blob uuid,
    text_sha256 bytea,
    pages bigint,
    characters bigint,
    exception text,
    created_at bigint not null
);
create index readings_document on readings (document_id, id);

-- Which document stands for a content within a scope (a database, or a case); others of that content are its copies. The key
-- is the SHA-256 of the bytes, or of what identifies a message.
create table contents (
    scope_id uuid not null,
    content bytea not null,
    document_id uuid not null references documents (id),
    primary key (scope_id, content)
);
create index contents_document on contents (document_id);

create table conversations (
    id uuid primary key,
    case_id uuid not null references cases (id),
    owner_id uuid not null references users (id),
    sealed_title bytea not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index conversations_owner on conversations (owner_id, case_id, id);

create table messages (
    id uuid primary key,
    conversation_id uuid not null references conversations (id),
    case_id uuid not null references cases (id),
    owner_id uuid not null references users (id),
    role text not null,
    state text not null,
    sealed_body bytea not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index messages_conversation on messages (conversation_id, id);
create index messages_owner on messages (owner_id, case_id, id);

-- Documents, passages and databases pinned to a conversation: answers look there only.
create table context_items (
    id uuid primary key,
    conversation_id uuid not null references conversations (id),
    case_id uuid not null references cases (id),
    database_id uuid not null references databases (id),
    document_id uuid references documents (id),
    span_start bigint,
    span_end bigint,
    created_at bigint not null
);
create index context_items_conversation on context_items (conversation_id, id);

-- The truth of the queue. `lane` is the case (or the nil UUID): claims go round the lanes.
create table jobs (
    id uuid primary key,
    kind text not null,
    queue text not null,
    lane uuid not null,
    document_id uuid,
    payload jsonb not null,
    state text not null,
    priority bigint not null,
    attempts bigint not null default 0,
    max_attempts bigint not null,
    fence bigint not null default 0,
    run_at bigint not null,
    lease_until bigint,
    worker text,
    unique_key text,
    error text,
    request_id uuid not null,
    on_behalf uuid,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint
);
create index jobs_due on jobs (queue, lane, priority desc, run_at, id) where state = 'ready';
create index jobs_leased on jobs (lease_until) where state = 'running';
create index jobs_document on jobs (document_id) where state in ('ready', 'running');
create index jobs_state on jobs (state, id);
create index jobs_finished on jobs (finished_at) where state in ('done', 'cancelled');
create unique index jobs_one_waiting on jobs (unique_key) where state = 'ready';
create unique index jobs_one_running on jobs (unique_key) where state = 'running';

create table queues (
    name text primary key,
    paused boolean not null
);

create table schedules (
    name text primary key,
    next_at bigint not null
);

create table audit_events (
    id uuid primary key,
    at bigint not null,
    actor_kind text not null,
    actor_id uuid,
    session_id uuid,
    request_id uuid not null,
    address text,
    agent text,
    action text not null,
    case_id uuid,
    resource_type text not null,
    resource_id uuid,
    details jsonb not null
);
create index audit_events_case on audit_events (case_id, id);
create index audit_events_resource on audit_events (resource_id, id);

-- Answers given to creating requests, kept so that a repeated request has one effect.
create table idempotency (
    scope text not null,
    key text not null,
    request_hash bytea not null,
    status bigint not null,
    sealed_response bytea not null,
    created_at bigint not null,
    primary key (scope, key)
);
create index idempotency_age on idempotency (created_at);

-- Facts about the whole system, such as the fingerprint of the root key its sealed columns were written under.
create table system (
    name text primary key,
    value bytea not null
);
