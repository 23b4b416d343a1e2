//! A case taken away with proof of its custody: one stream of a tape archive that unpacks into a BagIt bag (RFC 8493), read from rows and
//! objects while the client takes it, so that nothing is kept here and the size of the case costs no memory.

use std::collections::{HashMap, VecDeque};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use domain::{
    access::Action,
    actor::Actor,
    error::Code,
    ids::{CaseId, DatabaseId, DocumentId},
    outcome::Category,
    page::{MAX_LIMIT, PageQuery},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use storage::{
    Tx,
    audit::{
        Audit, Checkpoint,
        bundle::{self, Head},
        custody::{self, Link, MANIFEST, NOTE, TAG_MANIFEST},
    },
    cases::Case,
    databases::Database,
    documents::{Document, DocumentFilter},
    objects::BlobKind,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{document_bodies::DocumentBody, versions::VersionBody};
use crate::{
    Error, Result, State,
    download::attachment,
    extract::{Path, Query, SteppedUp},
};

/// A block of a tape archive, in bytes.
const BLOCK: usize = 512;
/// Containers whose name and digest are remembered.
const REMEMBERED: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(export_case))
}

/// What to take away.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// Only the documents of this database.
    #[param(value_type = Option<Uuid>)]
    database_id: Option<DatabaseId>,
}

