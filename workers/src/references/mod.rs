//! References: where a load file says that a file lies. What it says is a stranger's word, so only what the operator named in
//! `[references]` is followed, and the bytes come bounded, a piece at a time.

mod config;
mod folder;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use domain::{clock::Timestamp, ids::CaseId, outbound::Refusal};
use reqwest::Url;
use storage::{
    items::ItemError,
    objects::{BucketError, Buckets, RemoteObject},
};
use tokio::{io::AsyncReadExt as _, sync::OnceCell};

pub use config::ReferencesConfig;

use crate::outbound::{Answer, Client, OutboundError};

/// Bytes read from a file at once.
const PIECE: usize = 1 << 20;

/// What may be followed, and how.
#[derive(Debug, Clone, Default)]
pub struct References(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    config: ReferencesConfig,
    web: Option<Client>,
    /// Made when the first object is asked for.
    buckets: OnceCell<Buckets>,
}

/// Where a file lies.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Beneath the first of these folders that has it.
    File { folders: Vec<PathBuf>, path: PathBuf },
    /// On a host.
    Web(String),
    /// In a bucket.
    Object { bucket: String, key: String },
}

/// Why a file is not fetched. Quotes nothing of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What the item says.
    pub(crate) error: ItemError,
    /// What happened, and what to do.
    pub(crate) message: &'static str,
    /// It may work the next time.
    pub(crate) again: bool,
}

const MISSING: Fault = Fault {
    error: ItemError::ReferenceMissing,
    message: "there is no file at the reference; mend it, or deliver the file",
    again: false,
};
const NOT_A_FILE: Fault = Fault::failed("what lies at the reference is not a file; mend it, or deliver the file");
pub(crate) const TOO_LARGE: Fault = Fault {
    error: ItemError::ReferenceTooLarge,
    message: "the file at the reference is larger than references.max_bytes allows; ask the operator, or split the file",
    again: false,
};
const FOLDER: Fault = Fault::refused(
    "the reference lies in no folder that the operator allows; deliver the file, or ask for references.folders",
);
const HOST: Fault = Fault::refused(
    "the reference names no host that the operator allows; deliver the file, or ask for references.hosts",
);
const BUCKET: Fault = Fault::refused(
    "the reference names no bucket that the operator allows; deliver the file, or ask for references.buckets",
);

impl Fault {
    /// It takes longer than allowed.
    pub(crate) const SLOW: Self =
        Self::again("fetching the file takes longer than references.total_timeout_seconds allows");
    /// What was allowed when the item was noted is no longer.
    pub(crate) const NOT_ALLOWED: Self = FOLDER;

    const fn refused(message: &'static str) -> Self {
        Self { error: ItemError::ReferenceRefused, message, again: false }
    }

    const fn failed(message: &'static str) -> Self {
        Self { error: ItemError::ReferenceFailed, message, again: false }
    }

    const fn again(message: &'static str) -> Self {
        Self { error: ItemError::ReferenceFailed, message, again: true }
    }
}

impl References {
    /// What `config` allows. Fails when a value cannot work, or the certificates cannot be read.
    pub fn new(config: &ReferencesConfig) -> anyhow::Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let web = if config.has_hosts() {
            let reach = config.reach().map_err(anyhow::Error::msg)?;
            Some(Client::new(reach, config.patience(), &config.certificates)?)
        } else {
            None
        };
        Ok(Self(Arc::new(Inner { config: config.clone(), web, buckets: OnceCell::new() })))
    }

    /// Most bytes of one file.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.0.config.max_bytes
    }

    /// Where `source` says that a file of this case lies; `None` when it is a mere path and no folders are configured, so that its
    /// file is awaited like any other.
    pub(crate) fn judge(&self, case: CaseId, source: &str) -> Option<Result<Reference, Fault>> {
        let config = &self.0.config;
        let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        Some(match scheme.as_deref() {
            Some("https" | "http") => self.web(source),
            Some("s3") => self.object(case, source),
            Some("file") => self.file_uri(case, source),
            Some(_) => Err(Fault::refused("references are read from https, s3 and file; deliver the file")),
            None if config.folders.is_empty() => return None,
            None => self.path(case, source),
        })
    }

    fn web(&self, source: &str) -> Result<Reference, Fault> {
        if !self.0.config.has_hosts() {
            return Err(HOST);
        }
        let reach = self.0.config.reach().map_err(Fault::refused)?;
        reach.url(source).map(|url| Reference::Web(url.into())).map_err(of_refusal)
    }

    fn object(&self, case: CaseId, source: &str) -> Result<Reference, Fault> {
        // Keys may hold anything, `?` and `%` too: this is no URL that would be decoded.
        let (_, rest) = source.split_once("://").ok_or(BUCKET)?;
        let (bucket, key) = rest.split_once('/').filter(|(_, key)| !key.is_empty()).ok_or(MISSING)?;
        let allowed = self.0.config.buckets.iter().any(|allowed| {
            let allowed = of_case(allowed, case);
            let (name, prefix) = allowed.split_once('/').unwrap_or((&allowed, ""));
            name == bucket && key.starts_with(prefix)
        });
        // Some servers take `..` in keys for what it is in paths.
        let climbs = key.split('/').any(|part| part == ".." || part == ".");
        if allowed && !climbs {
            Ok(Reference::Object { bucket: bucket.to_owned(), key: key.to_owned() })
        } else {
            Err(BUCKET)
        }
    }

    fn file_uri(&self, case: CaseId, source: &str) -> Result<Reference, Fault> {
        let url = Url::parse(source).map_err(|_| MISSING)?;
        let path = url.to_file_path().map_err(|()| FOLDER)?;
        self.absolute(case, &path)
    }

    fn path(&self, case: CaseId, source: &str) -> Result<Reference, Fault> {
        let path = source.replace('\\', "/");
        if path.starts_with('/') {
            return self.absolute(case, Path::new(&path));
        }
        Ok(Reference::File { folders: self.folders(case).collect(), path: PathBuf::from(path) })
    }

    /// The folder is told by the words of the path; what the kernel makes of the rest is its own matter.
    fn absolute(&self, case: CaseId, path: &Path) -> Result<Reference, Fault> {
        let found = self.folders(case).find_map(|folder| Some((path.strip_prefix(&folder).ok()?.to_owned(), folder)));
        let (path, folder) = found.ok_or(FOLDER)?;
        Ok(Reference::File { folders: vec![folder], path })
    }

    fn folders(&self, case: CaseId) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.config.folders.iter().map(move |folder| PathBuf::from(of_case(folder, case)))
    }

    /// Begins to read what lies there.
    pub(crate) async fn open(&self, reference: &Reference) -> Result<Opened, Fault> {
        match reference {
            Reference::File { folders, path } => {
                let (folders, path) = (folders.clone(), path.clone());
                let opened = tokio::task::spawn_blocking(move || first_of(&folders, &path)).await;
                let file = opened.map_err(|_| Fault::again("a blocking step failed"))??;
                Ok(Opened::File(tokio::fs::File::from_std(file)))
            }
            Reference::Web(url) => {
                let answer = self.0.web.as_ref().ok_or(HOST)?.get(url).await.map_err(of_outbound)?;
                of_status(answer.status()).map_or(Ok(Opened::Web(answer)), Err)
            }
            Reference::Object { bucket, key } => {
                let buckets = self.0.buckets.get_or_init(|| async { Buckets::new(&self.0.config.s3()).await }).await;
                buckets.open(bucket, key).await.map(Opened::Object).map_err(of_bucket)
            }
        }
    }

    /// Longest time one file may take.
    pub(crate) fn total(&self) -> std::time::Duration {
        self.0.config.total()
    }
}

