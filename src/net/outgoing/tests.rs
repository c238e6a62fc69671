mod engine;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::net::frame::text_frame;

const LIMIT: usize = 90_000;

const CONNECTED: Opening = Opening { prefix: b"40", swallow: false };
const MARKER: Opening = Opening { prefix: b"42[\"last\"", swallow: true };

impl Outgoing {
    fn partial(&self) -> &[u8] {
        self.waiting.as_ref().map_or(&[], |waiting| &waiting.partial)
    }

    fn queue(&self) -> Vec<&Bytes> {
        self.waiting.iter().flat_map(|waiting| &waiting.queue).map(|(_, frame)| frame).collect()
    }

    fn queued_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes()) - self.partial().len()
    }
}

/// A kernel that takes so much of each write, one after the other; nothing once that is used up.
#[derive(Default)]
struct Kernel {
    takes: VecDeque<usize>,
    /// Takes everything.
    open: bool,
    took: Vec<u8>,
}

impl Kernel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.open { usize::MAX } else { self.takes.pop_front().unwrap_or(0) };
        let written = most.min(bytes.len());
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.took.extend(&bytes[..written]);
        Ok(written)
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Frames that a client can tell apart: the class in the first letter of what follows the prefix, then a number.
fn numbered(prefix: &str, class: char, number: usize, length: usize) -> Bytes {
    let mut text = format!("{prefix}{class}{number};");
    let padding = length.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', padding));
    text_frame(&text)
}

fn control(opcode: u8, number: usize) -> Bytes {
    let payload = number.to_string();
    [&[0x80 | opcode, payload.len() as u8], payload.as_bytes()].concat().into()
}

/// The frames in `bytes`, which have to be whole.
fn split(bytes: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (frame, after) = Frame::split(rest).expect("whole frames");
        frames.push(Bytes::copy_from_slice(frame.bytes));
        rest = after;
    }
    frames
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Ping,
    /// What opens a gate of the first kind.
    Connected,
    /// What opens a gate of the second kind, and is swallowed there.
    Marker,
    Text(usize),
    Close,
}

#[derive(Clone, Debug)]
enum Step {
    /// The kernel takes so much of each of the next writes.
    Take(Vec<usize>),
    /// The engine adds these to what it has not got rid of, and writes all of it.
    Engine(Vec<Said>),
    Flush,
    Send(usize),
    Inject(Vec<usize>),
    Advance,
    /// Somebody who is not it any more tries everything.
    Stale,
    Claim(bool),
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..200_usize, 2 => 120..140_usize, 1 => 65_500..65_600_usize]
}

fn step() -> impl Strategy<Value = Step> {
    let takes = prop_oneof![2 => Just(0_usize), 4 => 1..300_usize, 2 => Just(usize::MAX), 1 => 1..70_000_usize];
    let said = prop_oneof![
        6 => Just(Said::Ping),
        6 => length().prop_map(Said::Text),
        4 => Just(Said::Connected),
        4 => Just(Said::Marker),
        1 => Just(Said::Close),
    ];
    prop_oneof![
        6 => vec(takes, 1..6).prop_map(Step::Take),
        5 => vec(said, 0..4).prop_map(Step::Engine),
        3 => Just(Step::Flush),
        6 => length().prop_map(Step::Send),
        6 => vec(length(), 1..6).prop_map(Step::Inject),
        4 => Just(Step::Advance),
        1 => Just(Step::Stale),
        1 => any::<bool>().prop_map(Step::Claim),
    ]
}

/// What has to come of it, kept beside the real thing.
struct Model {
    out: Outgoing,
    kernel: Kernel,
    turn: u32,
    next: usize,
    opening: Option<Opening>,
    open: bool,
    closed: bool,
    /// What the engine has in its own buffer.
    engine: Vec<Bytes>,
    /// It was told to wait.
    engine_waits: bool,
    /// What it may not get ahead of: everything that is on its way, in order.
    on_its_way: Vec<Bytes>,
    /// Messages that were accepted and have not begun.
    messages: VecDeque<Bytes>,
    woken: Arc<Woken>,
}

