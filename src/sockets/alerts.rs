use futures_util::FutureExt;
use serde_json::value::RawValue;
use socketioxide::adapter::Adapter;

use super::client::Client;
use super::event::Responder;
use super::onward::Later;
use super::reach::{Reached, reach};
use super::tell::Teller;
use crate::fanout::Sent;
use crate::messages::alerts::{Answering, Ask, Asker, Firing, Firings, Owner, Reply, Seat};
use crate::wire::{self, SetAlert, Unalert, from_client as from};

impl<A: Adapter> Client<A> {
    /// Sets, lists or removes alerts. A user's stay when the connection ends, where tokens say who that is.
    pub(super) fn alert(&self, responder: Responder<A>, name: &str, payload: Option<&RawValue>) -> Option<Later> {
        let ask = match name {
            from::ALERT => SetAlert::parse(payload).map(Ask::Set),
            from::UNALERT => Unalert::parse(payload).map(Ask::Remove),
            _ => Ok(Ask::List),
        };
        let ask = match ask {
            Ok(ask) => ask,
            Err(failure) => {
                self.refuse(responder, name, failure);
                return None;
            }
        };
        let identity = self.who.now();
        let user = identity.user.as_deref();
        let (owner, seat) = match user.filter(|_| self.shared.auth.asks_for_tokens()) {
            Some(user) => (Owner::User(user.into()), None),
            None => {
                let session = responder.socket().id.to_string().into();
                (Owner::Connection(self.id.0), Some(Seat { session, user: user.map(Into::into) }))
            }
        };
        let asker = Asker { owner, seat, symbols: &identity.rights.symbols };
        match self.shared.alerts.ask(asker, ask) {
            Answering::Now(reply) => {
                self.answer_alert(responder, name, reply);
                None
            }
            Answering::Later(answer) => Some(self.answer_later(responder, name, answer.map(Result::ok))),
        }
    }

    fn answer_alert(&self, responder: Responder<A>, name: &str, reply: Reply) {
        match reply {
            Ok(answer) => {
                let socket = responder.socket().clone();
                self.shared.note_sent(responder.done(&answer), &socket);
            }
            Err(failure) => self.refuse(responder, name, failure),
        }
    }
}

impl Teller {
    /// Tells this replica's clients of their alerts that fire. The others tell theirs.
    pub(super) async fn tell_alerts(&self, mut firings: Firings) {
        while let Some(firing) = firings.next().await {
            self.tell_firing(&firing);
        }
        // The server ends.
        std::future::pending().await
    }

    fn tell_firing(&self, firing: &Firing) {
        for alert in &firing.alerts {
            let told = reach(&self.io, &alert.place().into());
            if told.is_empty() {
                continue;
            }
            let body = [firing.encode(alert)];
            for Reached { client, .. } in told {
                // Who came back over the same transport is another connection.
                let is_meant = match alert.owner() {
                    Owner::User(_) => true,
                    Owner::Connection(connection) => client.id.0 == *connection,
                };
                // A newer token may not have the right any more.
                if !is_meant || !client.who.now().rights.symbols.allows(firing.symbol.as_str()) {
                    continue;
                }
                if client.line().map(|line| line.pass_on(wire::Fired::EVENT, &body)) == Some(Sent::Dropped) {
                    self.shared.metrics.messages_dropped.inc();
                }
            }
        }
    }
}
