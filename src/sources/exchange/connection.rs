use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::Settings;
use super::protocol::{Heard, Limits, Protocol, Quote};
use crate::wire::short;

/// How long a connection may take to be there.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// How long the answer to a request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The largest message of an exchange, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Messages that are taken at one go.
const MESSAGES_AT_ONCE: usize = 256;

/// The least pause after an exchange was closed for maintenance.
const AFTER_MAINTENANCE: Duration = Duration::from_secs(5);

/// The pause after an exchange said that we ask too often, where it does not say how long.
const AFTER_TOO_MANY: Duration = Duration::from_secs(60);

/// The longest pause that an exchange may ask for.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(3600);

/// One WebSocket to an exchange: asks for its symbols at the exchange's pace, and hears what it says.
pub(super) struct Connection {
    settings: Arc<Settings>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    protocol: Box<dyn Protocol>,
    limits: Limits,
    heard: VecDeque<Heard>,
    /// Requests that are still to be sent, each for some symbols.
    to_ask: VecDeque<Vec<String>>,
    /// The one that is not answered yet.
    asked: Option<Asked>,
    accepted: usize,
    last_id: u64,
    /// Something was said that may not be on its way.
    unsent: bool,
    said_at: Option<Instant>,
    heard_at: Instant,
    /// When the last request was answered.
    settled_at: Option<Instant>,
    in_maintenance: bool,
}

#[derive(Debug)]
struct Asked {
    id: u64,
    /// Those of whom nothing is known yet.
    listed: Vec<String>,
    at: Instant,
}

/// What a connection said that is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing more.
    Quotes,
    /// It is about to end.
    Leaving,
}

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection within {} s", OPEN_WITHIN.as_secs())]
    TooSlow,
    #[error("it answers with status {0}")]
    Status(u16, Option<Duration>),
    #[error("{0}")]
    WebSocket(Box<tungstenite::Error>),
    #[error("it ended the connection{0}")]
    Closed(String),
    #[error("it ended the connection for maintenance")]
    Maintenance,
    #[error("it said nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it did not answer a request within {} s", ANSWER_WITHIN.as_secs())]
    NoAnswer,
    #[error("it refuses every symbol")]
    NothingAccepted,
}

impl Failure {
    /// The least pause before the next attempt.
    pub(super) fn least_pause(&self) -> Duration {
        match self {
            Self::Maintenance => AFTER_MAINTENANCE,
            Self::Status(_, Some(asked_for)) => (*asked_for).min(LONGEST_ASKED_FOR),
            // Too many requests, and a ban.
            Self::Status(429 | 418, None) => AFTER_TOO_MANY,
            _ => Duration::ZERO,
        }
    }
}

impl From<tungstenite::Error> for Failure {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => {
                let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let after = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
                Self::Status(response.status().as_u16(), after)
            }
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => Self::Closed(String::new()),
            error => Self::WebSocket(Box::new(error)),
        }
    }
}

impl Connection {
    /// Connects. The symbols are asked for as it is heard.
    pub(super) async fn open(settings: Arc<Settings>, listed: &[String]) -> Result<Self, Failure> {
        let protocol = settings.protocol();
        let limits = protocol.limits();
        let url = format!("{}{}", settings.url, protocol.path());
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let opening = tokio_tungstenite::connect_async_with_config(url, Some(bounds), true);
        let (socket, _) = timeout(OPEN_WITHIN, opening).await.map_err(|_| Failure::TooSlow)??;
        Ok(Self {
            socket,
            protocol,
            limits,
            heard: VecDeque::new(),
            to_ask: listed.chunks(limits.symbols_per_request).map(<[String]>::to_vec).collect(),
            asked: None,
            accepted: 0,
            last_id: 0,
            unsent: false,
            said_at: None,
            heard_at: Instant::now(),
            settled_at: None,
            in_maintenance: false,
            settings,
        })
    }

    /// How long every symbol has been accepted or refused; none while some are not.
    pub(super) fn settled(&self) -> Option<Duration> {
        self.settled_at.map(|at| at.elapsed())
    }