/// The files of a case as they were received, how each came to be here, and the signed log of what was done with them: a tape archive with
/// one folder, a BagIt bag that `dia verify` checks without this server.
#[utoipa::path(
    get, path = "/cases/{id}/export", tag = "audit", security(("bearer" = [])), params(("id" = Uuid, Path), ExportParams),
    responses((status = 200, content_type = "application/x-tar", body = String))
)]
async fn export_case(
    state: State,
    SteppedUp(user): SteppedUp,
    Path(id): Path<CaseId>,
    Query(params): Query<ExportParams>,
) -> Result<Response> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ExportCase).await?;
    if let Some(database) = params.database_id {
        let found = Database::find(&mut tx, database, Action::ExportCase).await?;
        if found.case_id != case.id {
            return Err(Error::not_found());
        }
    }
    let found = bundle::head(&mut tx, Some(case.id)).await?;
    let nothing = || Error::new(Code::Conflict, "nothing has been signed yet; ask again in a minute");
    let (head, checkpoint) = found.ok_or_else(nothing)?;
    tx.audit(Audit::CaseExported { case: case.id, database: params.database_id }).await?;
    tx.commit().await?;
    let export = Export::new(state, user.actor, &case, params.database_id, &head, checkpoint)?;
    let pieces = stream::try_unfold(export, |mut export| async move {
        Ok::<_, storage::Error>(export.next().await?.map(|piece| (piece, export)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, attachment(&format!("case-{}.tar", case.id))),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What an archive is made of, in order.
enum Step {
    /// A file whose bytes are at hand.
    Whole { path: String, bytes: Vec<u8> },
    /// A file as it was received.
    Original { path: String, document: Box<Document> },
    /// The next documents of the case.
    Documents { page: PageQuery, part: u32 },
    /// The next leaves of the log.
    Log { page: PageQuery, part: u32 },
    /// What makes the bag whole.
    Seal,
    /// Two empty blocks.
    End,
}

/// A file on its way into the archive.
struct Flowing {
    pieces: BoxStream<'static, std::io::Result<Bytes>>,
    path: String,
    hash: Sha256,
    size: u64,
    expected: Vec<u8>,
}

/// The stream of an archive: what is still to come, and what is told of what has gone.
struct Export {
    state: State,
    actor: Actor,
    case: CaseId,
    database: Option<DatabaseId>,
    title: String,
    key: String,
    checkpoint: Checkpoint,
    steps: VecDeque<Step>,
    flowing: Option<Flowing>,
    manifest: String,
    bytes: u64,
    files: u64,
    originals: u64,
    containers: HashMap<DocumentId, (Option<DocumentId>, Link)>,
}

/// What is told of a document.
#[derive(Serialize)]
struct CustodyLine {
    #[serde(flatten)]
    document: DocumentBody,
    /// The containers around it, the outermost first.
    containers: Vec<Link>,
    /// Its file in the bag.
    file: Option<String>,
    /// Why it has none.
    withheld: Option<&'static str>,
    /// Every file it stood for, and every reading of each.
    versions: Vec<VersionBody>,
}

impl Export {
    fn new(
        state: State,
        actor: Actor,
        case: &Case,
        database: Option<DatabaseId>,
        head: &Head,
        checkpoint: Checkpoint,
    ) -> Result<Self> {
        let first = || PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
        let head_line = serde_json::to_string(head).map_err(storage::Error::from)? + "\n";
        let steps = [
            Step::Whole { path: "bagit.txt".to_owned(), bytes: BAGIT.into() },
            Step::Documents { page: first(), part: 1 },
            Step::Whole { path: custody::audit_part(0), bytes: head_line.into_bytes() },
            Step::Log { page: first(), part: 1 },
            Step::Seal,
            Step::End,
        ];
        Ok(Self {
            state,
            actor,
            case: case.id,
            database,
            title: case.title.clone(),
            key: head.key.clone(),
            checkpoint,
            steps: steps.into(),
            flowing: None,
            manifest: String::new(),
            bytes: 0,
            files: 0,
            originals: 0,
            containers: HashMap::new(),
        })
    }

    /// The next bytes of the archive.
    async fn next(&mut self) -> storage::Result<Option<Bytes>> {
        loop {
            if let Some(flowing) = &mut self.flowing {
                if let Some(piece) = flowing.pieces.next().await {
                    let piece = piece?;
                    flowing.hash.update(&piece);
                    flowing.size += piece.len() as u64;
                    return Ok(Some(piece));
                }
                return self.flowed().map(Some);
            }
            let Some(step) = self.steps.pop_front() else { return Ok(None) };
            match step {
                Step::Whole { path, bytes } => return Ok(Some(self.whole(&path, &bytes)?)),
                Step::Original { path, document } => return self.begin(path, *document).await.map(Some),
                Step::Documents { page, part } => self.documents(&page, part).await?,
                Step::Log { page, part } => self.log(&page, part).await?,
                Step::Seal => self.seal()?,
                Step::End => return Ok(Some(Bytes::from_static(&[0; 2 * BLOCK]))),
            }
        }
    }

    fn head(&self, path: &str, size: u64) -> storage::Result<tar::Header> {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!("case-{}/{path}", self.case))?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(self.state.storage.clock.now().seconds()).unwrap_or(0));
        header.set_cksum();
        Ok(header)
    }

    fn told(&mut self, path: &str, digest: &[u8], size: u64) {
        if path.starts_with("data/") {
            self.manifest.push_str(&format!("{}  {path}\n", hex::encode(digest)));
            self.bytes += size;
            self.files += 1;
        }
    }

    fn whole(&mut self, path: &str, bytes: &[u8]) -> storage::Result<Bytes> {
        self.told(path, &Sha256::digest(bytes), bytes.len() as u64);
        let mut block = self.head(path, bytes.len() as u64)?.as_bytes().to_vec();
        block.extend(bytes);
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        Ok(block.into())
    }

    /// Access is asked again with every file.
    async fn begin(&mut self, path: String, document: Document) -> storage::Result<Bytes> {
        let mut tx = self.state.storage.read(&self.actor).await?;
        Case::find(&mut tx, self.case, Action::ExportCase).await?;
        let key = tx.case_key(self.case).await?;
        drop(tx);
        let head = self.head(&path, document.size)?;
        let objects = &self.state.storage.objects;
        let pieces = objects.stream(&key, self.case, document.original, BlobKind::Original, None).await?.boxed();
        self.flowing = Some(Flowing { pieces, path, hash: Sha256::new(), size: 0, expected: document.sha256 });
        Ok(Bytes::copy_from_slice(head.as_bytes()))
    }

    /// What was sent must be what was received; otherwise the archive breaks off, and does not verify.
    fn flowed(&mut self) -> storage::Result<Bytes> {
        let Some(flowed) = self.flowing.take() else { return Ok(Bytes::new()) };
        let digest = flowed.hash.finalize();
        if digest[..] != flowed.expected[..] {
            tracing::error!(path = flowed.path, "a file is not the one that was received; the export breaks off");
            return Err(storage::Error::Invalid("a file is not the one that was received"));
        }
        self.told(&flowed.path, &digest, flowed.size);
        let rest = usize::try_from(flowed.size % BLOCK as u64).unwrap_or(0);
        Ok(vec![0; (BLOCK - rest) % BLOCK].into())
    }

    /// A page of documents: their files, then what is told of them.
    async fn documents(&mut self, page: &PageQuery, part: u32) -> storage::Result<()> {
        let mut tx = self.state.storage.read(&self.actor).await?;
        let case = Case::find(&mut tx, self.case, Action::ExportCase).await?;
        let filter = DocumentFilter::default();
        let found = match self.database {
            None => Document::list_case(&mut tx, &case, &filter, page).await?,
            Some(database) => {
                let database = Database::find(&mut tx, database, Action::ExportCase).await?;
                Document::list(&mut tx, &database, &filter, page).await?
            }
        };
        let (mut lines, mut steps) = (String::new(), Vec::new());
        for document in found.items {
            let (file, withheld) = match document.category {
                Some(Category::Virus) => (None, Some("the virus scanner found something in it")),
                _ => (Some(self.path(&document)), None),
            };
            let readings = document.readings(&mut tx).await?;
            let versions = document.versions(&mut tx).await?;
            let line = CustodyLine {
                containers: self.chain(&mut tx, document.parent).await?,
                file: file.clone(),
                withheld,
                versions: versions.into_iter().map(|version| VersionBody::new(version, &readings)).collect(),
                document: document.clone().into(),
            };
            lines.push_str(&serde_json::to_string(&line)?);
            lines.push('\n');
            steps.extend(file.map(|path| Step::Original { path, document: Box::new(document) }));
        }
        steps.push(Step::Whole { path: custody::custody_part(part), bytes: lines.into_bytes() });
        let next = found.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
        steps.extend(next.map(|page| Step::Documents { page, part: part + 1 }));
        steps.into_iter().rev().for_each(|step| self.steps.push_front(step));
        Ok(())
    }

    /// A number, and the ending that programs know it by; its name is told, and is never a path.
    fn path(&mut self, document: &Document) -> String {
        self.originals += 1;
        let ending = document.details.name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_plain = (1..=8).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let ending = if is_plain { format!(".{}", ending.to_ascii_lowercase()) } else { String::new() };
        format!("data/originals/{:05}/{:08}{ending}", self.originals / 1_000, self.originals)
    }

    /// The containers around a document, the outermost first.
    async fn chain(&mut self, tx: &mut Tx, mut parent: Option<DocumentId>) -> storage::Result<Vec<Link>> {
        if self.containers.len() > REMEMBERED {
            self.containers.clear();
        }
        let mut chain = Vec::new();
        while let Some(id) = parent {
            let known = if let Some(known) = self.containers.get(&id) {
                known.clone()
            } else {
                let container = Document::load(tx, self.case, id).await?;
                let sha256 = hex::encode(&container.sha256);
                let link = Link { id: id.to_string(), name: container.details.name, sha256 };
                self.containers.insert(id, (container.parent, link.clone()));
                (container.parent, link)
            };
            parent = known.0;
            chain.push(known.1);
        }
        chain.reverse();
        Ok(chain)
    }

    async fn log(&mut self, page: &PageQuery, part: u32) -> storage::Result<()> {
        let mut tx = self.state.storage.read(&self.actor).await?;
        let case = Case::find(&mut tx, self.case, Action::ExportCase).await?;
        let found = bundle::of_case(&mut tx, case.id, self.checkpoint.size, page).await?;
        let mut lines = String::new();
        for leaf in &found.items {
            lines.push_str(&serde_json::to_string(leaf)?);
            lines.push('\n');
        }
        let next = found.next_cursor.map(|cursor| PageQuery { cursor: Some(cursor), limit: Some(MAX_LIMIT) });
        if let Some(page) = next {
            self.steps.push_front(Step::Log { page, part: part + 1 });
        }
        self.steps.push_front(Step::Whole { path: custody::audit_part(part), bytes: lines.into_bytes() });
        Ok(())
    }

    /// The tag files: what the bag is, what it holds, and the note over them.
    fn seal(&mut self) -> storage::Result<()> {
        let now = self.state.storage.clock.now().rfc3339();
        let about = format!(
            "Bag-Software-Agent: dia {}\nBagging-Date: {}\nExternal-Identifier: {}\nExternal-Description: {}\nPayload-Oxum: {}.{}\n\
             Dia-Log-Size: {}\nDia-Key: {}\n",
            env!("CARGO_PKG_VERSION"),
            now.get(..10).unwrap_or_default(),
            self.case,
            one_line(&self.title),
            self.bytes,
            self.files,
            self.checkpoint.size,
            self.key,
        );
        let certificate = certificate(self, &now);
        let manifest = std::mem::take(&mut self.manifest);
        let tags =
            [("bagit.txt", BAGIT), ("bag-info.txt", &about), ("certificate.txt", &certificate), (MANIFEST, &manifest)];
        let listed: String =
            tags.iter().map(|(path, text)| format!("{}  {path}\n", hex::encode(Sha256::digest(text)))).collect();
        let note = custody::sign(&self.state.storage, self.case, &listed)?;
        let whole = |path: &str, text: &str| Step::Whole { path: path.to_owned(), bytes: text.as_bytes().to_vec() };
        let mut steps: Vec<Step> = tags.iter().skip(1).map(|(path, text)| whole(path, text)).collect();
        steps.extend([whole(TAG_MANIFEST, &listed), whole(NOTE, &note)]);
        steps.into_iter().rev().for_each(|step| self.steps.push_front(step));
        Ok(())
    }
}

/// RFC 8493, 2.1.1.
const BAGIT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// A value of `bag-info.txt` stands on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a person may certify of these records (Federal Rules of Evidence 902(13) and 902(14)): a form to be read, mended and signed by them.
fn certificate(export: &Export, now: &str) -> String {
    let Export { case, originals, checkpoint, key, .. } = export;
    format!(
        "CERTIFICATION OF RECORDS (a form; Fed. R. Evid. 902(13), 902(14), or as your law has it)\n\n\
         I, ______________________________, am ______________________________ (position) and am qualified to make this\n\
         certification by ______________________________ (training or experience).\n\n\
         1. These records were generated by an electronic process: on {now} the program dia {version} copied {originals} files of\n\
         case {case} as they had been received, and listed the SHA-256 of each in manifest-sha256.txt.\n\n\
         2. Each file was identified by its SHA-256 when it was received (data/custody-*.jsonl), and dia compared it with the copy while\n\
         making this one. A file that has the same SHA-256 as another is identical to it.\n\n\
         3. What was done with the files is recorded in data/audit-*.ndjson, a part of a log whose {size} events are signed as a whole.\n\
         The signatures verify with the key\n   {key}\nby the command: dia verify FOLDER --key KEY\n\n\
         I certify under penalty of perjury that the foregoing is true and correct.\n\n\
         Date: ____________________    Signature: ______________________________\n",
        version = env!("CARGO_PKG_VERSION"),
        size = checkpoint.size,
    )
}
