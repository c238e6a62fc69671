use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Options;
use fred::types::{Builder, Message, MessageKind};
use socketioxide_redis::drivers::{ChanItem, Driver, MessageStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Messages from other replicas that may wait to be taken apart; fred drops what comes then.
const MESSAGES_IN_FLIGHT: usize = 4096;

/// How often a subscription that failed is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How long Redis may take to answer what is said through it. A Redis that hangs keeps its connection, and what waits for
/// it would wait as long as for any command.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// What carries the adapter's messages from replica to replica: Redis's sharded pub/sub, or nothing for a replica that
/// is alone. Cheap to clone.
///
/// It never fails for the adapter: a namespace comes up while Redis is away, and what is said here is heard here, since
/// the adapter delivers locally only what was published. Channels are subscribed anew after each reconnect.
#[derive(Clone, Debug)]
pub(super) struct Across {
    client: Option<SubscriberClient>,
    channels: Arc<Mutex<HashMap<String, mpsc::Sender<ChanItem>>>>,
    /// What others publish, for all to hear: plain channels and patterns of them.
    plain: Arc<Mutex<Plain>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Plain {
    wanted: Vec<Wanted>,
    taker: Option<mpsc::Sender<ChanItem>>,
}

/// What Redis is to send us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What replicas say to each other.
    Sharded(String),
    /// What others say on this channel.
    Channel(String),
    /// What others say on channels of this pattern.
    Pattern(String),
}

impl Across {
    /// For a replica that is alone.
    pub(super) fn nowhere(metrics: Arc<Metrics>) -> Self {
        Self { client: None, channels: Arc::default(), plain: Arc::default(), metrics }
    }

    /// Through Redis. Begins to connect, and goes on trying for ever.
    pub(super) fn through(mut redis: Builder, metrics: Arc<Metrics>) -> Result<Self, Error> {
        redis.with_performance_config(|performance| performance.broadcast_channel_capacity = MESSAGES_IN_FLIGHT);
        let client = redis.build_subscriber_client()?;
        client.connect();
        Ok(Self { client: Some(client), channels: Arc::default(), plain: Arc::default(), metrics })
    }

    /// Hands on what comes from other replicas, until `stop`.
    pub(super) async fn run(&self) {
        let Some(client) = &self.client else { return std::future::pending().await };
        let mut messages = client.message_rx();
        let mut reconnects = client.reconnect_rx();
        let mut errors = client.error_rx();
        let mut retry = tokio::time::interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // How many channels Redis sends us; each reconnect begins at none.
        let mut subscribed = 0;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => self.hand_on(message),
                    Err(RecvError::Lagged(lost)) => {
                        self.metrics.messages_lost.add(lost);
                        tracing::warn!(lost, "messages of other replicas came too fast");
                    }
                    Err(RecvError::Closed) => return,
                },
                Ok(_) = reconnects.recv() => subscribed = 0,
                Ok(_) = errors.recv() => subscribed = 0,
                _ = retry.tick() => {
                    let wanted = self.wanted();
                    if subscribed < wanted.len() && client.is_connected() {
                        subscribed = self.subscribe_all(client, wanted).await;
                    }
                }
            }
        }
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        if let Some(client) = &self.client {
            tokio::time::timeout(RETRY_EVERY, client.quit()).await.ok();
        }
    }

    /// Listens to what others than replicas publish. Once: what was asked for before is forgotten.
    pub(super) fn listen(&self, wanted: Vec<Wanted>, size: usize) -> mpsc::Receiver<ChanItem> {
        let (sender, receiver) = mpsc::channel(size);
        *self.lock_plain() = Plain { wanted, taker: Some(sender) };
        receiver
    }

    /// Publishes for other replicas; how many processes it reached; this one is among them once it hears. None where Redis is away.
    pub(super) async fn tell(&self, channel: &str, message: &[u8]) -> Option<usize> {
        let Some(client) = &self.client else { return Some(0) };
        // A command would wait for the connection to come back, and local delivery with it.
        let published = match client.is_connected() {
            true => client.with_options(&now_or_never()).spublish::<i64, _, _>(channel, message).await,
            false => Err(Error::new(fred::error::ErrorKind::IO, "no connection")),
        };
        match published {
            Ok(reached) => Some(usize::try_from(reached).unwrap_or(0)),
            Err(error) => {
                self.metrics.messages_lost.inc();
                tracing::debug!(%error, "a message did not reach the other replicas");
                None
            }
        }
    }

    /// True for a replica that is alone.
    pub(super) fn is_nowhere(&self) -> bool {
        self.client.is_none()
    }

    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<_> = self.lock().keys().cloned().map(Wanted::Sharded).collect();
        wanted.extend(self.lock_plain().wanted.iter().cloned());
        wanted
    }

    /// Returns how many were subscribed. One by one: in a cluster they may lie on several servers.
    async fn subscribe_all(&self, client: &SubscriberClient, wanted: Vec<Wanted>) -> usize {
        let mut subscribed = 0;
        for wanted in wanted {
            let done = match &wanted {
                Wanted::Sharded(channel) => client.ssubscribe(channel.as_str()).await,
                Wanted::Channel(channel) => client.subscribe(channel.as_str()).await,
                Wanted::Pattern(pattern) => client.psubscribe(pattern.as_str()).await,
            };
            match done {
                Ok(()) => subscribed += 1,
                Err(error) => {
                    self.metrics.redis_errors.inc();
                    tracing::debug!(%error, ?wanted, "cannot subscribe, trying again");
                }
            }
        }
        subscribed
    }

    fn hand_on(&self, message: Message) {
        let channel = message.channel.to_string();
        let taker = match message.kind {
            MessageKind::SMessage => self.lock().get(&channel).cloned(),
            MessageKind::Message | MessageKind::PMessage => self.lock_plain().taker.clone(),
        };
        let Some(taker) = taker else { return };
        if let Some(bytes) = message.value.into_owned_bytes()
            && taker.try_send((channel, bytes)).is_err()
        {
            self.metrics.messages_lost.inc();
        }
    }

    fn lock_plain(&self) -> MutexGuard<'_, Plain> {
        self.plain.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<ChanItem>>> {
        self.channels.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What is said is said now, and once. One that fred was about to write just when the connection went is written on the
/// next one all the same: it comes late then, and is not lost. So does what a Redis that hung reads when it wakes.
fn now_or_never() -> Options {
    Options { fail_fast: true, max_attempts: Some(1), timeout: Some(ANSWERS_WITHIN), ..Options::default() }
}

impl Driver for Across {
    type Error = Infallible;

    async fn publish(&self, channel: String, message: Vec<u8>) -> Result<(), Infallible> {
        self.tell(&channel, &message).await;
        Ok(())
    }

    async fn subscribe(&self, channel: String, size: usize) -> Result<MessageStream<ChanItem>, Infallible> {
        let (sender, receiver) = mpsc::channel(size);
        self.lock().insert(channel, sender);
        Ok(MessageStream::new(receiver))
    }

    async fn unsubscribe(&self, channel: String) -> Result<(), Infallible> {
        self.lock().remove(&channel);
        Ok(())
    }

    async fn num_serv(&self, channel: &str) -> Result<u16, Infallible> {
        let Some(client) = &self.client else { return Ok(1) };
        Ok(client.pubsub_shardnumsub::<(String, u16), _>(channel).await.map_or(1, |(_, count)| count))
    }
}