impl Model {
    fn new() -> Self {
        Self {
            out: Outgoing::new(),
            kernel: Kernel::default(),
            turn: 0,
            next: 0,
            opening: None,
            open: false,
            closed: false,
            engine: Vec::new(),
            engine_waits: false,
            on_its_way: Vec::new(),
            messages: VecDeque::new(),
            woken: Arc::default(),
        }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn write_engine(&mut self) {
        if self.engine.is_empty() {
            return;
        }
        let bytes = self.engine.concat();
        let waker = Waker::from(self.woken.clone());
        match self.out.write_engine(&bytes, &waker, |bytes| self.kernel.write(bytes)) {
            Poll::Pending => self.engine_waits = true,
            Poll::Ready(written) => {
                written.unwrap();
                self.engine_waits = false;
                for frame in std::mem::take(&mut self.engine) {
                    let heard = Frame::split(&frame).unwrap().0;
                    let opens = !self.open && self.opening.is_some_and(|opening| heard.is_text_with(opening.prefix));
                    let swallowed = opens && !self.closed && self.opening.is_some_and(|opening| opening.swallow);
                    self.closed |= heard.is_close();
                    self.open |= opens;
                    if !swallowed {
                        self.on_its_way.push(frame);
                    }
                }
                if self.closed {
                    self.messages.clear();
                }
            }
        }
    }

    fn flush(&mut self) {
        let waker = Waker::from(self.woken.clone());
        match self.out.flush_engine(&waker, |bytes| self.kernel.write(bytes)) {
            Poll::Pending => self.engine_waits = true,
            Poll::Ready(flushed) => {
                flushed.unwrap();
                self.engine_waits = false;
                assert!(self.out.partial().is_empty());
            }
        }
    }

    fn send(&mut self, length: usize) {
        let number = self.number();
        let frame = numbered("", 'M', number, length);
        let waiting = self.out.partial().len() + self.messages.iter().map(Bytes::len).sum::<usize>();
        match self.out.send(self.turn, frame.clone(), LIMIT, |bytes| self.kernel.write(bytes)) {
            Ok(_) => {
                assert!(!self.closed && waiting + frame.len() <= LIMIT);
                self.messages.push_back(frame);
            }
            Err(Refused::Full) => assert!(!self.closed && waiting + frame.len() > LIMIT),
            Err(Refused::Gone) => assert!(self.closed),
        }
    }

    fn inject(&mut self, lengths: Vec<usize>) {
        let frames: Vec<Bytes> = lengths.into_iter().map(|length| numbered("", 'T', self.number(), length)).collect();
        let ends = frames.iter().scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let idle = self.open && !self.engine_waits && self.messages.is_empty() && self.out.partial().is_empty();
        match self.out.inject(self.turn, &frames.concat(), &ends, |bytes| self.kernel.write(bytes)) {
            Injected::Gone => assert!(self.closed),
            Injected::Taken { frames: taken, blocked } => {
                assert!(!self.closed && taken <= frames.len());
                assert!(idle || taken == 0, "something else comes first");
                assert_eq!(blocked, taken < frames.len() || !self.out.partial().is_empty());
                self.on_its_way.extend(frames.into_iter().take(taken));
            }
        }
    }

    fn advance(&mut self) {
        let woken = self.woken.0.load(Ordering::Relaxed);
        let engine_waited = self.engine_waits;
        match self.out.advance(self.turn, |bytes| self.kernel.write(bytes)) {
            Progress::Clear => assert!(self.out.waiting.is_none()),
            Progress::Full => {}
            Progress::Waits => {
                let woke = self.woken.0.load(Ordering::Relaxed) > woken;
                assert_eq!(engine_waited, woke, "it is the engine's turn, and it is told");
                assert!(woke || !self.open);
            }
            Progress::Gone => assert!(self.closed),
        }
    }

    fn stale(&mut self) {
        let turn = self.turn.wrapping_sub(1);
        let before = self.kernel.took.len();
        let frame = numbered("", 'S', 0, 10);
        assert_eq!(self.out.send(turn, frame.clone(), LIMIT, |bytes| self.kernel.write(bytes)), Err(Refused::Gone));
        let injected = self.out.inject(turn, &frame, &[frame.len()], |bytes| self.kernel.write(bytes));
        assert_eq!(injected, Injected::Gone);
        assert_eq!(self.out.advance(turn, |bytes| self.kernel.write(bytes)), Progress::Gone);
        assert_eq!(self.out.waits_since(turn), None);
        assert_eq!(self.kernel.took.len(), before);
    }

    fn claim(&mut self, opening: Opening) {
        self.turn = self.out.claim(opening);
        self.messages.clear();
        self.opening = Some(opening);
        self.open = false;
    }

    /// What the kernel took and what is to come of the last write of it are whole frames, and just those that were let
    /// through: no other, none twice, none in another place.
    fn check(&mut self) {
        let stream = split(&[&self.kernel.took[..], self.out.partial()].concat());
        let known = self.on_its_way.len();
        assert_eq!(stream[..known.min(stream.len())], self.on_its_way[..]);
        // Messages are begun by whoever comes by, in order, and not before the gate is open.
        for begun in &stream[known..] {
            assert!(self.open && !self.closed);
            assert_eq!(self.messages.pop_front().as_ref(), Some(begun));
            self.on_its_way.push(begun.clone());
        }
        assert_eq!(self.out.queue(), Vec::from_iter(&self.messages));
        assert_eq!(self.out.queued_bytes(), self.messages.iter().map(Bytes::len).sum::<usize>());
        assert!(self.out.queued_bytes() <= LIMIT);
        assert_eq!(
            self.out.waiting.as_ref().is_some_and(|waiting| waiting.partial_since.is_some()),
            !self.out.partial().is_empty()
        );
        let waits = !self.closed && (!self.messages.is_empty() || !self.out.partial().is_empty());
        assert_eq!(self.out.waits_since(self.turn).is_some(), waits);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Take(takes) => self.kernel.takes.extend(takes),
            Step::Engine(said) => {
                for said in said {
                    let closing = self.closed || self.engine.iter().any(|frame| frame[0] == 0x88);
                    let number = self.number();
                    self.engine.extend((!closing).then(|| match said {
                        Said::Ping => control(9, number),
                        Said::Close => control(8, number),
                        Said::Connected => numbered("40", 'E', number, 0),
                        Said::Marker => numbered("42[\"last\"", 'E', number, 0),
                        Said::Text(length) => numbered("", 'E', number, length),
                    }));
                }
                self.write_engine();
            }
            Step::Flush => self.flush(),
            Step::Send(length) => self.send(length),
            Step::Inject(lengths) => self.inject(lengths),
            Step::Advance => self.advance(),
            Step::Stale => self.stale(),
            Step::Claim(swallow) => self.claim(if swallow { MARKER } else { CONNECTED }),
        }
        self.check();
    }
}

