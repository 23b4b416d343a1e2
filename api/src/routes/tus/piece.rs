//! The bytes of one request on their way into durable pieces.

use axum::{
    body::{Body, Bytes},
    http::HeaderMap,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::{
    error::Code,
    ids::{BlobId, CaseId},
};
use futures::StreamExt as _;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use storage::{
    batches::Batch,
    databases::Database,
    objects::{BlobKind, BlobWriter, Stored},
    uploads::Upload,
    vault::CaseKey,
};

use super::find_batch;
use crate::{Error, Result, State, extract::CurrentUser, routes::uploads::forget_after};

/// Names of the checksums that can be sent.
pub(super) const ALGORITHMS: &str = "sha1,sha256";
/// A piece is made durable when it has this many bytes; so many are sent again at most after a crash.
const PIECE: u64 = 64 << 20;

/// The checksum that a request sends.
pub(super) enum Checksum {
    Sha1(Sha1, Vec<u8>),
    Sha256(Sha256, Vec<u8>),
}

impl Checksum {
    /// `None` when there is none; an error for one that cannot be verified.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
        let told = value.to_str().ok().and_then(|value| value.split_once(' '));
        let wanted = told.and_then(|(name, value)| Some((name, BASE64_STANDARD.decode(value.trim()).ok()?)));
        match wanted {
            Some(("sha1", value)) => Ok(Some(Self::Sha1(Sha1::new(), value))),
            Some(("sha256", value)) => Ok(Some(Self::Sha256(Sha256::new(), value))),
            _ => Err(Error::new(Code::BadRequest, "Upload-Checksum must be sha1 or sha256, a blank, and its base64")),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash, _) => hash.update(bytes),
            Self::Sha256(hash, _) => hash.update(bytes),
        }
    }

    fn holds(self) -> bool {
        match self {
            Self::Sha1(hash, value) => hash.finalize()[..] == value,
            Self::Sha256(hash, value) => hash.finalize()[..] == value,
        }
    }
}

/// The request's bytes.
pub(super) struct Pieces<'a> {
    state: &'a State,
    user: &'a CurrentUser,
    case: CaseId,
    batch: Batch,
    upload: Upload,
    checksum: Option<Checksum>,
    /// Pieces that wait for the checksum.
    held: Vec<Stored>,
    /// Where the bytes that came end in the upload.
    end: u64,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        state: &'a State,
        user: &'a CurrentUser,
        database: &Database,
        batch: Batch,
        upload: Upload,
        checksum: Option<Checksum>,
    ) -> Self {
        let end = upload.received;
        Self { state, user, case: database.case_id, batch, upload, checksum, held: Vec::new(), end }
    }

    /// Takes the body to its end, and gives the upload as it stands then.
    pub(super) async fn take(mut self, body: Body) -> Result<Upload> {
        let taken = self.read(body).await;
        if let Err(error) = &taken {
            forget_after(self.state, error, self.held.drain(..).map(|piece| piece.blob).collect()).await;
        }
        taken.map(|()| self.upload)
    }

    async fn read(&mut self, body: Body) -> Result<()> {
        let mut tx = self.state.storage.read(&self.user.actor).await?;
        let key = tx.case_key(self.case).await?;
        drop(tx);
        let mut body = body.into_data_stream();
        let (mut writer, mut size) = (None, 0);
        while let Some(bytes) = body.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    // What came is kept for the client to go on with, unless it cannot be verified.
                    if self.checksum.is_none() && size > 0 {
                        self.keep(writer).await?;
                    }
                    return Err(Error::body(&error));
                }
            };
            self.check(&bytes)?;
            size += bytes.len() as u64;
            let mut open = self.open(writer.take(), &key).await?;
            open.write(bytes).await.map_err(storage::Error::from)?;
            writer = Some(open);
            if size >= PIECE {
                self.keep(writer.take()).await?;
                size = 0;
            }
        }
        self.keep(writer).await?;
        match self.checksum.take().map(Checksum::holds) {
            Some(false) => Err(Code::ChecksumMismatch.into()),
            Some(true) => self.add().await,
            None => Ok(()),
        }
    }

    /// Refuses bytes beyond the upload's length, or beyond what any upload may have.
    fn check(&mut self, bytes: &Bytes) -> Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.end += bytes.len() as u64;
        let most = self.upload.length.unwrap_or(self.state.config.max_upload_bytes);
        if self.end > most {
            return Err(Error::new(Code::TooLarge, format!("more came than the {most} bytes the upload may have")));
        }
        Ok(())
    }

    async fn open(&self, writer: Option<BlobWriter>, key: &CaseKey) -> Result<BlobWriter> {
        if let Some(writer) = writer {
            return Ok(writer);
        }
        let objects = &self.state.storage.objects;
        let opened = objects.writer(key, self.case, BlobId::new(), BlobKind::Original).await;
        Ok(opened.map_err(storage::Error::from)?)
    }

    /// Makes a piece durable; it counts at once, or with the others once the checksum holds.
    async fn keep(&mut self, writer: Option<BlobWriter>) -> Result<()> {
        let Some(writer) = writer else { return Ok(()) };
        self.held.push(writer.finish().await.map_err(storage::Error::from)?);
        if self.checksum.is_some() { Ok(()) } else { self.add().await }
    }

    /// Counts the pieces that wait.
    async fn add(&mut self) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut tx = self.state.storage.begin(&self.user.actor).await?;
        // Access as it is now.
        let (_, batch) = find_batch(&mut tx, self.upload.database, self.batch.id).await?;
        let patience = self.state.config.upload_patience();
        self.upload.add(&mut tx, &batch, &self.held, patience).await?;
        tx.commit().await?;
        self.held.clear();
        Ok(())
    }
}
