//! Virus scanning against a small server that speaks clamd's INSTREAM: what is infected goes no further, and without a
//! verdict nothing does.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::outcome::{Category, DocumentState};
use pipeline::Settings;
use storage::documents::{self, Selection};
use testkit::TestStorage;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
    task::JoinHandle,
};
use workers::Context;

use crate::{
    both,
    matter::{Matter, context_with, zip},
    until,
};

both!(
    what_is_infected_goes_no_further,
    what_clamd_does_not_take_is_not_passed,
    without_a_verdict_nothing_goes_on,
    a_scanner_that_is_away_is_waited_for,
);

/// The harmless file every scanner reports (<https://www.eicar.org/download-anti-malware-testfile/>), in two halves so that
/// no scanner reports this source.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"];

fn eicar() -> Vec<u8> {
    EICAR.concat().into_bytes()
}

/// What the server does with its first connections; after them it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    HangsUp,
    HangsUpBeforeTheVerdict,
    Silent,
    Garbage,
    CutVerdict,
}

/// What the server is: how long a stream may be, and its faults in turn.
#[derive(Debug, Clone, Default)]
struct Manner {
    longest: Option<usize>,
    faults: Vec<Fault>,
    served: Arc<AtomicUsize>,
}

impl Manner {
    async fn serve(&self, mut line: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let fault = self.faults.get(self.served.fetch_add(1, Ordering::SeqCst)).copied();
        if fault == Some(Fault::HangsUp) {
            return Ok(());
        }
        let mut command = [0; 10];
        line.read_exact(&mut command).await?;
        assert_eq!(&command, b"zINSTREAM\0");
        let mut stream = Vec::new();
        loop {
            let length = line.read_u32().await? as usize;
            if length == 0 {
                break;
            }
            if self.longest.is_some_and(|longest| stream.len() + length > longest) {
                return line.write_all(b"INSTREAM size limit exceeded. ERROR\0").await;
            }
            let at = stream.len();
            stream.resize(at + length, 0);
            line.read_exact(&mut stream[at..]).await?;
        }
        let infected = stream.windows(eicar().len()).any(|window| window == eicar());
        match fault {
            Some(Fault::HangsUpBeforeTheVerdict) => return Ok(()),
            Some(Fault::Silent) => tokio::time::sleep(Duration::from_mins(10)).await,
            Some(Fault::Garbage) => return line.write_all(b"HTTP/1.1 400 Bad Request\r\n\0").await,
            Some(Fault::CutVerdict) => return line.write_all(b"stream: OK").await,
            _ => {}
        }
        let verdict = if infected { "stream: Eicar-Test-Signature FOUND\0" } else { "stream: OK\0" };
        line.write_all(verdict.as_bytes()).await
    }

    fn on_socket(&self, path: &Path) -> JoinHandle<()> {
        let (listener, manner) = (UnixListener::bind(path).unwrap(), self.clone());
        tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let manner = manner.clone();
                tokio::spawn(async move { manner.serve(line).await });
            }
        })
    }

    async fn on_port(&self) -> (String, JoinHandle<()>) {
        let (listener, manner) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), self.clone());
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let manner = manner.clone();
                tokio::spawn(async move { manner.serve(line).await });
            }
        });
        (address, server)
    }
}

fn scanning(address: &str) -> Context {
    let mut settings = Settings::default();
    address.clone_into(&mut settings.clamd.address);
    settings.clamd.timeout_seconds = 1;
    context_with(settings)
}

fn socket(matter: &Matter) -> PathBuf {
    matter.test.directory().join("clamd.ctl")
}

