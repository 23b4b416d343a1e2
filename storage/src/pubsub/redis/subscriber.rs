//! Hears what other processes publish, on one connection, and passes it on inside this one.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use redis::{
    ErrorKind, Msg, RedisError, RedisResult, Value,
    aio::{PubSubSink, PubSubStream},
};

use super::{PATIENCE, Wire, pause, seal};
use crate::pubsub::LocalPubSub;

/// How often a connection that may be silent for hours is asked whether it is still there.
const PULSE: Duration = Duration::from_secs(10);

/// Hears for as long as the process lives.
pub(super) async fn run(wire: Arc<Wire>, local: LocalPubSub) {
    let mut failures = 0;
    loop {
        let error = match subscribe(&wire).await {
            Ok((sink, messages)) => {
                if failures > 0 {
                    tracing::info!("live events of other processes are heard again");
                }
                failures = 0;
                // Nobody knows what was said meanwhile.
                local.miss();
                hear(&wire, &local, sink, messages).await
            }
            Err(error) => error,
        };
        if failures == 0 {
            tracing::warn!(%error, "live events of other processes are not heard; they pause");
        }
        tokio::time::sleep(pause(failures)).await;
        failures += 1;
    }
}

async fn subscribe(wire: &Wire) -> RedisResult<(PubSubSink, PubSubStream)> {
    let connecting = async {
        let (mut sink, messages) = wire.client.get_async_pubsub().await?.split();
        sink.psubscribe(format!("{}:live:*", wire.prefix)).await?;
        Ok((sink, messages))
    };
    tokio::time::timeout(PATIENCE, connecting).await.unwrap_or_else(|_| Err(silent()))
}

/// Passes on until the connection fails; returns why.
async fn hear(wire: &Wire, local: &LocalPubSub, mut sink: PubSubSink, mut messages: PubSubStream) -> RedisError {
    let mut pulse = tokio::time::interval(PULSE);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => pass_on(wire, local, &message),
                None => return RedisError::from((ErrorKind::Io, "the connection was lost")),
            },
            _ = pulse.tick() => match tokio::time::timeout(PATIENCE, sink.ping::<Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return silent(),
            },
        }
    }
}

fn pass_on(wire: &Wire, local: &LocalPubSub, message: &Msg) {
    let sealed = message.get_payload_bytes();
    if wire.seal.is_own(sealed) {
        return;
    }
    let name = message.get_channel_name();
    let Some(place) = name.strip_prefix(wire.prefix.as_str()).and_then(|rest| rest.strip_prefix(":live:")) else {
        return;
    };
    if place == "gap" {
        if wire.seal.is_gap(sealed) {
            local.miss();
        }
        return;
    }
    let Some(topic) = place.split_once(':').and_then(|(kind, id)| seal::topic(kind, id)) else { return };
    if !local.has_listeners(topic) {
        return;
    }
    if let Some(event) = wire.seal.open_event(topic, sealed) {
        local.deliver(topic, event);
    } else {
        // Of a newer version, or of somebody who does not have the key.
        tracing::debug!("a live event could not be opened");
    }
}

fn silent() -> RedisError {
    RedisError::from((ErrorKind::Io, "it did not answer in time"))
}
