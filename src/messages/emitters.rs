//! What back ends say with libraries that know nothing of tickcast: Node's `@socket.io/redis-emitter` and
//! python-socketio's write-only manager, through Redis. Every replica hears it, and each serves its own clients.

use rmpv::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Message, Place, To, msgpack};
use crate::wire::check_event;

/// The largest message that is read, in bytes.
const MAX_BYTES: usize = 1_000_000;

/// The types of Node's requests that concern clients; others are questions to Node's servers.
const NODE_JOIN: u8 = 2;
const NODE_LEAVE: u8 = 3;
const NODE_DISCONNECT: u8 = 4;

/// The type of a packet that is an event.
const EVENT: u64 = 2;

/// What a back end wants done with the clients of this replica.
#[derive(Debug)]
pub enum Order {
    /// Send them this.
    Say(Message),
    /// Let them enter rooms, or leave them.
    Move {
        /// Whom.
        who: To,
        /// Which rooms, by the names that people know.
        rooms: Vec<String>,
        /// True to enter.
        enter: bool,
    },
    /// End their connections.
    End {
        /// Whose.
        who: To,
        /// True where the transport is to end, too: JS clients come back then.
        close: bool,
    },
}

/// Where back ends publish in Redis. Empty: nothing is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// What Node's channels begin with (`key` of the emitter): `socket.io`.
    pub node: String,
    /// Python's one channel: `socketio`.
    pub python: String,
}

impl Channels {
    /// The pattern of the channels of Node's events for the default namespace.
    pub fn node_events(&self) -> Option<String> {
        // The prefix itself is no pattern.
        let escaped = self.node.replace(['\\', '*', '?', '[', ']'], "?");
        (!self.node.is_empty()).then(|| format!("{escaped}#/#*"))
    }

    /// The channel of Node's requests for the default namespace.
    pub fn node_requests(&self) -> Option<String> {
        (!self.node.is_empty()).then(|| format!("{}-request#/#", self.node))
    }

    /// Python's channel.
    pub fn python(&self) -> Option<String> {
        Some(self.python.clone()).filter(|channel| !channel.is_empty())
    }

    /// Reads what came on one of them; none where it is no business of ours.
    ///
    /// # Errors
    /// Why it cannot be carried out, for the log.
    pub fn read(&self, channel: &str, bytes: &[u8]) -> Result<Option<Order>, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("has {} bytes: at most {MAX_BYTES} are allowed", bytes.len()));
        }
        if !self.python.is_empty() && channel == self.python {
            return python(bytes);
        }
        if self.node_requests().is_some_and(|requests| channel == requests) {
            return node_request(bytes);
        }
        node_event(bytes).map(Some)
    }
}

fn rooms(names: impl IntoIterator<Item = String>) -> Vec<Place> {
    names.into_iter().map(Place::Room).collect()
}

/// `[uid, packet, opts]`
fn node_event(bytes: &[u8]) -> Result<Order, String> {
    let value = msgpack::read(bytes)?;
    let Some([_, packet, opts]) = value.as_array().map(Vec::as_slice) else {
        return Err("is not [uid, packet, opts]".into());
    };
    if msgpack::get(packet, "type").and_then(Value::as_u64) != Some(EVENT) {
        return Err("is no event".into());
    }
    let data = msgpack::get(packet, "data").and_then(Value::as_array).map(Vec::as_slice);
    let Some((Some(event), args)) = data.and_then(<[Value]>::split_first).map(|(event, args)| (event.as_str(), args))
    else {
        return Err("is an event without a name".into());
    };
    let to = To { places: node_rooms(opts, "rooms")?, except: node_rooms(opts, "except")? };
    let args = args.iter().map(msgpack::to_json).collect::<Result<_, _>>()?;
    say(to, event, args)
}

fn node_rooms(opts: &Value, field: &str) -> Result<Vec<Place>, String> {
    let names = match msgpack::get(opts, field) {
        None | Some(Value::Nil) => return Ok(Vec::new()),
        Some(value) => value.as_array().ok_or_else(|| format!("has {field} that are no array"))?,
    };
    let name = |name: &Value| name.as_str().map(str::to_owned).ok_or_else(|| format!("has {field} without a name"));
    // In Node a room of a socket's id has that socket in it.
    Ok(names.iter().map(name).collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(room_or_session).collect())
}

/// Back ends reach one connection by the room of its id.
fn room_or_session(name: String) -> [Place; 2] {
    [Place::Room(name.clone()), Place::Session(name)]
}

