-- What proves a person beside the password: the secret that their authenticator shares with dia (RFC 6238), which counts once it was
-- confirmed. No code of a step up to `last_step` is taken again.
create table second_factors (
    user_id uuid primary key references users (id),
    sealed_secret bytea not null,
    last_step bigint,
    created_at bigint not null,
    confirmed_at bigint
);

-- Codes for when the authenticator is lost. Only hashes are kept; each code has 125 random bits.
create table recovery_codes (
    user_id uuid not null references users (id),
    hash bytea not null,
    created_at bigint not null,
    used_at bigint,
    primary key (user_id, hash)
);

-- Sign-ins between the password and the second factor. Only hashes of their tokens are kept.
create table sign_in_steps (
    hash bytea primary key,
    user_id uuid not null references users (id),
    guesses bigint not null default 0,
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint
);
create index sign_in_steps_user on sign_in_steps (user_id);

-- Codes with which a person sets a new password. Only hashes are kept.
create table password_resets (
    hash bytea primary key,
    user_id uuid not null references users (id),
    created_by uuid references users (id),
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint
);
create index password_resets_user on password_resets (user_id);

-- When the person behind a session last proved that it is them, and how (RFC 8176). Absent: when it was opened, by password.
alter table sessions add column authenticated_at bigint;
alter table sessions add column methods text;

-- False while the password is one that needs a second factor beside it.
alter table users add column password_is_long boolean not null default true;
