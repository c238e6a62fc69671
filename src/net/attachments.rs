/// The longest header of a frame: two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;

/// Follows what a client sends over a WebSocket, and knows how many binary attachments it still owes: announced by a
/// Socket.IO packet (`451-…`), to follow as binary messages.
///
/// It only listens, and judges nothing: bytes that break the protocol end the connection elsewhere, and whatever it
/// makes of them is of no consequence. It holds no payload, and looks at a text only until it is clear what it is.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// How many binary messages are to come.
    due: u32,
    /// What the message in progress is, across its frames; control frames may come between these.
    message: Message,
    header: [u8; MAX_HEADER_BYTES],
    /// Bytes of the header that have come.
    header_bytes: usize,
    /// What is to come of the frame's payload, once its header is complete.
    payload: Option<Payload>,
    /// Frames that have begun since somebody asked.
    frames: u32,
}

#[derive(Debug)]
struct Payload {
    bytes_left: u64,
    mask: [u8; 4],
    /// False for a control frame.
    data: bool,
    /// True if the message ends with this frame.
    last: bool,
}

#[derive(Debug, Default)]
enum Message {
    #[default]
    None,
    Text(Packet),
    Binary,
}

/// What the beginning of a text says about it. Engine.IO 3 and 4 are the same here.
#[derive(Debug)]
enum Packet {
    /// Nothing has come: Engine.IO's type is next.
    Start,
    /// A message of Engine.IO (`4`): Socket.IO's type is next.
    Message,
    /// A binary packet of Socket.IO (`45`, `46`): the number of its attachments, as far as it has come.
    Number(Option<u32>),
    /// A binary packet with so many attachments.
    Announcement(u32),
    /// Any other message.
    Plain,
    /// The end of an upgrade (`5`): from here on it all goes over this WebSocket.
    Upgrade,
    /// No message: a pong, for instance.
    Other,
}

/// What a portion said that somebody has to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Attachments were announced.
    pub(super) announced: bool,
    /// The client has ended its upgrade.
    pub(super) upgraded: bool,
}

impl Attachments {
    /// True while attachments are due.
    pub(super) fn are_due(&self) -> bool {
        self.due > 0
    }

    /// How many frames have begun since this was asked before, of whatever kind.
    pub(super) fn take_frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames)
    }

    /// Takes the bytes that come next, in whatever portions.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> News {
        let mut news = News::default();
        while let Some((&first, rest)) = bytes.split_first() {
            if let Some(payload) = &mut self.payload {
                bytes = payload.read(bytes, &mut self.message);
            } else {
                bytes = rest;
                self.read_header(first);
            }
            if let Some(frame) = self.payload.take_if(|payload| payload.bytes_left == 0)
                && frame.data
                && frame.last
            {
                self.end_message(&mut news);
            }
        }
        news
    }

    fn read_header(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.header_bytes) {
            *place = byte;
        }
        self.header_bytes += 1;
        let [first, second, more @ ..] = &self.header;
        let (length_bytes, masked) = match second & 0x7f {
            _ if self.header_bytes < 2 => return,
            126 => (2, second & 0x80 != 0),
            127 => (8, second & 0x80 != 0),
            _ => (0, second & 0x80 != 0),
        };
        if self.header_bytes < 2 + length_bytes + if masked { 4 } else { 0 } {
            return;
        }
        let (length, mask) = more.split_at(length_bytes);
        let bytes_left = match length {
            [] => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte)),
        };
        let mask = if masked { mask.first_chunk().copied().unwrap_or_default() } else { [0; 4] };
        let opcode = first & 0x0f;
        match opcode {
            1 => self.message = Message::Text(Packet::Start),
            2 => self.message = Message::Binary,
            _ => {}
        }
        self.payload = Some(Payload { bytes_left, mask, data: opcode <= 2, last: first & 0x80 != 0 });
        self.header_bytes = 0;
        self.frames = self.frames.saturating_add(1);
    }

    /// A message is complete.
    fn end_message(&mut self, news: &mut News) {
        match std::mem::take(&mut self.message) {
            Message::None | Message::Text(Packet::Start | Packet::Other) => {}
            Message::Text(Packet::Upgrade) => news.upgraded = true,
            Message::Binary => self.due = self.due.saturating_sub(1),
            Message::Text(Packet::Announcement(number)) if self.due == 0 => {
                self.due = number;
                news.announced |= number > 0;
            }
            // Where an attachment is due, a message is the end of the connection: the parser sees to that.
            Message::Text(_) => self.due = 0,
        }
    }
}

