//! A server on a real port, and sockets to it.

use api::{ApiConfig, State};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

use crate::door::{Door, Person, cache};

/// Serves the door's storage; sockets open at one path.
pub(crate) struct Server {
    path: &'static str,
    pub(crate) address: String,
    pub(crate) shutdown: CancellationToken,
}

impl Server {
    pub(crate) async fn start(door: &Door, path: &'static str) -> Self {
        Self::start_with(door, path, ApiConfig::default()).await
    }

    pub(crate) async fn start_with(door: &Door, path: &'static str, config: ApiConfig) -> Self {
        let state = State::new(door.test.storage.clone(), config, cache(), None, CancellationToken::new());
        Self::of(state.unwrap(), path).await
    }

    /// The same with the whole state of a door.
    pub(crate) async fn of(state: State, path: &'static str) -> Self {
        let shutdown = CancellationToken::new();
        let state = State { shutdown: shutdown.clone(), ..state };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = shutdown.clone();
        tokio::spawn(async move { api::serve(listener, api::router(state), &ApiConfig::default(), stop).await });
        Self { path, address, shutdown }
    }

    pub(crate) async fn connect(&self, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
        let mut request = format!("ws://{}{}", self.address, self.path).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(Socket(connect_async(request).await?.0))
    }

    pub(crate) async fn open(&self, person: &Person) -> Socket {
        self.connect(&[("authorization", &format!("Bearer {}", person.token))]).await.unwrap()
    }
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn say(&mut self, what: Value) {
        self.0.send(Message::text(what.to_string())).await.unwrap();
    }

    /// The next thing said; the close code when the socket ends.
    pub(crate) async fn hear(&mut self) -> Result<Value, u16> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }
}
