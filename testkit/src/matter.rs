//! A case with a database in it and documents to put there: what most tests of rows begin with.

use domain::{
    access::{Action, CaseRole},
    actor::Actor,
    ids::{BatchId, BlobId, CaseId, DatabaseId, DocumentId},
};
use storage::{
    Storage, Tx,
    batches::{Batch, BatchDetails},
    cases::{Case, NewCase},
    databases::{Database, Deduplication},
    documents::{self, Details, Document, Receipt},
    objects::{BlobKind, Stored},
};

use crate::TestStorage;

/// A case, its manager, and one database.
#[derive(Debug, Clone)]
pub struct Matter {
    /// The storage it lies in.
    pub storage: Storage,
    /// Who opened it.
    pub owner: Actor,
    /// The case.
    pub case: CaseId,
    /// Its database.
    pub database: DatabaseId,
}

/// A case as one would open it.
pub fn new_case(title: &str) -> NewCase {
    NewCase {
        title: title.to_owned(),
        description: String::new(),
        status: "open".to_owned(),
        priority: "normal".to_owned(),
        kind: "litigation".to_owned(),
    }
}

impl Matter {
    /// Opens a case with a database; a fresh member owns it.
    pub async fn open(test: &TestStorage) -> Self {
        let owner = test.member().await;
        let mut tx = test.storage.begin(&owner).await.unwrap();
        let case = Case::create(&mut tx, &new_case("Acme v. Globex")).await.unwrap();
        let database = Database::create(&mut tx, &case, "Production 1", "", Deduplication::default()).await.unwrap();
        tx.commit().await.unwrap();
        Self { storage: test.storage.clone(), owner, case: case.id, database: database.id }
    }

    /// A transaction of the owner.
    pub async fn begin(&self) -> Tx {
        self.storage.begin(&self.owner).await.unwrap()
    }

    /// The database, for an action of `tx`'s actor.
    pub async fn database(&self, tx: &mut Tx, action: Action) -> Database {
        Database::find(tx, self.database, action).await.unwrap()
    }

    /// Gives `member` a role in the case.
    pub async fn admit(&self, member: &Actor, role: CaseRole) {
        let mut tx = self.begin().await;
        let case = Case::find(&mut tx, self.case, Action::ManageMembers).await.unwrap();
        case.set_member(&mut tx, member.user().unwrap(), role).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Opens a batch.
    pub async fn batch(&self) -> BatchId {
        let mut tx = self.begin().await;
        let database = self.database(&mut tx, Action::Upload).await;
        let batch = Batch::open(&mut tx, &database, "upload", &BatchDetails::default()).await.unwrap();
        tx.commit().await.unwrap();
        batch.id
    }

    /// Stores bytes as the original of a document to be.
    pub async fn store(&self, bytes: &[u8]) -> Stored {
        let mut tx = self.storage.read(&self.owner).await.unwrap();
        let key = tx.case_key(self.case).await.unwrap();
        drop(tx);
        let writer = self.storage.objects.writer(&key, self.case, BlobId::new(), BlobKind::Original).await;
        let mut writer = writer.unwrap();
        writer.write(bytes.to_vec().into()).await.unwrap();
        writer.finish().await.unwrap()
    }

    /// Receives one item into a batch, as an upload does.
    pub async fn receive(&self, batch: BatchId, item: &str, bytes: &[u8]) -> storage::Result<Receipt> {
        let stored = self.store(bytes).await;
        let details = Details { name: item.to_owned(), path: item.to_owned(), ..Details::default() };
        let mut tx = self.begin().await;
        let database = self.database(&mut tx, Action::Upload).await;
        let batch = Batch::find(&mut tx, &database, batch).await?;
        let receipts = documents::receive(&mut tx, &batch, &[(item, details, stored)]).await?;
        tx.commit().await?;
        Ok(receipts[0])
    }

    /// Receives one item and returns its document.
    pub async fn document(&self, batch: BatchId, item: &str, bytes: &[u8]) -> DocumentId {
        let receipt = self.receive(batch, item, bytes).await.unwrap();
        assert!(receipt.fresh, "{item} was received before");
        receipt.document
    }

    /// The document as it stands.
    pub async fn load(&self, id: DocumentId) -> Document {
        let mut tx = self.storage.read(&self.owner).await.unwrap();
        Document::load(&mut tx, self.case, id).await.unwrap()
    }
}