impl Payload {
    /// Takes what `bytes` have of the payload, and returns the rest.
    fn read<'a>(&mut self, bytes: &'a [u8], message: &mut Message) -> &'a [u8] {
        let here = usize::try_from(self.bytes_left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (payload, rest) = bytes.split_at(here);
        self.bytes_left -= here as u64;
        if let (true, Message::Text(packet)) = (self.data, message) {
            for &byte in payload {
                if packet.is_known() {
                    break;
                }
                packet.read(byte ^ self.mask[0]);
                self.mask.rotate_left(1);
            }
        }
        rest
    }
}

impl Packet {
    fn is_known(&self) -> bool {
        matches!(self, Self::Announcement(_) | Self::Plain | Self::Upgrade | Self::Other)
    }

    fn read(&mut self, byte: u8) {
        *self = match (&*self, byte) {
            (Self::Start, b'4') => Self::Message,
            (Self::Start, b'5') => Self::Upgrade,
            (Self::Start, _) => Self::Other,
            (Self::Message, b'5' | b'6') => Self::Number(None),
            (Self::Number(number), b'0'..=b'9') => {
                let number = number.unwrap_or(0).saturating_mul(10);
                Self::Number(Some(number.saturating_add(u32::from(byte - b'0'))))
            }
            (Self::Number(Some(number)), b'-') => Self::Announcement(*number),
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const PING: u8 = 9;

    /// How a frame writes its length: as short as it may, or longer.
    #[derive(Clone, Copy, Debug)]
    enum Form {
        Shortest,
        Bits16,
        Bits64,
    }

    fn frame(first: u8, payload: &[u8], mask: [u8; 4], form: Form) -> Vec<u8> {
        let mut frame = vec![first];
        match form {
            Form::Shortest if payload.len() < 126 => frame.push(0x80 | payload.len() as u8),
            Form::Shortest | Form::Bits16 if payload.len() < 65_536 => {
                frame.push(0x80 | 126);
                frame.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
        frame(0x80 | opcode, payload, [0xa5, 0, 7, 255], Form::Shortest)
    }

    /// How many attachments are due after these frames, read one byte at a time.
    fn due(frames: &[Vec<u8>]) -> u32 {
        let mut attachments = Attachments::default();
        for byte in frames.iter().flatten() {
            attachments.read(&[*byte]);
        }
        attachments.due
    }

    #[test]
    fn sees_which_texts_announce_attachments() {
        for (text, expected) in [
            ("451-[\"x\",{\"_placeholder\":true,\"num\":0}]", 1),
            ("4516-/admin,7[]", 16),
            ("462-1[]", 2),
            ("45000000000000000000000000000003-[]", 3),
            ("4599999999999999999999-[]", u32::MAX),
            ("450-[]", 0),
            ("45-[]", 0),
            ("45", 0),
            ("451", 0),
            ("451[]", 0),
            ("45 1-[]", 0),
            ("42[\"451-\"]", 0),
            ("40", 0),
            ("4", 0),
            ("3", 0),
            ("51-", 0),
            ("", 0),
        ] {
            assert_eq!(due(&[whole(TEXT, text.as_bytes())]), expected, "{text}");
        }
        assert_eq!(due(&[whole(BINARY, b"451-[]")]), 0);
    }

    #[test]
    fn attachments_count_down_and_only_whole() {
        let announced = whole(TEXT, b"452-[]");
        let (attachment, empty) = (whole(BINARY, &[1; 300]), whole(BINARY, &[]));
        assert_eq!(due(&[announced.clone(), attachment.clone()]), 1);
        assert_eq!(due(&[announced.clone(), attachment[..attachment.len() - 1].to_vec()]), 2);
        assert_eq!(due(&[announced.clone(), attachment.clone(), empty.clone()]), 0);
        assert_eq!(due(&[announced.clone(), attachment, empty, announced.clone()]), 2);
        assert_eq!(due(&[announced.clone(), whole(TEXT, b"3"), whole(PING, b"451-")]), 2, "no messages");
        assert_eq!(due(&[announced.clone(), whole(TEXT, b"42[]")]), 0, "the end");
        assert_eq!(due(&[announced.clone(), announced]), 0, "the end");
    }

    #[test]
    fn a_message_in_fragments_is_one_message_and_ends_with_its_last() {
        let part = |first, payload: &[u8]| frame(first, payload, [1, 2, 3, 4], Form::Shortest);
        let mut frames = vec![part(TEXT, b"4"), part(0, b""), whole(PING, b"4"), part(0, b"51"), part(0, b"-[\"x\"]")];
        assert_eq!(due(&frames), 0, "not complete yet");
        frames.push(part(0x80, b""));
        assert_eq!(due(&frames), 1);
        frames.extend([part(BINARY, b"ab"), whole(PING, b""), part(0, b"c")]);
        assert_eq!(due(&frames), 1, "not complete yet");
        frames.push(part(0x80, b"d"));
        assert_eq!(due(&frames), 0);
    }

    #[test]
    fn every_frame_counts_whatever_is_in_it() {
        let mut attachments = Attachments::default();
        let bytes =
            [whole(TEXT, b"3"), whole(PING, b""), frame(TEXT, b"", [0; 4], Form::Bits64), whole(0, b"4")].concat();
        attachments.read(&bytes[..bytes.len() - 1]);
        assert_eq!((attachments.take_frames(), attachments.take_frames()), (4, 0), "the last has begun");
    }

    #[test]
    fn says_when_a_packet_with_attachments_came() {
        let mut attachments = Attachments::default();
        let (announced, attachment) = (whole(TEXT, b"451-[]"), whole(BINARY, b"x"));
        assert!(attachments.read(&announced).announced && attachments.are_due());
        assert_eq!(attachments.read(&whole(TEXT, b"3")), News::default());
        assert!(attachments.read(&whole(TEXT, b"5")).upgraded);
        assert!(!attachments.read(&whole(BINARY, b"5")).upgraded);
        assert!(attachments.read(&[attachment.clone(), announced].concat()).announced && attachments.are_due());
        assert!(!attachments.read(&attachment).announced && !attachments.are_due());
    }

    #[derive(Clone, Debug)]
    enum Said {
        Plain(Vec<u8>),
        Announced(u32),
        Attachment(Vec<u8>),
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            vec(any::<u8>(), 0..200).prop_map(|text| Said::Plain([b"3".to_vec(), text].concat())),
            (1..4_u32).prop_map(Said::Announced),
            prop_oneof![30 => vec(any::<u8>(), 0..200), 1 => Just(vec![7; 70_000])].prop_map(Said::Attachment),
        ]
    }

    /// How a message is put on the wire: where it is cut into frames, their masks and forms, and pings between.
    type Wire = (Vec<Index>, [u8; 4], Form, bool);

    fn wire() -> impl Strategy<Value = Wire> {
        let form = prop_oneof![Just(Form::Shortest), Just(Form::Bits16), Just(Form::Bits64)];
        (vec(any::<Index>(), 0..4), any::<[u8; 4]>(), form, any::<bool>())
    }

    fn encode(opcode: u8, payload: &[u8], (cuts, mask, form, pings): &Wire) -> Vec<u8> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        let mut bytes = Vec::new();
        for (n, ends) in cuts.windows(2).enumerate() {
            let last = if n + 2 == cuts.len() { 0x80 } else { 0 };
            let opcode = if n == 0 { opcode } else { 0 };
            bytes.extend(frame(last | opcode, &payload[ends[0]..ends[1]], *mask, *form));
            if *pings {
                bytes.extend(whole(PING, b"451-[]"));
            }
        }
        bytes
    }

    /// Reads `bytes` in portions that end at `cuts`.
    fn read_in_portions(bytes: &[u8], cuts: &[Index]) -> u32 {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.extend([0, bytes.len()]);
        ends.sort_unstable();
        let mut attachments = Attachments::default();
        for ends in ends.windows(2) {
            attachments.read(&bytes[ends[0]..ends[1]]);
        }
        attachments.due
    }

    proptest! {
        #[test]
        fn keeps_count_however_messages_are_framed_and_portioned(
            messages in vec((said(), wire()), 0..12),
            cuts in vec(any::<Index>(), 0..30),
        ) {
            let mut bytes = Vec::new();
            let mut expected = 0_u32;
            for (said, wire) in messages {
                match said {
                    Said::Plain(text) => bytes.extend(encode(TEXT, &text, &wire)),
                    Said::Announced(number) => {
                        bytes.extend(encode(TEXT, format!("45{number}-[]").as_bytes(), &wire));
                        expected = if expected == 0 { number } else { 0 };
                    }
                    Said::Attachment(data) => {
                        bytes.extend(encode(BINARY, &data, &wire));
                        expected = expected.saturating_sub(1);
                    }
                }
            }
            prop_assert_eq!(read_in_portions(&bytes, &cuts), expected);
        }

        #[test]
        fn takes_any_bytes_and_portions_make_no_difference(
            bytes in vec(prop_oneof![any::<u8>(), Just(0xff), Just(b'4'), Just(b'5'), Just(b'9')], 0..200),
            cuts in vec(any::<Index>(), 0..30),
        ) {
            let one_by_one = due(std::slice::from_ref(&bytes));
            prop_assert_eq!(read_in_portions(&bytes, &cuts), one_by_one);
            prop_assert_eq!(read_in_portions(&bytes, &[]), one_by_one);
        }
    }
}
