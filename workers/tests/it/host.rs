//! A host on this machine, with TLS or without, that answers as a test says and remembers what it was asked.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// What was asked.
#[derive(Debug, Clone, Default)]
#[allow(dead_code, reason = "not every test looks at all of it")]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status with a body.
    Whole(u16, Vec<u8>),
    /// A redirect to there.
    Elsewhere(String),
    /// So many bytes are promised and these come; then the connection breaks.
    Cut(usize, Vec<u8>),
    /// A body that does not say how long it is.
    Unsized(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Host {
    /// Serves `script`, which is given what was asked and how often something was before; with TLS if there is an authority.
    pub(crate) async fn start(
        authority: Option<&Authority>,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let (asked, script): (_, Arc<Script>) = (Arc::clone(&host.asked), Arc::new(script));
        let tls = authority.map(Authority::acceptor);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, script, tls) = (Arc::clone(&asked), Arc::clone(&script), tls.clone());
                // A client that hangs up is part of the test.
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &asked, &*script).await.ok(),
                            Err(_) => None,
                        },
                        None => serve(stream, &asked, &*script).await.ok(),
                    }
                });
            }
        });
        host
    }

    /// How an operator names it.
    pub(crate) fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    all: &Mutex<Vec<Asked>>,
    script: &Script,
) -> std::io::Result<()> {
    let asked = read(&mut stream).await?;
    let before = {
        let mut all = all.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{more}\r\n");
    match script(&asked, before) {
        Answer::Whole(status, body) => {
            stream.write_all(head(status, &format!("content-length: {}\r\n", body.len())).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Elsewhere(place) => {
            let more = format!("location: {place}\r\ncontent-length: 0\r\n");
            stream.write_all(head(307, &more).as_bytes()).await?;
        }
        Answer::Cut(promised, body) => {
            stream.write_all(head(200, &format!("content-length: {promised}\r\n")).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Unsized(body) => {
            stream.write_all(head(200, "").as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Silence => std::future::pending::<()>().await,
    }
    stream.shutdown().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let headers: BTreeMap<String, String> =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
        let body = bytes[end + 4..].to_vec();
        if body.len() >= length {
            return Ok(Asked { line, headers, body });
        }
    }
}

/// A certificate authority that nobody else knows, and the certificate of `localhost`.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let make = |arguments: &str| {
            let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
            let all = format!("req -x509 {key} {arguments}");
            let made = Command::new("openssl").args(all.split(' ')).current_dir(folder.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        make("-subj /CN=authority -keyout ca.key -out ca.pem");
        let leaf = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
        make(&format!("-CA ca.pem -CAkey ca.key -subj /CN=localhost {leaf} -keyout key.pem -out cert.pem"));
        Self { folder }
    }

    /// What a client must trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.folder.path().join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.path().join("key.pem")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
