-- The passwords of a case, kept to open its protected documents. `lookup` is a digest keyed under the case key: a password is
-- kept once, and its row does not tell which it is. `number` is the edition of the bank that the password came with.

create table passwords (
    id uuid primary key,
    case_id uuid not null references cases (id),
    lookup bytea not null,
    number bigint not null,
    sealed_password bytea not null,
    sealed_note bytea not null,
    added_by uuid references users (id),
    uses bigint not null default 0,
    used_at bigint,
    created_at bigint not null,
    unique (case_id, lookup)
);
create index passwords_newest on passwords (case_id, number);
create index passwords_most_used on passwords (case_id, uses);

-- Rises with every password added, and never falls.
alter table cases add column bank_edition bigint not null default 0;

-- The edition that was tried when the document was last found to be protected; one that was not tried with it waits for
-- `retry_protected`.
alter table documents add column bank_edition bigint;
create index documents_protected on documents (case_id, id) where exception = 'encrypted';