    /// Waits for what the exchange says next, and asks for what is still to be asked for. Nothing is lost when it is
    /// dropped before its end.
    pub(super) async fn hear(&mut self, quotes: &mut Vec<Quote>) -> Result<Said, Failure> {
        let heard = self.listen(quotes).await;
        // However it ends then: what was to be said may have failed before the end itself was heard.
        heard.map_err(|failure| if self.in_maintenance { Failure::Maintenance } else { failure })
    }

    async fn listen(&mut self, quotes: &mut Vec<Quote>) -> Result<Said, Failure> {
        loop {
            self.say().await?;
            let until = self.next_deadline();
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = sleep_until(until) => {
                    self.check()?;
                    continue;
                }
            };
            let mut taken = self.take(message);
            for _ in 1..MESSAGES_AT_ONCE {
                if taken.is_err() {
                    break;
                }
                let Some(message) = self.socket.next().now_or_never() else { break };
                taken = self.take(message);
            }
            // Also what came before the end.
            let said = self.attend(quotes)?;
            taken?;
            if said == Said::Leaving || !quotes.is_empty() || self.settled_at.is_some() {
                return Ok(said);
            }
        }
    }

    /// Says what is due: one message at a time, with the pause between two that the exchange wants.
    async fn say(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.said_at.is_none_or(|at| now >= at + self.limits.between_messages) {
            let text = if self.asked.is_none()
                && let Some(listed) = self.to_ask.pop_front()
            {
                self.last_id += 1;
                let text = self.protocol.subscribe(self.last_id, &listed);
                self.asked = Some(Asked { id: self.last_id, listed, at: now });
                Some(text)
            } else if self.ping_at().is_some_and(|at| now >= at) {
                self.last_id += 1;
                self.protocol.ping(self.last_id)
            } else {
                None
            };
            if let Some(text) = text {
                self.said_at = Some(now);
                self.unsent = true;
                // It has room: what is said before is on its way, or this would not have been reached.
                within(self.limits.silence, self.socket.feed(Message::text(text))).await?;
            }
        }
        if self.unsent {
            within(self.limits.silence, self.socket.flush()).await?;
            self.unsent = false;
        }
        Ok(())
    }

    fn ping_at(&self) -> Option<Instant> {
        Some(self.said_at? + self.limits.ping_every?)
    }

    fn next_deadline(&self) -> Instant {
        let silent = self.heard_at + self.limits.silence;
        let answer = self.asked.as_ref().map(|asked| asked.at + ANSWER_WITHIN);
        let say = self.said_at.map(|at| at + self.limits.between_messages);
        let say = say.filter(|_| self.asked.is_none() && !self.to_ask.is_empty());
        [answer, say, self.ping_at()].into_iter().flatten().fold(silent, Instant::min)
    }

    fn check(&self) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= self.heard_at + self.limits.silence {
            return Err(Failure::Silent(self.limits.silence));
        }
        if self.asked.as_ref().is_some_and(|asked| now >= asked.at + ANSWER_WITHIN) {
            return Err(Failure::NoAnswer);
        }
        Ok(())
    }

    fn take(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), Failure> {
        let message = message.ok_or_else(|| Failure::Closed(String::new()))??;
        // Of whatever kind it is: pings are signs of life.
        self.heard_at = Instant::now();
        let wrong = match &message {
            // To serde an array would do for an object.
            Message::Text(text) if !text.starts_with('{') => Some(("it is no object".to_owned(), short(text))),
            Message::Text(text) => self.protocol.hear(text, &mut self.heard).err().map(|why| (why, short(text))),
            Message::Binary(bytes) => Some(("it is binary".to_owned(), format!("{} bytes", bytes.len()))),
            Message::Close(frame) => {
                let why = frame.as_ref().map(|frame| format!(": {} {}", frame.code, short(&frame.reason)));
                return Err(Failure::Closed(why.unwrap_or_default()));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
        };
        if let Some((why, message)) = wrong {
            self.settings.metrics.source_garbage.inc();
            tracing::warn!(source = self.settings.name(), why, message, "a message that cannot be read");
        }
        Ok(())
    }

    /// Takes in what was heard: prices go out.
    fn attend(&mut self, quotes: &mut Vec<Quote>) -> Result<Said, Failure> {
        let mut said = Said::Quotes;
        while let Some(heard) = self.heard.pop_front() {
            match heard {
                Heard::Quote(quote) => quotes.push(quote),
                Heard::Accepted(listed) => self.answered(|name| *name == listed, None),
                Heard::Refused(listed, why) => self.answered(|name| *name == listed, Some(&why)),
                Heard::Done(id) if self.is_asked(id) => self.answered(|_| true, None),
                Heard::Failed(id, why) if self.is_asked(id) => self.failed(&why),
                Heard::Given(listed) if self.asked.is_some() => {
                    let given: HashSet<String> = listed.into_iter().collect();
                    self.answered(|name| given.contains(name), None);
                    self.answered(|_| true, Some("it is not among what was subscribed"));
                }
                Heard::Failed(_, why) => {
                    tracing::warn!(
                        source = self.settings.name(),
                        reason = short(&why),
                        "the exchange says that something failed"
                    );
                }
                Heard::Done(_) | Heard::Given(_) => {}
                Heard::Leaving => said = Said::Leaving,
                Heard::Maintenance(is) => {
                    if is != self.in_maintenance {
                        tracing::warn!(source = self.settings.name(), maintenance = is, "the exchange's maintenance");
                    }
                    self.in_maintenance = is;
                }
            }
        }
        if self.asked.is_none() && self.to_ask.is_empty() && self.settled_at.is_none() {
            if self.accepted == 0 {
                return Err(Failure::NothingAccepted);
            }
            self.settled_at = Some(Instant::now());
        }
        Ok(said)
    }

    fn is_asked(&self, id: Option<u64>) -> bool {
        self.asked.as_ref().is_some_and(|asked| id.is_none_or(|id| id == asked.id))
    }

    /// Some of the symbols that were asked for are accepted, or refused with a reason.
    fn answered(&mut self, which: impl Fn(&String) -> bool, refused: Option<&str>) {
        let Some(asked) = &mut self.asked else { return };
        let before = asked.listed.len();
        let answered: Vec<String> = asked.listed.extract_if(.., |name| which(name)).collect();
        if asked.listed.is_empty() {
            self.asked = None;
        }
        match refused {
            None => self.accepted += before - self.asked.as_ref().map_or(0, |asked| asked.listed.len()),
            Some(why) => {
                for name in answered {
                    self.settings.refused(&name, why);
                }
            }
        }
    }

    /// A request failed as a whole. Those that the reason names are refused, and the others asked for again; where it
    /// names none, halves are asked for, until it is one.
    fn failed(&mut self, why: &str) {
        let Some(asked) = &mut self.asked else { return };
        let words: HashSet<&str> = why.split(|c: char| !(c.is_ascii_alphanumeric() || "._:/-".contains(c))).collect();
        let (named, mut others): (Vec<_>, Vec<_>) =
            asked.listed.drain(..).partition(|name| words.contains(name.as_str()));
        self.asked = None;
        if named.is_empty() && others.len() == 1 {
            self.settings.refused(&others[0], why);
            return;
        }
        for name in &named {
            self.settings.refused(name, why);
        }
        if named.is_empty() {
            let second = others.split_off(others.len() / 2);
            self.to_ask.push_front(second);
        }
        if !others.is_empty() {
            self.to_ask.push_front(others);
        }
    }

    /// Says goodbye, without waiting for an answer.
    pub(super) fn leave(mut self) {
        self.socket.close(None).now_or_never();
    }
}

/// What the exchange does not take for so long it never will.
async fn within(
    silence: Duration,
    sending: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), Failure> {
    timeout(silence, sending).await.map_err(|_| Failure::Silent(silence))?.map_err(Failure::from)
}
