-- What leads from a document to its item and upload, and from a batch to its uploads: asked when a document is deleted.
create index items_document on items (document_id) where document_id is not null;
create index uploads_batch on uploads (batch_id);
create index uploads_document on uploads (document_id) where document_id is not null;
