-- What proves a person beside the password: the secret that their authenticator shares with dia (RFC 6238), which counts once it was
-- confirmed. No code of a step up to `last_step` is taken again.
create table second_factors (
    user_id BLOB primary key references users (id),
    sealed_secret BLOB not null,
    last_step INTEGER,
    created_at INTEGER not null,
    confirmed_at INTEGER
);

-- Codes for when the authenticator is lost. Only hashes are kept; each code has 125 random bits.
create table recovery_codes (
    user_id BLOB not null references users (id),
    hash BLOB not null,
    created_at INTEGER not null,
    used_at INTEGER,
    primary key (user_id, hash)
);

-- Sign-ins between the password and the second factor. Only hashes of their tokens are kept.
create table sign_in_steps (
    hash BLOB primary key,
    user_id BLOB not null references users (id),
    guesses INTEGER not null default 0,
    created_at INTEGER not null,
    expires_at INTEGER not null,
    used_at INTEGER
);
create index sign_in_steps_user on sign_in_steps (user_id);

-- Codes with which a person sets a new password. Only hashes are kept.
create table password_resets (
    hash BLOB primary key,
    user_id BLOB not null references users (id),
    created_by BLOB references users (id),
    created_at INTEGER not null,
    expires_at INTEGER not null,
    used_at INTEGER
);
create index password_resets_user on password_resets (user_id);

-- When the person behind a session last proved that it is them, and how (RFC 8176). Absent: when it was opened, by password.
alter table sessions add column authenticated_at INTEGER;
alter table sessions add column methods text;

-- False while the password is one that needs a second factor beside it.
alter table users add column password_is_long BOOLEAN not null default true;
