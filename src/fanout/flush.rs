use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::market::Fresh;
use crate::net::text_frame;
use crate::price::{Epoch, Symbol, SymbolId, Tick};
use crate::wire::{Status, encode_tick, event_packet};

/// One tick, encoded once for everybody who gets it.
#[derive(Debug)]
pub struct Item {
    /// Whose tick it is.
    pub id: SymbolId,
    /// The tick.
    pub tick: Tick,
    /// For how many updates it stands.
    pub n: u64,
    /// True for the symbol's first tick under its epoch: then the epoch stands in it.
    pub first: bool,
    /// As JSON.
    pub json: Box<RawValue>,
    /// As the frame of a `tick` event.
    pub frame: Bytes,
}

impl Item {
    /// Encodes a tick.
    pub fn new(fresh: Fresh, epoch: &Epoch, tick_event: &str) -> Self {
        let n = fresh.missed + 1;
        let json = encode_tick(&fresh.tick, n, fresh.first.then_some(epoch), None);
        let frame = text_frame(&event_packet(tick_event, &json));
        Self { id: fresh.id, tick: fresh.tick, n, first: fresh.first, json, frame }
    }
}

/// Ticks that go out together, in order.
#[derive(Debug)]
pub struct Flush {
    /// The numbering that they belong to.
    pub epoch: Epoch,
    /// The ticks; one symbol may stand in it several times.
    pub items: Vec<Arc<Item>>,
    /// Symbols that nobody knew before.
    pub unknown: Vec<(SymbolId, Symbol)>,
}

/// Symbols that have gone quiet, or are back.
#[derive(Debug)]
pub struct Turn {
    /// Whether they are stale now.
    pub stale: bool,
    /// How they are, in the contract's words.
    pub state: &'static str,
    /// Why, for people.
    pub reason: String,
    /// Which, in order.
    pub ids: Vec<SymbolId>,
}

/// What every shard is told, in this order.
#[derive(Clone, Debug)]
pub enum News {
    /// The feed is otherwise now, for those who get ticks.
    Status(Arc<RawValue>),
    /// These symbols have gone quiet, or are back, for those who get them.
    Fresh(Arc<Turn>),
    /// A new epoch began: what waits of the old one is of no use. Those who get ticks are told.
    Turned(Epoch, Arc<RawValue>),
    /// Ticks.
    Flush(Arc<Flush>),
}

impl News {
    /// That the feed is otherwise now, or that a new epoch began.
    pub fn of(status: &Status<'_>) -> Self {
        let body = status.encode().into();
        match status.epoch {
            Some(epoch) => Self::Turned(epoch.clone(), body),
            None => Self::Status(body),
        }
    }
}
