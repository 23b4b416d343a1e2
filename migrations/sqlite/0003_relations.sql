-- What documents have to do with each other. Fingerprints are made under a key of the case when a text is extracted; threads and
-- groups of near-duplicates follow from all of them together.

create table relations (
    document_id BLOB primary key references documents (id),
    case_id BLOB not null references cases (id),
    sealed_letter BLOB,
    signature BLOB,
    words INTEGER not null,
    thread_id BLOB references documents (id),
    answers_id BLOB references documents (id),
    position INTEGER,
    is_inclusive BOOLEAN,
    group_id BLOB references documents (id),
    similarity INTEGER
);
create index relations_case on relations (case_id, document_id);
create index relations_thread on relations (thread_id, position) where thread_id is not null;
create index relations_answers on relations (answers_id) where answers_id is not null;
create index relations_group on relations (group_id, document_id) where group_id is not null;

-- What a thread of several messages was made of when it was last judged which of them are inclusive.
create table threads (
    id BLOB primary key references documents (id),
    case_id BLOB not null references cases (id),
    digest INTEGER not null
);
create index threads_case on threads (case_id, id);
