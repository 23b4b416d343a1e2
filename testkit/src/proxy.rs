//! A TCP proxy that tests put before a service, to take it away and give it back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// See the module. Dropped, it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    is_open: watch::Sender<bool>,
    taken: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of its own and passes everything on to `target`, such as `127.0.0.1:5672`.
    pub async fn before(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (is_open, watched) = watch::channel(true);
        let taken = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn(serve(listener, target.to_owned(), watched, Arc::clone(&taken)));
        Ok(Self { address, is_open, taken, serving })
    }

    /// Cuts every connection, and new ones as soon as they are made.
    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.is_open.send_replace(true);
    }

    /// Connections let through so far.
    pub fn connections(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: String, is_open: watch::Receiver<bool>, taken: Arc<AtomicUsize>) {
    let mut passing = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while passing.try_join_next().is_some() {}
        if !*is_open.borrow() {
            continue;
        }
        taken.fetch_add(1, Ordering::SeqCst);
        let (target, mut is_open) = (target.clone(), is_open.clone());
        passing.spawn(async move {
            let cut = async move { is_open.wait_for(|open| !open).await.map(drop).unwrap_or_default() };
            tokio::select! {
                () = cut => {}
                () = pass(client, &target) => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, target: &str) {
    let Ok(mut service) = TcpStream::connect(target).await else { return };
    // Either side may end it; that is what a proxy is for.
    let _ = copy_bidirectional(&mut client, &mut service).await;
}
