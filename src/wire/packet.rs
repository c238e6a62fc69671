use serde_json::value::RawValue;

/// An event for the default namespace as a text of Engine.IO: `42["name",body]` (the Socket.IO protocols 4 and 5 have
/// it alike).
pub fn event_packet(event: &str, body: &RawValue) -> String {
    // A text can always be written as JSON.
    let name = serde_json::to_string(event).unwrap_or_default();
    format!("42[{name},{body}]")
}

/// The same with any number of arguments.
pub fn args_packet(event: &str, args: &[Box<RawValue>]) -> String {
    let mut packet = format!("42[{}", serde_json::to_string(event).unwrap_or_default());
    for arg in args {
        packet.push(',');
        packet.push_str(arg.get());
    }
    packet.push(']');
    packet
}

/// The event that carries an array of ticks, which are JSON already.
pub fn ticks_packet<'a>(event: &str, ticks: impl IntoIterator<Item = &'a str>) -> String {
    let mut packet = format!("42[{},[", serde_json::to_string(event).unwrap_or_default());
    for (place, tick) in ticks.into_iter().enumerate() {
        if place > 0 {
            packet.push(',');
        }
        packet.push_str(tick);
    }
    packet.push_str("]]");
    packet
}

/// The answer to the request that the client numbered so: `43id[body]`.
pub fn ack_packet(id: i64, body: &RawValue) -> String {
    format!("43{id}[{body}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_the_protocol_has_them() {
        let body = RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        assert_eq!(event_packet("tick", &body), r#"42["tick",{"a":1}]"#);
        assert_eq!(event_packet(r#"a "b""#, &body), r#"42["a \"b\"",{"a":1}]"#);
        let args = [body.clone(), RawValue::from_string("[]".into()).unwrap()];
        assert_eq!(args_packet("tick", &args), r#"42["tick",{"a":1},[]]"#);
        assert_eq!(args_packet("tick", &[]), r#"42["tick"]"#);
        assert_eq!(ticks_packet("ticks", []), r#"42["ticks",[]]"#);
        assert_eq!(ticks_packet("ticks", ["{}", r#"{"a":1}"#]), r#"42["ticks",[{},{"a":1}]]"#);
        assert_eq!(ack_packet(12, &body), r#"4312[{"a":1}]"#);
    }
}