proptest! {
    #[test]
    fn frames_never_mix_whatever_the_kernel_takes_and_whoever_comes(
        swallow in any::<bool>(),
        steps in vec(step(), 1..80),
    ) {
        let mut model = Model::new();
        model.step(Step::Claim(swallow));
        for step in steps {
            model.step(step);
        }
        // A peer that reads on gets all the rest.
        model.kernel.open = true;
        model.step(Step::Engine(Vec::new()));
        model.step(Step::Flush);
        model.step(Step::Advance);
        prop_assert!(model.engine.is_empty() && model.out.partial().is_empty());
        prop_assert!(!model.open || model.messages.is_empty());
        prop_assert_eq!(split(&model.kernel.took), model.on_its_way);
    }
}

fn taking(kernel: &mut Kernel) -> impl FnMut(&[u8]) -> io::Result<usize> {
    |bytes| kernel.write(bytes)
}

#[test]
fn ticks_that_the_kernel_took_in_part_are_finished_before_anything_else() {
    let mut kernel = Kernel { open: true, ..Kernel::default() };
    let mut out = Outgoing::new();
    let turn = out.claim(CONNECTED);
    let connected = numbered("40", 'E', 0, 0);
    assert!(out.write_engine(&connected, Waker::noop(), taking(&mut kernel)).is_ready());
    let ticks = [1, 2, 3].map(|number| numbered("", 'T', number, 10));
    let ends = [12, 24, 36];
    kernel.open = false;
    kernel.takes = [12, 13].into();
    let injected = out.inject(turn, &ticks.concat(), &ends, taking(&mut kernel));
    assert_eq!(injected, Injected::Taken { frames: 1, blocked: true }, "one, to the byte");
    let injected = out.inject(turn, &ticks.concat()[12..], &ends[..2], taking(&mut kernel));
    assert_eq!(injected, Injected::Taken { frames: 2, blocked: true }, "one, and one byte of the other");

    let ping = control(9, 4);
    assert!(out.write_engine(&ping, Waker::noop(), taking(&mut kernel)).is_pending());
    kernel.takes = [5, 100, 100].into();
    assert!(out.write_engine(&ping, Waker::noop(), taking(&mut kernel)).is_ready());
    let expected = [&connected[..], &ticks.concat(), &ping].concat();
    assert_eq!(kernel.took, expected);
}

