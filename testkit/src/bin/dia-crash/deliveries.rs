//! What is delivered, and what the server said about it: the memory of the client that survives every kill.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use testkit::{
    Client, Places, Received, Refused,
    delivery::{self, Item},
    plaintext::Secrets,
};

/// One delivery in so many comes with a load file and in pieces.
const IN_PIECES: usize = 4;

/// Files sent together under one key.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) key: String,
    pub(crate) items: Vec<Item>,
}

/// All deliveries of a run.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pub(crate) all: Vec<Arc<Delivery>>,
    waiting: Mutex<VecDeque<usize>>,
    /// What a 201 said, by place in `all`.
    received: Mutex<BTreeMap<usize, Vec<Received>>>,
    wrong: Mutex<Vec<String>>,
    refusal: Mutex<String>,
    places: Places,
}

impl Deliveries {
    /// The files of `sample` and made-up ones beside them, `documents` in all, one to three to a delivery; some lie in `folder`, from
    /// where the server fetches them.
    pub(crate) fn collect(sample: &Path, seed: u64, documents: usize, folder: Option<PathBuf>) -> Result<Self> {
        let mut items = Vec::new();
        read(sample, sample, &mut items)?;
        let made_up = u64::try_from(documents.saturating_sub(items.len())).unwrap_or(0);
        items.extend((0..made_up).map(|number| delivery::item(seed, number)));
        let mut all = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let items = items.by_ref().take(1 + all.len() % 3).collect();
            all.push(Arc::new(Delivery { key: format!("delivery-{seed}-{}", all.len()), items }));
        }
        let waiting = Mutex::new((0..all.len()).collect());
        Ok(Self {
            all,
            waiting,
            received: Mutex::default(),
            wrong: Mutex::default(),
            refusal: Mutex::default(),
            places: folder.map_or_else(Places::default, Places::sharing),
        })
    }

    /// One document that was received, if any was.
    pub(crate) fn any_document(&self) -> Option<String> {
        lock(&self.received).values().flatten().next().map(|file| file.document.clone())
    }

    /// Everything that must never stand in the clear.
    pub(crate) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for item in self.all.iter().flat_map(|delivery| &delivery.items) {
            if item.secrets.is_empty() {
                secrets.add_pieces(&item.bytes);
            }
            for secret in &item.secrets {
                secrets.add(secret);
            }
        }
        secrets
    }

    /// Sends up to `most` deliveries that wait, then one again that was received before; ends early when the server dies.
    pub(crate) async fn send(&self, client: &Client, database: &str, most: usize, again: u64) {
        for _ in 0..most {
            let Some(next) = lock(&self.waiting).pop_front() else { break };
            if !self.send_one(client, database, next).await {
                lock(&self.waiting).push_front(next);
                return;
            }
        }
        let known = lock(&self.received).len();
        let repeated = usize::try_from(again).unwrap_or(0).checked_rem(known);
        let repeated = repeated.and_then(|n| lock(&self.received).keys().nth(n).copied());
        if let Some(repeated) = repeated {
            self.send_one(client, database, repeated).await;
        }
    }

    /// True when the server took it.
    async fn send_one(&self, client: &Client, database: &str, number: usize) -> bool {
        let delivery = Arc::clone(&self.all[number]);
        let files: Vec<(String, Vec<u8>)> = delivery.items.iter().map(|i| (i.path.clone(), i.bytes.clone())).collect();
        let sent = if number % IN_PIECES == 1 {
            client.deliver_in_pieces(database, &delivery.key, &files, &self.places).await
        } else {
            client.upload(database, &delivery.key, &files).await
        };
        match sent {
            Ok(answer) => {
                self.note(number, &delivery, answer);
                true
            }
            Err(error) => {
                *lock(&self.refusal) = format!("{error:#}");
                if let Some(refused) = unexcused(&error) {
                    lock(&self.wrong).push(format!("{} was refused: {refused}", delivery.key));
                }
                false
            }
        }
    }

    /// Keeps what a 201 said, and looks whether it may say so.
    fn note(&self, number: usize, delivery: &Delivery, answer: Vec<Received>) {
        use sha2::{Digest as _, Sha256};
        let sent: Vec<String> = delivery.items.iter().map(|item| hex::encode(Sha256::digest(&item.bytes))).collect();
        if answer.iter().map(|file| &file.sha256).ne(&sent) {
            lock(&self.wrong).push(format!("{}: the 201 names other bytes than were sent", delivery.key));
        }
        let mut received = lock(&self.received);
        match received.get(&number) {
            Some(before) if *before != answer => {
                lock(&self.wrong).push(format!("I3 {}: sent again, it became other documents", delivery.key));
            }
            _ => drop(received.insert(number, answer)),
        }
    }

    /// Deliveries not yet received.
    pub(crate) fn left(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// What was received, item by item.
    pub(crate) fn received(&self) -> Vec<(Item, Received)> {
        let received = lock(&self.received);
        let pairs =
            received.iter().flat_map(|(number, files)| self.all[*number].items.iter().cloned().zip(files.clone()));
        pairs.collect()
    }

    /// The last reason why a delivery was not taken.
    pub(crate) fn refusal(&self) -> String {
        lock(&self.refusal).clone()
    }

    /// What the server should not have said so far.
    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }
}

/// What the server said that neither a full disk nor its coming and going explains.
pub(crate) fn unexcused(error: &anyhow::Error) -> Option<&Refused> {
    error.downcast_ref::<Refused>().filter(|refused| !matches!(refused.status.as_u16(), 401 | 503 | 507))
}

/// A panic elsewhere does not make what was noted less true.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(root: &Path, folder: &Path, items: &mut Vec<Item>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read the sample set {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(root, &path, items)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        items.push(Item { path: name, bytes: fs::read(&path)?, words: Vec::new(), secrets: Vec::new() });
    }
    Ok(())
}
