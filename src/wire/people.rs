use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::encode;
use super::request::{read, short, shown};
use super::{Failure, to_client};

/// The room of those who name none.
pub const DEFAULT_ROOM: &str = "chat";

/// The longest name of a room, in bytes.
pub const MAX_ROOM_BYTES: usize = 256;

/// The longest name of a user, in bytes.
pub const MAX_USER_BYTES: usize = 256;

/// The longest name of an event that somebody else thinks of, in bytes.
pub const MAX_EVENT_BYTES: usize = 256;

/// The longest text that one `chat` may say, in characters.
pub const MAX_CHAT_CHARS: usize = 2000;

/// Names that socket.io-client keeps to itself: an event of such a name would pass for something that happened to the
/// connection.
pub const KEPT_BY_CLIENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The payload of `chat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Where.
    pub room: String,
    /// What.
    pub text: String,
}

/// The payload of `join` and of `leave`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub room: String,
}

/// The payload of `send_message`.
#[derive(Debug)]
pub struct SendMessage {
    /// Which user.
    pub recipient: String,
    /// What, as it came.
    pub content: Box<RawValue>,
}

impl Chat {
    /// Reads `"text"` or `{"room": ..., "text": ...}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let (room, text) = match read(payload)? {
            Value::Object(mut fields) => {
                let room = match fields.remove("room") {
                    None | Some(Value::Null) => DEFAULT_ROOM.to_owned(),
                    Some(room) => named("room", Some(room), MAX_ROOM_BYTES)?,
                };
                (room, fields.remove("text").unwrap_or(Value::Null))
            }
            value => (DEFAULT_ROOM.to_owned(), value),
        };
        let Value::String(text) = text else {
            return Err(Failure::invalid(format!("text is {}: must be a string", shown(&text))));
        };
        check_text("text", &text)?;
        Ok(Self { room, text })
    }
}

impl Room {
    /// Reads `{"room": ...}` or `"room"`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let room = match read(payload)? {
            Value::Object(mut fields) => fields.remove("room"),
            value => Some(value),
        };
        Ok(Self { room: named("room", room, MAX_ROOM_BYTES)? })
    }
}

impl SendMessage {
    /// Reads `{"recipient": ..., "content": ...}`. Unknown fields are ignored.
    ///
    /// # Errors
    /// A [`Failure`] that names the field, the value and what is allowed.
    pub fn parse(payload: Option<&RawValue>) -> Result<Self, Failure> {
        let form = "must be {\"recipient\": \"...\", \"content\": ...}";
        let mut fields = match read(payload)? {
            Value::Object(fields) => fields,
            value => return Err(Failure::invalid(format!("the payload is {}: {form}", shown(&value)))),
        };
        let recipient = named("recipient", fields.remove("recipient"), MAX_USER_BYTES)?;
        if !fields.contains_key("content") {
            return Err(Failure::invalid(format!("content is missing: {form}")));
        }
        Ok(Self { recipient, content: content(payload, fields) })
    }
}

/// The field `content` as it came: a number keeps all its digits.
fn content(payload: Option<&RawValue>, mut read: Map<String, Value>) -> Box<RawValue> {
    #[derive(serde::Deserialize)]
    struct Raw {
        content: Box<RawValue>,
    }
    match payload.map(|payload| serde_json::from_str::<Raw>(payload.get())) {
        Some(Ok(raw)) => raw.content,
        // A field that stands there twice: the last one counts, as elsewhere.
        _ => encode(&read.remove("content").unwrap_or_default()),
    }
}

/// A name that is no longer than this, in bytes.
fn named(field: &str, value: Option<Value>, most: usize) -> Result<String, Failure> {
    match value {
        Some(Value::String(name)) => check_name(field, &name, most).map(|()| name),
        None | Some(Value::Null) => Err(Failure::invalid(format!("{field} is missing: must be a string"))),
        Some(value) => Err(Failure::invalid(format!("{field} is {}: must be a string", shown(&value)))),
    }
}

/// Refuses a name that is empty, or longer than this, in bytes.
///
/// # Errors
/// A [`Failure`] that names the field and what is allowed.
pub fn check_name(field: &str, name: &str, most: usize) -> Result<(), Failure> {
    if (1..=most).contains(&name.len()) {
        return Ok(());
    }
    Err(Failure::invalid(format!("{field} has {} bytes: must have 1 to {most}", name.len())))
}

/// Refuses a text that is not for a chat.
///
/// # Errors
/// A [`Failure`] that names the field and what is allowed.
pub fn check_text(field: &str, text: &str) -> Result<(), Failure> {
    // Not counted to the end where it is far too long.
    let chars = text.chars().count();
    if (1..=MAX_CHAT_CHARS).contains(&chars) {
        return Ok(());
    }
    Err(Failure::invalid(format!("{field} has {chars} characters: must have 1 to {MAX_CHAT_CHARS}")))
}

