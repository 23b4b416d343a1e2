//! A case with a database, forms to upload, and documents moved through their life without workers.

use std::{sync::Arc, time::Duration};

use domain::{
    access::Action,
    ids::{CaseId, DatabaseId, DocumentId},
    outcome::{Category, Exception},
    provenance::Provenance,
    similarity::Signature,
    text::{Chunk, Metadata, PageText, Text, Word, scalars},
};
use index::{Entry, Writer};
use serde_json::json;
use storage::{
    audit::Audit,
    databases::Database,
    documents::{self, Document, Extracted, Fingerprints, read_text, write_text},
    generations::{self, Manifest, Publication},
    leases,
    objects::{BlobKind, IndexFiles},
};

use crate::door::{Answer, Door, Person};

/// A case of `person` with one database.
pub(crate) struct Papers<'a> {
    pub(crate) door: &'a Door,
    pub(crate) person: &'a Person,
    pub(crate) case: CaseId,
    pub(crate) database: DatabaseId,
}

/// A `multipart/form-data` body.
#[derive(Clone, Default)]
pub(crate) struct Form {
    bytes: Vec<u8>,
}

pub(crate) const BOUNDARY: &str = "----dia-test-boundary";

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        self.bytes.extend_from_slice(head.as_bytes());
        self
    }

    pub(crate) fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The body without its end, as a client that breaks off leaves it.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.bytes
    }
}

pub(crate) fn multipart() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

impl<'a> Papers<'a> {
    pub(crate) async fn open(door: &'a Door, person: &'a Person) -> Self {
        let key = domain::ids::fresh().to_string();
        let case = json!({ "title": "Ardmore v. Pell" });
        let case = door.post("/api/v1/cases", &case).by(person).key(&key).send().await.expect(201).text("/id");
        let fields = json!({ "case_id": case, "name": "Production 1" });
        let database =
            door.post("/api/v1/databases", &fields).by(person).key(&key).send().await.expect(201).text("/id");
        Self { door, person, case: case.parse().unwrap(), database: database.parse().unwrap() }
    }

    /// A path under the database.
    pub(crate) fn path(&self, tail: &str) -> String {
        format!("/api/v1/databases/{}{tail}", self.database)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.door.get(path).by(self.person).send().await
    }

    pub(crate) async fn send(&self, path: &str, key: &str, body: Vec<u8>) -> Answer {
        let knock = self.door.knock("POST", path).by(self.person).header("content-type", &multipart());
        let knock = if key.is_empty() { knock } else { knock.key(key) };
        knock.body(body).send().await
    }

    /// Uploads to the database.
    pub(crate) async fn upload(&self, key: &str, form: Form) -> Answer {
        self.send(&self.path("/files"), key, form.end()).await
    }

    /// Uploads one file and returns its document.
    pub(crate) async fn deliver(&self, name: &str, bytes: &[u8]) -> DocumentId {
        let key = domain::ids::fresh().to_string();
        let answer = self.upload(&key, Form::new().file(name, bytes)).await.expect(201);
        answer.text("/files/0/document_id").parse().unwrap()
    }

    pub(crate) async fn load(&self, id: DocumentId) -> Document {
        let mut tx = self.door.test.storage.read(&self.person.actor).await.unwrap();
        Document::load(&mut tx, self.case, id).await.unwrap()
    }

