-- Who may do what for a while, who must be kept out, and who reads without being a member.

-- Outside of this time a member is none. Null: from the beginning, for ever.
alter table case_members add column not_before INTEGER;
alter table case_members add column expires_at INTEGER;

-- Persons who are kept out of a case whatever their membership. The reason is sealed under the case's key.
create table case_walls (
    case_id BLOB not null references cases (id),
    user_id BLOB not null references users (id),
    sealed_reason BLOB not null,
    created_by BLOB references users (id),
    created_at INTEGER not null,
    primary key (case_id, user_id)
);
create index case_walls_user on case_walls (user_id);

-- Administrators who ask to read a case without being members. `state`: pending, approved, refused, ended, lapsed. One that is approved
-- counts until `expires_at`.
create table break_glass (
    id BLOB primary key,
    case_id BLOB not null references cases (id),
    requested_by BLOB not null references users (id),
    sealed_reason BLOB not null,
    minutes INTEGER not null,
    state text not null,
    decided_by BLOB references users (id),
    decided_at INTEGER,
    expires_at INTEGER,
    ended_by BLOB references users (id),
    ended_at INTEGER,
    created_at INTEGER not null
);
create index break_glass_case on break_glass (case_id);
create unique index break_glass_pending on break_glass (requested_by, case_id) where state = 'pending';
create unique index break_glass_approved on break_glass (requested_by, case_id) where state = 'approved';