/// Refuses the name of an event that clients could not take.
///
/// # Errors
/// A [`Failure`] that names the field, the value and what is allowed.
pub fn check_event(field: &str, event: &str) -> Result<(), Failure> {
    check_name(field, event, MAX_EVENT_BYTES)?;
    if KEPT_BY_CLIENTS.contains(&event) {
        let kept = KEPT_BY_CLIENTS.join(", ");
        return Err(Failure::invalid(format!(
            "{field} is \"{}\": must not be one of {kept}, which clients keep to themselves",
            short(event)
        )));
    }
    Ok(())
}

/// The body of `chat-message`.
#[derive(Debug, Serialize)]
pub struct ChatMessage<'a> {
    /// Where it was said.
    pub room: &'a str,
    /// What was said.
    pub text: &'a str,
    /// Who said it: null for who has no name.
    pub from: Option<&'a str>,
    /// The id of the replica that took it.
    pub server: &'a str,
    /// That replica's time, in ms since the Unix epoch.
    pub ts: u64,
}

impl ChatMessage<'_> {
    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

/// The body of `message`.
#[derive(Debug, Serialize)]
pub struct DirectMessage<'a> {
    /// Who sent it: null for who has no name.
    pub from: Option<&'a str>,
    /// What, as it came.
    pub content: &'a RawValue,
    /// The time of the replica that took it, in ms since the Unix epoch.
    pub ts: u64,
}

impl DirectMessage<'_> {
    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

/// The answer to `send_message`.
#[derive(Debug, Serialize)]
pub struct Delivered {
    /// How many connections it was sent to.
    pub delivered: usize,
    /// False where not every replica has said how many, or it could not be told to them.
    pub complete: bool,
}

/// The body of `room-users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomUsers {
    /// Which room.
    pub room: String,
    /// Who is in it, by name and in order; each once.
    pub users: Vec<String>,
    /// How many connections are in it, those without a name too.
    pub connections: usize,
    /// False where `users` has not all of them.
    pub complete: bool,
}

impl RoomUsers {
    /// The event that carries it.
    pub const EVENT: &str = to_client::ROOM_USERS;

    /// As JSON text.
    pub fn encode(&self) -> Box<RawValue> {
        encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn reads_what_is_said() {
        let chat = |json: &str| Chat::parse(Some(&raw(json)));
        let said = Chat { room: "chat".into(), text: "hi".into() };
        assert_eq!(chat(r#""hi""#), Ok(said.clone()));
        assert_eq!(chat(r#"{"text":"hi"}"#), Ok(said.clone()));
        assert_eq!(chat(r#"{"room":"chat","text":"hi","x":1}"#), Ok(said));
        assert_eq!(chat(r#"{"room":"tick:BTC","text":"hi"}"#).unwrap().room, "tick:BTC");
        for (json, message) in [
            ("5", "text is 5: must be a string"),
            (r#"{"room":7,"text":"hi"}"#, "room is 7: must be a string"),
            (r#"{"room":"","text":"hi"}"#, "room has 0 bytes: must have 1 to 256"),
            (r#""""#, "text has 0 characters: must have 1 to 2000"),
        ] {
            assert_eq!(chat(json), Err(Failure::invalid(message)), "{json}");
        }
        assert!(chat(&format!("\"{}\"", "x".repeat(2001))).is_err());
    }

    #[test]
    fn reads_rooms() {
        let room = |json: &str| Room::parse(Some(&raw(json))).map(|Room { room }| room);
        assert_eq!(room(r#"{"room":"a b"}"#).unwrap(), "a b");
        assert_eq!(room(r#""a""#).unwrap(), "a");
        for (json, message) in [
            ("{}", "room is missing: must be a string"),
            (r#"{"room":[]}"#, "room is an array of 0: must be a string"),
            (r#""""#, "room has 0 bytes: must have 1 to 256"),
        ] {
            assert_eq!(room(json), Err(Failure::invalid(message)), "{json}");
        }
        assert!(room(&format!("\"{}\"", "x".repeat(257))).is_err());
        assert!(Room::parse(None).is_err());
    }

    #[test]
    fn reads_messages_as_they_are() {
        let send = |json: &str| SendMessage::parse(Some(&raw(json)));
        let read = send(r#"{"recipient":"u","content":{"price": 1.10000000000000000001}}"#).unwrap();
        assert_eq!((read.recipient.as_str(), read.content.get()), ("u", r#"{"price": 1.10000000000000000001}"#));
        assert_eq!(send(r#"{"recipient":"u","content":null}"#).unwrap().content.get(), "null");
        assert_eq!(send(r#"{"recipient":"u","content":1,"content":2}"#).unwrap().content.get(), "2");
        for (json, message) in [
            (r#""u""#, r#"the payload is "u": must be {"recipient": "...", "content": ...}"#),
            (r#"{"content":1}"#, "recipient is missing: must be a string"),
            (r#"{"recipient":"u"}"#, r#"content is missing: must be {"recipient": "...", "content": ...}"#),
        ] {
            assert_eq!(send(json).unwrap_err(), Failure::invalid(message), "{json}");
        }
    }

    #[test]
    fn names_that_clients_keep_are_no_events() {
        assert!(check_event("event", "notification").is_ok());
        for event in ["connect", "disconnect", "", &"x".repeat(257)] {
            assert!(check_event("event", event).is_err(), "{event}");
        }
    }
}
