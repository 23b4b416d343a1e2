-- The passwords of a case, kept to open its protected documents. `lookup` is a digest keyed under the case key: a password is
-- kept once, and its row does not tell which it is. `number` is the edition of the bank that the password came with.

create table passwords (
    id BLOB primary key,
    case_id BLOB not null references cases (id),
    lookup BLOB not null,
    number INTEGER not null,
    sealed_password BLOB not null,
    sealed_note BLOB not null,
    added_by BLOB references users (id),
    uses INTEGER not null default 0,
    used_at INTEGER,
    created_at INTEGER not null,
    unique (case_id, lookup)
);
create index passwords_newest on passwords (case_id, number);
create index passwords_most_used on passwords (case_id, uses);

-- Rises with every password added, and never falls.
alter table cases add column bank_edition INTEGER not null default 0;

-- The edition that was tried when the document was last found to be protected; one that was not tried with it waits for
-- `retry_protected`.
alter table documents add column bank_edition INTEGER;
create index documents_protected on documents (case_id, id) where exception = 'encrypted';
