use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::{FromMessage, FromMessageParts, Value};
use socketioxide::socket::Socket;

use super::line::Line;
use crate::fanout::{Link, Reply, Sent};
use crate::wire::{Answer, Failure, to_client};

/// One event of a client, as it came.
pub(super) struct Event<A: Adapter> {
    /// What it says; none where its JSON is broken.
    pub(super) body: Option<Body>,
    /// Who sent it.
    pub(super) socket: SocketRef<A>,
    /// Where it wants the answer; none where it gave no callback.
    pub(super) ack: Option<Ack<A>>,
}

/// The content of an event: its name and its first argument; more arguments are ignored.
pub(super) struct Body {
    pub(super) name: String,
    pub(super) payload: Option<Box<RawValue>>,
    /// True where binary attachments came with it.
    pub(super) binary: bool,
}

impl<A: Adapter> FromMessage<A> for Event<A> {
    type Error = Infallible;

    fn from_message(socket: Arc<Socket<A>>, mut value: Value, ack_id: Option<i64>) -> Result<Self, Infallible> {
        let body = match &value {
            Value::Str(text, attachments) => serde_json::from_str::<Parts>(text).ok().map(|parts| Body {
                name: parts.name,
                payload: parts.payload,
                binary: attachments.as_ref().is_some_and(|attachments| !attachments.is_empty()),
            }),
            // Only a binary parser makes these, and there is none here.
            Value::Bytes(_) => None,
        };
        let ack = match ack_id {
            Some(id) => Some(Ack { id, sender: AckSender::from_message_parts(&socket, &mut value, &ack_id)? }),
            None => None,
        };
        Ok(Self { body, socket: SocketRef::from(socket), ack })
    }
}

/// `["name", payload, ...]`
struct Parts {
    name: String,
    payload: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;

        impl<'de> Visitor<'de> for Expected {
            type Value = Parts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that begins with the name of an event")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Parts, S::Error> {
                let name = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                let payload = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Parts { name, payload })
            }
        }

        deserializer.deserialize_seq(Expected)
    }
}

/// The way back to the client that sent an event.
pub(super) struct Responder<A: Adapter> {
    line: Arc<Line<A>>,
    /// None where the client gave no callback.
    ack: Option<Ack<A>>,
}

/// A client's callback.
pub(super) struct Ack<A: Adapter> {
    id: i64,
    sender: AckSender<A>,
}

impl<A: Adapter> Ack<A> {
    /// Answers through the engine's queue, before there is any other way; false if there is no room.
    pub(super) fn send_early(self, failure: Failure) -> bool {
        self.sender.send(&*Answer::<()>::encode(Err(failure))).is_ok()
    }
}

impl<A: Adapter> Responder<A> {
    pub(super) fn new(line: Arc<Line<A>>, ack: Option<Ack<A>>) -> Self {
        Self { line, ack }
    }

    /// Who sent it.
    pub(super) fn socket(&self) -> &SocketRef<A> {
        &self.line.socket
    }

    /// True where the client gave a callback.
    pub(super) fn by_callback(&self) -> bool {
        self.ack.is_some()
    }

    /// Makes it answer `request`: on success without a callback by the event `answered_by`, or by silence.
    pub(super) fn answer_to(self, request: &str, answered_by: Option<&'static str>) -> Answerer<A> {
        Answerer { responder: self, request: request.to_owned(), answered_by }
    }

    /// Answers where there is a callback.
    pub(super) fn done(self, answer: &RawValue) -> Sent {
        self.ack.map_or(Sent::Done, |ack| self.line.tell_ack(ack.id, ack.sender, answer))
    }

    /// Says that `request` failed.
    pub(super) fn fail(self, request: &str, failure: Failure) -> Sent {
        match self.ack {
            Some(ack) => self.line.tell_ack(ack.id, ack.sender, &Answer::<()>::encode(Err(failure))),
            None => self.line.tell(to_client::ERROR, &failure.encode_event(request)),
        }
    }
}

/// The way back for the answer to one request.
pub(super) struct Answerer<A: Adapter> {
    responder: Responder<A>,
    request: String,
    answered_by: Option<&'static str>,
}

impl<A: Adapter> Answerer<A> {
    /// Whose request it was.
    pub(super) fn socket(&self) -> &SocketRef<A> {
        self.responder.socket()
    }
}

impl<A: Adapter> Reply for Answerer<A> {
    fn by_callback(&self) -> bool {
        self.responder.by_callback()
    }

    fn send(self: Box<Self>, answer: Result<Box<RawValue>, Failure>) -> Sent {
        let Responder { line, ack } = self.responder;
        match (answer, ack, self.answered_by) {
            (Err(failure), ack, _) => Responder { line, ack }.fail(&self.request, failure),
            (Ok(body), Some(ack), _) => line.send_ack(ack.id, ack.sender, &body),
            (Ok(body), None, Some(event)) => line.send(event, &body),
            (Ok(_), None, None) => Sent::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::fuzz;

    #[test]
    fn fuzz_events() {
        fuzz("events", |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let all = serde_json::from_str::<Vec<Box<RawValue>>>(text);
            let Ok(parts) = serde_json::from_str::<Parts>(text) else { return };
            // What is taken is an array that begins with a text; its second is the payload as it came.
            let all = all.unwrap();
            assert_eq!(serde_json::from_str::<String>(all[0].get()).unwrap(), parts.name);
            // `null` is nothing.
            let payload = all.get(1).map(|payload| payload.get()).filter(|payload| *payload != "null");
            assert_eq!(
                parts.payload.as_ref().map(|payload| payload.get()).filter(|payload| *payload != "null"),
                payload
            );
        });
    }
}