#[test]
fn an_engine_that_writes_a_part_of_a_frame_is_refused() {
    let frame = numbered("", 'E', 1, 300);
    for bytes in [&frame[..1], &frame[..frame.len() - 1], &[&frame[..], &frame[..5]].concat(), &frame[1..]] {
        let mut kernel = Kernel { open: true, ..Kernel::default() };
        let written = Outgoing::new().write_engine(bytes, Waker::noop(), taking(&mut kernel));
        assert!(matches!(written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
        assert!(kernel.took.is_empty());
    }
}

#[test]
fn a_broken_pipe_is_the_end() {
    let broken = |_: &[u8]| Err(io::ErrorKind::BrokenPipe.into());
    let open = || {
        let mut kernel = Kernel { open: true, ..Kernel::default() };
        let mut out = Outgoing::new();
        let turn = out.claim(CONNECTED);
        assert!(out.write_engine(&numbered("40", 'E', 0, 0), Waker::noop(), taking(&mut kernel)).is_ready());
        (out, turn)
    };
    let frame = numbered("", 'T', 1, 10);
    let (mut out, turn) = open();
    assert_eq!(out.inject(turn, &frame, &[frame.len()], broken), Injected::Gone);
    assert_eq!(out.send(turn, frame.clone(), LIMIT, broken), Err(Refused::Gone));
    let (mut out, turn) = open();
    assert_eq!(out.send(turn, frame.clone(), LIMIT, broken), Err(Refused::Gone));
    let (mut out, turn) = open();
    assert_eq!(out.send(turn, frame, LIMIT, taking(&mut Kernel::default())), Ok(true));
    assert_eq!(out.advance(turn, broken), Progress::Gone);
    assert_eq!((out.waits_since(turn), out.queued_bytes()), (None, 0));
    let again = out.claim(CONNECTED);
    assert_eq!(out.advance(again, broken), Progress::Gone, "an end is an end");
}

#[test]
fn who_takes_a_little_does_not_wait_for_as_long_as_the_first_byte_does() {
    let mut kernel = Kernel { open: true, ..Kernel::default() };
    let mut out = Outgoing::new();
    let turn = out.claim(CONNECTED);
    assert!(out.write_engine(&numbered("40", 'E', 0, 0), Waker::noop(), taking(&mut kernel)).is_ready());
    kernel.open = false;
    for number in 1..3 {
        assert_eq!(out.send(turn, numbered("", 'M', number, 100), LIMIT, taking(&mut kernel)), Ok(true));
    }
    let mut since = out.waits_since(turn).unwrap();
    for takes in [50, 10, 50, 20] {
        assert_eq!(out.waits_since(turn), Some(since), "nothing moves");
        kernel.takes = [takes].into();
        assert_eq!(out.advance(turn, taking(&mut kernel)), Progress::Full);
        let moved = out.waits_since(turn).unwrap();
        assert!(moved > since);
        since = moved;
    }
}