    /// Identifies a document and stores its text, as the jobs do.
    pub(crate) async fn extract(&self, id: DocumentId, media_type: &str, text: &Text) {
        let storage = &self.door.test.storage;
        let document = self.load(id).await;
        let mut tx = storage.begin(&self.person.actor).await.unwrap();
        document.set_ingested(&mut tx, "text", media_type, &document.details).await.unwrap();
        tx.audit(Audit::DocumentIngested { case: self.case, document: id, members: Vec::new() }).await.unwrap();
        let key = tx.case_key(self.case).await.unwrap();
        tx.commit().await.unwrap();
        let stored = write_text(&storage.objects, &key, self.case, text).unwrap();
        let document = self.load(id).await;
        let mut tx = storage.begin(&self.person.actor).await.unwrap();
        let extracted = Extracted {
            text: stored,
            pages: u32::try_from(text.pages.len()).unwrap(),
            characters: scalars(&text.text),
            metadata: text.metadata.clone(),
            warnings: Vec::new(),
            provenance: Provenance { tool: "test".to_owned(), version: "1".to_owned(), ..Provenance::default() },
            fingerprints: Fingerprints { letter: None, signature: Signature::new(&text.text, &key.fingerprints(), 4) },
        };
        document.set_extracted(&mut tx, &extracted).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Ends a document as an exception.
    pub(crate) async fn fail(&self, id: DocumentId, category: Category, detail: &str) {
        let document = self.load(id).await;
        let mut tx = self.door.test.storage.begin(&self.person.actor).await.unwrap();
        document.set_exception(&mut tx, &Exception::new(category, detail), None).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Writes what is extracted into the index and publishes it, as the job does.
    pub(crate) async fn publish(&self) {
        let storage = &self.door.test.storage;
        let mut tx = storage.read(&self.person.actor).await.unwrap();
        let live = generations::live(&mut tx, self.case, self.database).await.unwrap();
        let waiting = documents::extracted(&mut tx, self.case, self.database, 10_000).await.unwrap();
        let key = tx.case_key(self.case).await.unwrap();
        drop(tx);
        let manifest = live.map(|live| live.manifest);
        let before = manifest.clone().unwrap_or_default().files;
        let files = IndexFiles::writable(storage.objects.clone(), key.clone(), self.case, before);
        let meta = manifest.as_ref().map(|manifest| &manifest.meta[..]);
        let mut writer = Writer::open(Arc::new(files.clone()), meta, 0, 1).unwrap();
        for document in &waiting {
            let text = read_text(&storage.objects, &key, self.case, document.text.unwrap()).unwrap();
            add(&mut writer, document, &text);
        }
        let generation = writer.commit().unwrap();

        let name = format!("index:{}", self.database);
        let lease = leases::acquire(storage, &name, "test", Duration::from_mins(1)).await.unwrap().unwrap();
        let mut tx = storage.begin(&self.person.actor).await.unwrap();
        let mut names = files.files();
        names.retain(|name, _| generation.files.contains(name));
        for added in files.added().iter().filter(|added| names.contains_key(&added.name)) {
            tx.register_blob(self.case, BlobKind::Index, &added.stored).await.unwrap();
        }
        let publication = Publication {
            database: self.database,
            case: self.case,
            lease: &lease,
            manifest: Manifest { meta: generation.meta, files: names },
            documents: generation.documents,
            chunks: generation.chunks,
        };
        let number = generations::publish(&mut tx, &publication).await.unwrap();
        let ids: Vec<DocumentId> = waiting.iter().map(|document| document.id).collect();
        let texts: Vec<_> = waiting.iter().map(|document| (document.id, document.text.unwrap())).collect();
        documents::mark_indexed(&mut tx, &texts).await.unwrap();
        let (case, database) = (self.case, self.database);
        tx.audit(Audit::GenerationPublished { case, database, number, added: ids.len() as u64, removed: 0 })
            .await
            .unwrap();
        tx.publish(domain::events::Topic::Database(database), domain::events::Event::DatabaseChanged { database });
        tx.commit().await.unwrap();
        leases::release(storage, &lease).await.unwrap();
    }

    /// Delivers, extracts and leaves for [`Papers::publish`] a document with these pages.
    pub(crate) async fn paper(&self, name: &str, pages: &[&str]) -> DocumentId {
        let id = self.deliver(name, pages.concat().as_bytes()).await;
        self.extract(id, "text/plain", &text(pages)).await;
        id
    }

    /// The actions in the case's audit trail.
    pub(crate) async fn trail(&self) -> Vec<String> {
        let mut tx = self.door.test.storage.read(&self.person.actor).await.unwrap();
        Database::find(&mut tx, self.database, Action::SeeCase).await.unwrap();
        drop(tx);
        self.door.test.trail(self.case).await.into_iter().map(|entry| entry.action).collect()
    }
}

/// A text of these pages, each word with a box.
pub(crate) fn text(pages: &[&str]) -> Text {
    let mut out = Text { metadata: Metadata::default(), ..Text::default() };
    for (number, page) in (1..).zip(pages) {
        if number > 1 {
            out.text.push('\n');
        }
        let start = scalars(&out.text);
        out.text.push_str(page);
        let end = scalars(&out.text);
        let words = if start == end {
            Vec::new()
        } else {
            vec![Word { start, end, bbox: [1.0, 2.0, 3.0, 4.0], confidence: Some(91) }]
        };
        out.pages.push(PageText { number, start, end, size: Some((612.0, 792.0)), words, ..PageText::default() });
    }
    out
}

fn add(writer: &mut Writer, document: &Document, text: &Text) {
    let chunks: Vec<Chunk> = (0..)
        .zip(&text.pages)
        .map(|(ordinal, page)| Chunk {
            ordinal,
            start: page.start,
            end: page.end,
            first_page: page.number,
            last_page: page.number,
            text: text.slice(page.start..page.end).unwrap().to_owned(),
        })
        .collect();
    let details = &document.details;
    let entry = Entry {
        document: document.id,
        family: document.family,
        batch: document.batch,
        name: &details.name,
        path: &details.path,
        media_type: document.media_type.as_deref().unwrap(),
        custodian: details.custodian.as_deref(),
        copy_custodians: &[],
        control_number: None,
        listed: &[],
        labels: &details.labels,
        metadata: &text.metadata,
        pages: document.pages.unwrap(),
        chunks: &chunks,
        text: &text.text,
    };
    writer.add(&entry).unwrap();
}