fn of_case(text: &str, case: CaseId) -> String {
    text.replace("{case}", &case.to_string())
}

fn first_of(folders: &[PathBuf], path: &Path) -> Result<std::fs::File, Fault> {
    let mut fault = MISSING;
    for folder in folders {
        match folder::open_beneath(folder, path) {
            Ok(file) => return Ok(file),
            Err(found) if fault == MISSING => fault = found,
            Err(_) => {}
        }
    }
    Err(fault)
}

fn of_refusal(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Host => HOST,
        Refusal::NotAUrl => MISSING,
        Refusal::Scheme => {
            Fault::refused("the reference must be https; mend it, or ask the operator for references.plain_hosts")
        }
        Refusal::Credentials => {
            Fault::refused("a reference must not hold a user name or password; mend it, or deliver the file")
        }
        Refusal::Address => Fault::refused(
            "the host of the reference lies in a network that the operator does not allow; deliver the file, or ask for references.networks",
        ),
    }
}

fn of_outbound(error: OutboundError) -> Fault {
    match error {
        OutboundError::Refused(refusal) => of_refusal(refusal),
        OutboundError::Time => Fault::again("the host of the reference did not answer in time"),
        OutboundError::Connection => Fault::again("no connection to the host of the reference could be made"),
        OutboundError::Broken | OutboundError::Certificates => Fault::again("the host of the reference broke off"),
    }
}

fn of_status(status: u16) -> Option<Fault> {
    match status {
        200 => None,
        300..=399 => Some(Fault::failed("the host redirects the reference; name the file's own address")),
        401 | 403 | 407 => {
            Some(Fault::refused("the host of the reference does not hand the file out; has the link expired?"))
        }
        404 | 410 => Some(MISSING),
        408 | 425 | 429 | 500..=599 => Some(Fault::again("the host of the reference is out of order or overloaded")),
        _ => Some(Fault::failed("the host of the reference answers with something else than the file")),
    }
}

fn of_bucket(error: BucketError) -> Fault {
    match error {
        BucketError::Missing => MISSING,
        BucketError::Refused => {
            Fault::refused("the bucket of the reference does not open; ask the operator for the right to read it")
        }
        BucketError::Passing => Fault::again("the server of the bucket is away"),
        BucketError::Lasting => Fault::failed("the server of the bucket does not hand the file out"),
    }
}

/// A file on its way here.
pub(crate) enum Opened {
    File(tokio::fs::File),
    Web(Answer),
    Object(RemoteObject),
}

impl Opened {
    /// How many bytes it says it has.
    pub(crate) async fn length(&self) -> Option<u64> {
        match self {
            Self::File(file) => file.metadata().await.ok().map(|data| data.len()),
            Self::Web(answer) => answer.length(),
            Self::Object(object) => object.length(),
        }
    }

    /// When a file of a folder was last changed.
    pub(crate) async fn modified_at(&self) -> Option<Timestamp> {
        let Self::File(file) = self else { return None };
        let modified = file.metadata().await.ok()?.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(modified.as_micros()).ok().map(Timestamp)
    }

    /// What kind of place it comes from, for the audit trail.
    pub(crate) fn place(&self) -> &'static str {
        match self {
            Self::File(_) => "folder",
            Self::Web(_) => "host",
            Self::Object(_) => "bucket",
        }
    }

    /// The next bytes.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::File(file) => {
                let mut piece = BytesMut::with_capacity(PIECE);
                let read = file.read_buf(&mut piece).await;
                let read = read.map_err(|_| Fault::again("the folder of references cannot be read"))?;
                Ok((read > 0).then(|| piece.freeze()))
            }
            Self::Web(answer) => answer.piece().await.map_err(of_outbound),
            Self::Object(object) => object.piece().await.map_err(of_bucket),
        }
    }
}

#[cfg(test)]
mod tests;