fn say(to: To, event: &str, args: Vec<Box<RawValue>>) -> Result<Order, String> {
    check_event("event", event).map_err(|failure| failure.message)?;
    Ok(Order::Say(Message { to, event: event.to_owned(), args }))
}

#[derive(Deserialize)]
struct NodeRequest {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    opts: NodeOpts,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    close: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeOpts {
    rooms: Vec<String>,
    except: Vec<String>,
}

fn node_request(bytes: &[u8]) -> Result<Option<Order>, String> {
    let unreadable = |error: serde_json::Error| format!("is no request: {error}");
    let request: NodeRequest = match bytes.first() {
        Some(b'{') => serde_json::from_slice(bytes).map_err(unreadable)?,
        // Those with bytes in them, which only events between Node's servers have.
        _ => match msgpack::to_json(&msgpack::read(bytes)?) {
            Ok(json) => serde_json::from_str(json.get()).map_err(unreadable)?,
            Err(_) => return Ok(None),
        },
    };
    let sessions = |names: Vec<String>| names.into_iter().flat_map(room_or_session).collect();
    let who = To { places: sessions(request.opts.rooms), except: sessions(request.opts.except) };
    Ok(match request.kind {
        NODE_JOIN => Some(Order::Move { who, rooms: request.rooms, enter: true }),
        NODE_LEAVE => Some(Order::Move { who, rooms: request.rooms, enter: false }),
        NODE_DISCONNECT => Some(Order::End { who, close: request.close }),
        _ => None,
    })
}

#[derive(Deserialize)]
struct Python {
    method: String,
    event: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(default)]
    binary: bool,
    namespace: Option<String>,
    room: Option<OneOrMany>,
    skip_sid: Option<OneOrMany>,
    sid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn all(of: Option<Self>) -> Vec<String> {
        match of {
            None => Vec::new(),
            Some(Self::One(name)) => vec![name],
            Some(Self::Many(names)) => names,
        }
    }
}

