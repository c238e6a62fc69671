use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::flush::Item;
use super::pending::{Conflated, Key, Shape};
use crate::net::push_text_frame;
use crate::price::Epoch;
use crate::wire::{encode_ticks, event_packet, ticks_packet};

/// The names of the two events.
#[derive(Clone, Debug)]
pub struct Events {
    /// Of one tick.
    pub tick: String,
    /// Of an array of ticks.
    pub batch: String,
}

/// What a parcel carries: one tick in one stream.
#[derive(Clone, Debug)]
pub enum Load<'a> {
    /// An update as it came. Not held: shards on several threads would count who holds it in one place.
    Update(Shape, &'a Arc<Item>),
    /// Several as one.
    Conflated(Key, Conflated),
}

impl Load<'_> {
    /// What becomes of it where it cannot be delivered: it waits, due now.
    pub fn undelivered(&self, now: Instant) -> (Key, Conflated) {
        match self {
            Self::Update(shape, item) => ((item.id, *shape), Conflated::new((*item).clone(), now)),
            Self::Conflated(key, conflated) => (*key, conflated.clone()),
        }
    }

    /// The source's time of the latest update in it, in ms since the Unix epoch.
    pub fn ts_ms(&self) -> u64 {
        match self {
            Self::Update(_, item) => item.tick.update.ts_ms,
            Self::Conflated(_, conflated) => conflated.ts_ms(),
        }
    }

    /// How many updates it leaves out.
    fn left_out(&self) -> u64 {
        match self {
            Self::Update(..) => 0,
            Self::Conflated(_, conflated) => conflated.n() - conflated.alone().map_or(1, |item| item.n),
        }
    }
}

/// Frames that go to one client or to many, ready to be written.
#[derive(Debug, Default)]
pub struct Parcel<'a> {
    /// The frames, one after the other.
    pub bytes: Vec<u8>,
    /// Where each frame ends.
    pub ends: Vec<usize>,
    /// What is in them, and with how many of these each frame is done.
    pub loads: Vec<Load<'a>>,
    load_ends: Vec<usize>,
    /// The ticks of the `ticks` event, which comes last.
    batch: Vec<Load<'a>>,
}

impl<'a> Parcel<'a> {
    /// True where there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.batch.is_empty()
    }

    /// Adds an update.
    pub fn add(&mut self, shape: Shape, item: &'a Arc<Item>) {
        let load = Load::Update(shape, item);
        match shape {
            Shape::Tick => {
                self.bytes.extend_from_slice(&item.frame);
                self.end_frame([load]);
            }
            Shape::Batch => self.batch.push(load),
        }
    }

    /// Adds what waited.
    pub fn add_conflated(&mut self, key: Key, conflated: Conflated, events: &Events, epoch: Option<&Epoch>) {
        if key.1 == Shape::Tick {
            match conflated.alone() {
                Some(item) => self.bytes.extend_from_slice(&item.frame),
                None => {
                    let packet = event_packet(&events.tick, &conflated.encode(epoch));
                    push_text_frame(&mut self.bytes, &packet);
                }
            }
            self.end_frame([Load::Conflated(key, conflated)]);
        } else {
            self.batch.push(Load::Conflated(key, conflated));
        }
    }

    /// Ends it with the `ticks` event, if it has any for that.
    pub fn seal(mut self, events: &Events, epoch: Option<&Epoch>) -> Self {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            let encoded = encode(&batch, epoch);
            push_text_frame(&mut self.bytes, &ticks_packet(&events.batch, encoded.iter().map(|json| json.get())));
            self.end_frame(batch);
        }
        self
    }

    /// What is in its frames from this one on.
    pub fn loads_from(&self, frame: usize) -> &[Load<'a>] {
        let done = frame.checked_sub(1).and_then(|last| self.load_ends.get(last)).copied().unwrap_or(0);
        &self.loads[done..]
    }

    /// Its events one by one, with what is in each: for those who do not take frames.
    pub fn events<'e>(
        &'e self,
        events: &'e Events,
        epoch: Option<&'e Epoch>,
    ) -> impl Iterator<Item = (&'e str, Box<RawValue>)> {
        (0..self.ends.len()).map(move |frame| {
            let loads = self.loads_from(frame);
            let loads = &loads[..self.load_ends[frame] - (self.loads.len() - loads.len())];
            match loads {
                [Load::Update(Shape::Tick, item)] => (events.tick.as_str(), item.json.clone()),
                [Load::Conflated((_, Shape::Tick), conflated)] => (events.tick.as_str(), conflated.encode(epoch)),
                loads => (events.batch.as_str(), encode_ticks(encode(loads, epoch).iter().map(|json| &**json))),
            }
        })
    }

    /// How many updates are left out in what the first frames carry.
    pub fn left_out(&self, frames: usize) -> u64 {
        let carried = self.loads.len() - self.loads_from(frames).len();
        self.loads[..carried].iter().map(Load::left_out).sum()
    }

    fn end_frame(&mut self, loads: impl IntoIterator<Item = Load<'a>>) {
        self.loads.extend(loads);
        self.ends.push(self.bytes.len());
        self.load_ends.push(self.loads.len());
    }
}

fn encode<'a>(loads: &[Load<'a>], epoch: Option<&Epoch>) -> Vec<Cow<'a, RawValue>> {
    loads
        .iter()
        .map(|load| match load {
            Load::Update(_, item) => Cow::Borrowed(&*item.json),
            Load::Conflated(_, conflated) => Cow::Owned(conflated.encode(epoch)),
        })
        .collect()
}
