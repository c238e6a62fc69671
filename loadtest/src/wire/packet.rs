//! Packets of Engine.IO 4 and Socket.IO 5, the namespace `/` and JSON: as much of them as a client of a feed needs.

use memchr::memchr;
use serde::Deserialize;
use serde_json::Value;

/// Between two packets in the body of a polling response.
pub const SEPARATOR: u8 = 0x1e;

/// What a server can send.
#[derive(Debug, PartialEq)]
pub enum Packet<'a> {
    /// The Engine.IO session stands.
    Open(Open),
    /// It is over.
    Close,
    /// A heartbeat, to be answered with `PONG`.
    Ping,
    /// The answer to a probe.
    Probed,
    /// Ends a poll without content.
    Noop,
    /// The namespace let us in.
    Connected,
    /// The namespace let us go.
    Disconnected,
    /// The namespace did not let us in: why.
    Refused(String),
    /// An event: its name as it stands in JSON (without the quotes), and what follows the comma after it.
    Event(&'a [u8], &'a [u8]),
    /// The answer to a request of ours: the JSON array of its values.
    Answer(&'a [u8]),
    /// Something else, such as binary packets.
    Other,
}

/// The answer to a handshake.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Open {
    /// The session's name.
    pub sid: String,
    /// What it can be upgraded to.
    #[serde(default)]
    pub upgrades: Vec<String>,
}

/// Answers a heartbeat.
pub const PONG: &[u8] = b"3";
/// Asks whether a WebSocket works, before a session moves to it.
pub const PROBE: &[u8] = b"2probe";
/// Moves a session to the WebSocket that was probed.
pub const UPGRADE: &[u8] = b"5";
/// Leaves the namespace.
pub const DISCONNECT: &[u8] = b"41";

/// Reads a packet.
///
/// # Errors
/// If it is none.
pub fn read(packet: &[u8]) -> Result<Packet<'_>, String> {
    Ok(match packet {
        b"2" => Packet::Ping,
        b"3probe" => Packet::Probed,
        [b'0', open @ ..] => {
            Packet::Open(serde_json::from_slice(open).map_err(|error| format!("a handshake that is not one: {error}"))?)
        }
        [b'1', ..] => Packet::Close,
        [b'6', ..] => Packet::Noop,
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'1', ..] => Packet::Disconnected,
        [b'4', b'4', why @ ..] => Packet::Refused(refusal(why)),
        [b'4', b'2', rest @ ..] => event(rest).ok_or_else(|| unreadable(packet))?,
        [b'4', b'3', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            Packet::Answer(&rest[digits..])
        }
        [b'3' | b'4' | b'5' | b'b', ..] => Packet::Other,
        _ => return Err(unreadable(packet)),
    })
}

/// `12["name",...]`, with or without a number that asks for an answer.
fn event(packet: &[u8]) -> Option<Packet<'_>> {
    let digits = packet.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let array = packet[digits..].strip_prefix(b"[\"")?;
    let end = memchr(b'"', array)?;
    let rest = &array[end + 1..];
    Some(Packet::Event(&array[..end], rest.strip_prefix(b",").unwrap_or(rest)))
}

/// Why a namespace did not let us in.
fn refusal(body: &[u8]) -> String {
    let message =
        serde_json::from_slice::<Value>(body).ok().and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
    message.unwrap_or_else(|| shortened(body))
}

fn unreadable(packet: &[u8]) -> String {
    format!("a packet that is none: {}", shortened(packet))
}

/// The beginning of what a server sent, for a message.
pub fn shortened(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 160;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned();
    if bytes.len() > SHOWN_BYTES { text + "..." } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        assert_eq!(read(b"2"), Ok(Packet::Ping));
        assert_eq!(read(br#"40{"sid":"x"}"#), Ok(Packet::Connected));
        assert_eq!(read(br#"44{"message":"unauthorized"}"#), Ok(Packet::Refused("unauthorized".into())));
        assert_eq!(read(br#"42["tick",{"seq":1}]"#), Ok(Packet::Event(b"tick", br#"{"seq":1}]"#)));
        assert_eq!(read(br#"427["tick"]"#), Ok(Packet::Event(b"tick", b"]")));
        assert_eq!(read(br#"430[{"ok":true}]"#), Ok(Packet::Answer(br#"[{"ok":true}]"#)));
        let open = read(br#"0{"sid":"s","upgrades":["websocket"],"pingInterval":25000}"#);
        assert_eq!(open, Ok(Packet::Open(Open { sid: "s".into(), upgrades: vec!["websocket".into()] })));
        assert!(read(b"").is_err() && read(b"x").is_err() && read(b"42{}").is_err() && read(b"0{}").is_err());
    }
}