fn python(bytes: &[u8]) -> Result<Option<Order>, String> {
    if bytes.first() != Some(&b'{') {
        // Whoever can publish could run code in who unpickles.
        return Err("is not JSON, as python-socketio 5.14 and newer write it: pickled data is never read".into());
    }
    let said: Python = serde_json::from_slice(bytes).map_err(|error| format!("is no message: {error}"))?;
    if said.namespace.as_deref().is_some_and(|namespace| namespace != "/") {
        return Ok(None);
    }
    let session = |sid: Option<String>| sid.map(|sid| To::from(Place::Session(sid))).ok_or("names no sid");
    let one_room = |room: Option<OneOrMany>| match OneOrMany::all(room) {
        rooms if rooms.is_empty() => Err("names no room"),
        rooms => Ok(rooms),
    };
    Ok(Some(match said.method.as_str() {
        "emit" => {
            if said.binary {
                return Err("has bytes in it, and only JSON is passed on".into());
            }
            let places = OneOrMany::all(said.room).into_iter().flat_map(room_or_session).collect();
            let except = OneOrMany::all(said.skip_sid).into_iter().map(Place::Session).collect();
            let args = match said.data {
                None => Vec::new(),
                Some(data) if data.get().starts_with('[') => {
                    serde_json::from_str(data.get()).map_err(|error| format!("has data that is no array: {error}"))?
                }
                Some(data) => vec![data],
            };
            say(To { places, except }, &said.event.ok_or("is an event without a name")?, args)?
        }
        "enter_room" => Order::Move { who: session(said.sid)?, rooms: one_room(said.room)?, enter: true },
        "leave_room" => Order::Move { who: session(said.sid)?, rooms: one_room(said.room)?, enter: false },
        "close_room" => {
            let names = one_room(said.room)?;
            Order::Move { who: To { places: rooms(names.clone()), except: Vec::new() }, rooms: names, enter: false }
        }
        "disconnect" => Order::End { who: session(said.sid)?, close: false },
        // Answers between Python's servers.
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> Channels {
        Channels { node: "socket.io".into(), python: "socketio".into() }
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap()).collect()
    }

    fn said(order: Option<Order>) -> (To, String, String) {
        let Some(Order::Say(Message { to, event, args })) = order else { panic!("{order:?}") };
        (to, event, serde_json::to_string(&args).unwrap())
    }

    /// `to("sym:BTC-USD").emit("tick", {s: "BTC-USD", p: "50000.1"})`, as Node's emitter 5.1.0 publishes it.
    const GOLDEN: &str = "93a7656d697474657283a47479706502a46461746192a47469636b82a173a74254432d555344a170a735303030302e31\
                          a36e7370a12f83a5726f6f6d7391ab73796d3a4254432d555344a5666c61677380a665786365707490";

    #[test]
    fn events_of_node() {
        let (to, event, args) =
            said(channels().read("socket.io#/#sym:BTC-USD#", &unhex(&GOLDEN.replace(' ', ""))).unwrap());
        let places = room_or_session("sym:BTC-USD".into()).to_vec();
        assert_eq!(to, To { places, except: vec![] });
        assert_eq!((event.as_str(), args.as_str()), ("tick", r#"[{"s":"BTC-USD","p":"50000.1"}]"#));
        let bytes = unhex(GOLDEN);
        for cut in 0..bytes.len() {
            assert!(channels().read("socket.io#/#", &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn requests_of_node() {
        let read = |json: &str| channels().read("socket.io-request#/#", json.as_bytes()).unwrap();
        match read(r#"{"type":2,"opts":{"rooms":["a"],"except":["b"]},"rooms":["r"]}"#) {
            Some(Order::Move { who, rooms, enter: true }) => {
                assert_eq!(who.places[0], Place::Room("a".into()));
                assert_eq!(who.except[0], Place::Room("b".into()));
                assert_eq!(rooms, ["r"]);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            read(r#"{"type":3,"opts":{"rooms":[],"except":[]},"rooms":["r"]}"#),
            Some(Order::Move { enter: false, .. })
        ));
        let end = read(r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":true}"#);
        assert!(matches!(end, Some(Order::End { close: true, .. })));
        assert!(read(r#"{"type":5,"uid":"x","requestId":"y","opts":{"rooms":[],"except":[]}}"#).is_none());
        assert!(channels().read("socket.io-request#/#", b"{}").is_err());
    }

    #[test]
    fn messages_of_python() {
        let read = |json: &str| channels().read("socketio", json.as_bytes());
        let golden = r#"{"method":"emit","event":"tick","data":[{"s":"BTC-USD","p":"50000.1"}],"binary":false,"namespace":"/","room":"sym:BTC-USD","skip_sid":null,"callback":null,"host_id":"0123456789abcdef0123456789abcdef"}"#;
        let (to, event, args) = said(read(golden).unwrap());
        assert_eq!(to.places, room_or_session("sym:BTC-USD".into()));
        assert_eq!((event.as_str(), args.as_str()), ("tick", r#"[{"s":"BTC-USD","p":"50000.1"}]"#));
        let (to, ..) = said(read(&golden.replace(r#""sym:BTC-USD""#, r#"["a","b"]"#)).unwrap());
        assert_eq!(to.places.len(), 4);
        let (to, ..) = said(read(&golden.replace(r#""sym:BTC-USD""#, "null")).unwrap());
        assert_eq!(to, To::default());
        assert!(read(&golden.replace(r#""/""#, r#""/other""#)).unwrap().is_none());
        assert!(read(&golden.replace("false", "true")).is_err());
        assert!(read(&golden.replace(r#""tick""#, r#""connect""#)).is_err());
        let pickled = [&[0x80, 4, 0x95][..], b"cos\nsystem\n"].concat();
        assert!(channels().read("socketio", &pickled).unwrap_err().contains("pickled"));
        assert!(matches!(read(r#"{"method":"disconnect","sid":"x","namespace":"/"}"#), Ok(Some(Order::End { .. }))));
        assert!(read(r#"{"method":"disconnect"}"#).is_err());
        assert!(read(r#"{"method":"callback","sid":"x","id":1}"#).unwrap().is_none());
    }

    #[test]
    fn fuzz_emitters() {
        crate::fuzzing::fuzz("emitters", |bytes| {
            for channel in ["socket.io#/#", "socket.io-request#/#", "socketio"] {
                if let Ok(Some(Order::Say(message))) = channels().read(channel, bytes) {
                    assert!(check_event("event", &message.event).is_ok());
                    let packet = crate::wire::args_packet(&message.event, &message.args);
                    // As it is written: half of a surrogate pair goes on to clients, whose JSON has it too.
                    let sent: Vec<Box<RawValue>> = serde_json::from_str(&packet[2..]).unwrap();
                    assert_eq!(sent.len(), message.args.len() + 1);
                }
            }
        });
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        assert!(channels().read("socketio", &vec![b'{'; MAX_BYTES + 1]).unwrap_err().contains("at most"));
    }
}