async fn what_is_infected_goes_no_further(test: TestStorage) {
    let matter = Matter::open(test).await;
    let manner = Manner::default();
    let server = manner.on_socket(&socket(&matter));
    let archive = zip(&[("harmless.txt", b"a pelican, packed"), ("eicar.com", &eicar())]);
    let marked = [eicar(), zip(&[("never.txt", b"a pelican that nobody unpacks")])].concat();
    matter
        .deliver(&[
            ("clean.txt", b"a letter about the pelican".to_vec()),
            ("eicar.txt", eicar()),
            ("copy of eicar.txt", eicar()),
            ("archive.zip", archive),
            ("marked.zip", marked),
            ("large.txt", [vec![b' '; 600 << 10], b"heron".to_vec()].concat()),
        ])
        .await;
    let office = matter.work(scanning(socket(&matter).to_str().unwrap()));
    matter.settled().await;
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    // The copy is a virus too, not the duplicate of one; so is what an archive held; an infected archive is not unpacked.
    for name in ["eicar.txt", "copy of eicar.txt", "eicar.com", "marked.zip"] {
        let document = matter.document(name).await;
        assert_eq!((document.state, document.category), (DocumentState::Exception, Some(Category::Virus)), "{name}");
        assert_eq!(document.details.exception.unwrap().detail, "Eicar-Test-Signature was found");
        assert_eq!((document.text, document.format), (None, None));
    }
    assert_eq!((counts.received, counts.unpacked, counts.indexed, counts.exception), (6, 2, 4, 4), "{counts:?}");
    assert_eq!(matter.found("pelican OR heron").await.len(), 3);
    assert!(matter.found("eicar").await.len() <= 1, "only the archive's own list of names");
    assert_eq!(matter.document("large.txt").await.state, DocumentState::Indexed);

    // Tried again it still counts as infected until the scanner says otherwise.
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database =
        storage::databases::Database::find(&mut tx, matter.database.id, domain::access::Action::Upload).await.unwrap();
    let infected = Selection { category: Some(Category::Virus), ..Selection::default() };
    assert_eq!(documents::retry_exceptions(&mut tx, &database, &infected).await.unwrap(), 4);
    tx.commit().await.unwrap();
    let waiting = matter.document("eicar.txt").await;
    assert_eq!(waiting.category, Some(Category::Virus), "{:?}", waiting.state);
    matter.settled().await;
    assert_eq!(matter.counts().await, counts);
    office.close().await;
    server.abort();
}

async fn what_clamd_does_not_take_is_not_passed(test: TestStorage) {
    let matter = Matter::open(test).await;
    let (address, server) = Manner { longest: Some(1 << 20), ..Manner::default() }.on_port().await;
    matter.deliver(&[("small.txt", b"small".to_vec()), ("large.txt", vec![b'x'; 9 << 20])]).await;
    let office = matter.work(scanning(&address));
    matter.settled().await;
    office.close().await;
    server.abort();
    let large = matter.document("large.txt").await;
    assert_eq!((large.state, large.category), (DocumentState::Exception, Some(Category::TooLarge)));
    assert!(large.details.exception.unwrap().detail.contains("StreamMaxLength"));
    assert_eq!(matter.document("small.txt").await.state, DocumentState::Indexed);
}

async fn without_a_verdict_nothing_goes_on(test: TestStorage) {
    let matter = Matter::open(test).await;
    // Each document meets a fault once and is tried again; none is passed without a verdict.
    let faults = vec![Fault::HangsUp, Fault::HangsUpBeforeTheVerdict, Fault::Garbage, Fault::CutVerdict, Fault::Silent];
    let manner = Manner { faults: faults.clone(), ..Manner::default() };
    let server = manner.on_socket(&socket(&matter));
    let names: Vec<String> = (0..faults.len()).map(|n| format!("{n}.txt")).collect();
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().map(|name| (name.as_str(), [eicar(), name.clone().into_bytes()].concat())).collect();
    matter.deliver(&files).await;
    let office = matter.work(scanning(socket(&matter).to_str().unwrap()));
    matter.settled().await;
    office.close().await;
    server.abort();
    for document in matter.documents().await {
        assert_eq!(document.category, Some(Category::Virus), "{}", document.details.name);
    }
    assert_eq!(manner.served.load(Ordering::SeqCst), 2 * faults.len(), "every fault cost one attempt");
}

async fn a_scanner_that_is_away_is_waited_for(test: TestStorage) {
    let matter = Matter::open(test).await;
    matter.deliver(&[("letter.txt", b"a letter".to_vec()), ("eicar.txt", eicar())]).await;
    let office = matter.work(scanning(socket(&matter).to_str().unwrap()));
    let given_back = "select count(*) from jobs where kind = 'ingest_document' and fence > 0";
    until("both were tried", async || matter.test.number(given_back).await == 2).await;
    assert_eq!(matter.counts().await.in_flight, 2, "nothing is passed, nothing is given up");
    let server = Manner::default().on_socket(&socket(&matter));
    matter.settled().await;
    office.close().await;
    server.abort();
    assert_eq!(matter.document("letter.txt").await.state, DocumentState::Indexed);
    assert_eq!(matter.document("eicar.txt").await.category, Some(Category::Virus));
    assert_eq!(matter.test.number("select count(*) from jobs where attempts > 1").await, 0, "no attempt was spent");
}
