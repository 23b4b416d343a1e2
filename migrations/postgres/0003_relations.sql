-- What documents have to do with each other. Fingerprints are made under a key of the case when a text is extracted; threads and
-- groups of near-duplicates follow from all of them together.

create table relations (
    document_id uuid primary key references documents (id),
    case_id uuid not null references cases (id),
    sealed_letter bytea,
    signature bytea,
    words bigint not null,
    thread_id uuid references documents (id),
    answers_id uuid references documents (id),
    position bigint,
    is_inclusive boolean,
    group_id uuid references documents (id),
    similarity bigint
);
create index relations_case on relations (case_id, document_id);
create index relations_thread on relations (thread_id, position) where thread_id is not null;
create index relations_answers on relations (answers_id) where answers_id is not null;
create index relations_group on relations (group_id, document_id) where group_id is not null;

-- What a thread of several messages was made of when it was last judged which of them are inclusive.
create table threads (
    id uuid primary key references documents (id),
    case_id uuid not null references cases (id),
    digest bigint not null
);
create index threads_case on threads (case_id, id);
