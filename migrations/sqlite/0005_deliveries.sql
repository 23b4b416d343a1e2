-- What a delivery announces and how it arrives: load files with the items they list, and resumable uploads.

-- A load file as it was delivered. `state`: waiting, read, failed.
create table load_files (
    id BLOB primary key,
    case_id BLOB not null references cases (id),
    database_id BLOB not null references databases (id),
    batch_id BLOB not null references batches (id),
    blob BLOB not null,
    state text not null,
    items INTEGER not null default 0,
    refused INTEGER not null default 0,
    sealed_details BLOB not null,
    created_by BLOB references users (id),
    created_at INTEGER not null,
    updated_at INTEGER not null
);
create index load_files_batch on load_files (batch_id, id);
create index load_files_case on load_files (case_id);

-- One file that a load file announces. `state`: awaited, fetching, delivered, failed; `path_key` is a digest of its path keyed under the
-- case key, by which the file is known when it comes.
create table items (
    id BLOB primary key,
    case_id BLOB not null references cases (id),
    database_id BLOB not null references databases (id),
    batch_id BLOB not null references batches (id),
    load_file_id BLOB not null references load_files (id),
    line INTEGER not null,
    path_key BLOB,
    state text not null,
    error text,
    document_id BLOB,
    sealed_details BLOB not null,
    created_at INTEGER not null,
    updated_at INTEGER not null,
    unique (load_file_id, line)
);
create index items_batch on items (batch_id, id);
create index items_state on items (batch_id, state, id);
create index items_path on items (batch_id, path_key);
create index items_case on items (case_id);

-- Files that arrive in pieces, by the tus protocol. `state`: open, complete; `kind`: whole, partial, final.
create table uploads (
    id BLOB primary key,
    case_id BLOB not null references cases (id),
    database_id BLOB not null references databases (id),
    batch_id BLOB not null references batches (id),
    state text not null,
    kind text not null,
    length INTEGER,
    received INTEGER not null default 0,
    document_id BLOB,
    sealed_details BLOB not null,
    created_by BLOB references users (id),
    created_at INTEGER not null,
    expires_at INTEGER not null
);
create index uploads_case on uploads (case_id);
create index uploads_expiry on uploads (expires_at);

create table upload_parts (
    upload_id BLOB not null references uploads (id),
    number INTEGER not null,
    case_id BLOB not null references cases (id),
    blob BLOB not null,
    size INTEGER not null,
    sha256 BLOB not null,
    primary key (upload_id, number)
);
create index upload_parts_case on upload_parts (case_id);

-- A batch that takes no more files was called closed.
update batches set state = 'sealed' where state = 'closed';
