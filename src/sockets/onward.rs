use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;
use socketioxide::socket::DisconnectReason;

use super::client::Client;
use super::event::Responder;
use crate::messages::backend::{Backend, Origin};
use crate::messages::{Message, Place};
use crate::wire::{Answer, Delivered, DirectMessage, Failure, SendMessage, from_client as from, to_client as to};

/// What is left to do of an event once it has taken effect: to wait, and to answer.
pub(super) type Later = BoxFuture<'static, ()>;

impl<A: Adapter> Client<A> {
    /// Sends something to a user. Who gave a callback is told how many connections it reached.
    pub(super) fn send_message(&self, responder: Responder<A>, payload: Option<&RawValue>) -> Option<Later> {
        let message = SendMessage::parse(payload).and_then(|SendMessage { recipient, content }| {
            self.check_sender()?;
            let identity = self.who.now();
            let (from, ts) = (identity.user.as_deref(), self.shared.clock.millis());
            let body = DirectMessage { from, content: &content, ts }.encode();
            Ok(Message::new(Place::User(recipient), to::MESSAGE, body))
        });
        let messages = &self.shared.messages;
        let said = match message {
            Ok(message) if responder.by_callback() => messages.say_and_count(message).map(Some),
            Ok(message) => messages.say(message).map(|()| None),
            Err(failure) => Err(failure),
        };
        match said {
            Ok(None) => None,
            Ok(Some(waiting)) => {
                let answer = async move {
                    let gathered = waiting.answers().await;
                    let delivered = Delivered { delivered: gathered.count, complete: gathered.complete };
                    Some(Ok(Answer::encode(Ok(delivered))))
                };
                Some(self.answer_later(responder, from::SEND_MESSAGE, answer))
            }
            Err(failure) => {
                self.refuse(responder, from::SEND_MESSAGE, failure);
                None
            }
        }
    }

    /// Hands an event on to the back end; its answer is the client's.
    pub(super) fn hand_on(
        &self,
        backend: &Backend,
        responder: Responder<A>,
        name: &str,
        payload: Option<&RawValue>,
    ) -> Option<Later> {
        let identity = self.who.now();
        let pending = match backend.ask(self.origin(identity.user.as_deref()), name, payload) {
            Ok(pending) => pending,
            Err(failure) => {
                self.refuse(responder, name, failure);
                return None;
            }
        };
        Some(self.answer_later(responder, name, async move { Some(pending.answer().await) }))
    }

    /// Waits for the answer to an event of this name, and gives it to the client if it is still there. None: the server
    /// ends.
    pub(super) fn answer_later(
        &self,
        responder: Responder<A>,
        name: &str,
        answer: impl Future<Output = Option<Result<Box<RawValue>, Failure>>> + Send + 'static,
    ) -> Later {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        let later = async move {
            let Some(answer) = answer.await else { return };
            let socket = responder.socket().clone();
            if !socket.connected() {
                return;
            }
            let sent = match answer {
                Ok(answer) => responder.done(&answer),
                Err(failure) => {
                    shared.metrics.request_errors.inc();
                    responder.fail(&name, failure)
                }
            };
            shared.note_sent(sent, &socket);
        };
        later.boxed()
    }

    /// Tells the back end, where it wants to know, that this client has come.
    pub(super) fn announce(&self) {
        if let Some(backend) = &self.shared.backend {
            backend.connected(self.origin(self.who.now().user.as_deref()));
        }
    }

    /// The same, that it has gone.
    pub(super) fn announce_end(&self, reason: DisconnectReason) {
        if let Some(backend) = &self.shared.backend {
            backend.disconnected(self.origin(self.who.now().user.as_deref()), &reason.to_string());
        }
    }

    fn origin<'a>(&self, user: Option<&'a str>) -> Origin<'a> {
        Origin { connection: self.id.0, user }
    }
}
