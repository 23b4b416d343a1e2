//! Names that stand for what they should not, and a server that does what it should not.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(2), read: Duration::from_millis(300), total: Duration::from_secs(2) };

/// A server that answers everything with `answer`, and counts who came.
async fn server(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, came) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            // What was promised and does not come is waited for.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    (port, came)
}

fn client(plain: &str, networks: &[&str], names: &[(&str, &[&str])]) -> Client {
    let networks: Vec<String> = networks.iter().map(|network| (*network).to_owned()).collect();
    let reach = Reach::new(None, &[plain.to_owned()], &networks).unwrap();
    let parsed = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    let table: HashMap<String, Vec<IpAddr>> =
        names.iter().map(|(name, list)| ((*name).to_owned(), parsed(list))).collect();
    Client::resolving(Guard::with(reach.clone(), table), reach, PATIENCE, Path::new("")).unwrap()
}

#[tokio::test]
async fn a_name_that_stands_for_a_private_address_is_not_connected_to() {
    let (port, came) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let host = format!("rebound.example:{port}");
    let url = format!("http://{host}/");
    for private in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "64:ff9b::7f00:1"]
    {
        let client = client(&host, &[], &[("rebound.example", &[private])]);
        assert_eq!(client.get(&url).await.err(), Some(OutboundError::Refused(Refusal::Address)), "{private}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0);
    // Of several addresses only those that are allowed are tried.
    let names: &[(&str, &[&str])] = &[("rebound.example", &["127.0.0.2", "127.0.0.1"])];
    let client = client(&host, &["127.0.0.1/32"], names);
    let answer = client.get(&url).await.unwrap();
    assert_eq!((answer.status(), answer.0.remote_addr().unwrap().ip()), (200, "127.0.0.1".parse::<IpAddr>().unwrap()));
}

#[tokio::test]
async fn an_address_in_a_url_is_checked_without_a_resolver() {
    let (port, came) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let client = client(&format!("{host}:{port}"), &[], &[]);
        let refused = client.get(&format!("http://{host}:{port}/")).await.err();
        assert_eq!(refused, Some(OutboundError::Refused(Refusal::Address)), "{host}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (inner, came) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer: &'static str =
        format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n").leak();
    let (port, _) = server(answer).await;
    let client = client(&format!("127.0.0.1:{port}"), &["127.0.0.0/8"], &[]);
    assert_eq!(client.get(&format!("http://127.0.0.1:{port}/")).await.unwrap().status(), 302);
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn silence_and_nonsense_end() {
    for (answer, expected) in [
        ("", OutboundError::Time),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", OutboundError::Time),
        ("220 smtp.example.org ESMTP\r\n", OutboundError::Broken),
    ] {
        let (port, _) = server(answer).await;
        let client = client(&format!("127.0.0.1:{port}"), &["127.0.0.0/8"], &[]);
        let asked = async {
            let mut answer = client.get(&format!("http://127.0.0.1:{port}/")).await?;
            while answer.piece().await?.is_some() {}
            Ok(())
        };
        assert_eq!(asked.await, Err(expected), "{answer}");
    }
    let client = client("127.0.0.1:1", &["127.0.0.0/8"], &[]);
    assert_eq!(client.get("http://127.0.0.1:1/").await.err(), Some(OutboundError::Connection));
    let nobody = client.get("https://nobody.example/").await.err();
    assert_eq!(nobody, Some(OutboundError::Connection));
}
