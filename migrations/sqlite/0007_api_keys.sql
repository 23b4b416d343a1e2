-- Keys with which programs act for the person who made them. `secret_hash` is SHA-256 of the secret; `prefix` finds the row and is no
-- secret. A key with `is_limited` reaches the cases in api_key_cases and no other, even when none is left.
create table api_keys (
    id BLOB primary key,
    user_id BLOB not null references users (id),
    name text not null,
    prefix text not null unique,
    secret_hash BLOB not null,
    scopes TEXT not null,
    networks TEXT not null,
    is_limited BOOLEAN not null,
    created_at INTEGER not null,
    expires_at INTEGER not null,
    last_used_at INTEGER,
    revoked_at INTEGER,
    successor_id BLOB
);
create index api_keys_user on api_keys (user_id, id);

create table api_key_cases (
    key_id BLOB not null references api_keys (id),
    case_id BLOB not null references cases (id),
    primary key (key_id, case_id)
);
create index api_key_cases_case on api_key_cases (case_id);

-- The key an act was done with.
alter table audit_events add column key_id BLOB;
