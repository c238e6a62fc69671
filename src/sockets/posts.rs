use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use hyper::body::{Frame, SizeHint};

use super::query::Query;
use crate::limits::Limits;

/// Watches what a client that polls sends with a request, before the engine reads it:
///
/// - Its packets are counted, as frames are of who has a WebSocket. They may be two bytes each, a thousand times what
///   anybody needs in a body as large as one may be; what they cost is not in their bytes.
/// - A length that ends between the two halves of a character, with something behind it, would keep the engine
///   (engineioxide-core 0.2.3, `v3_string_decoder`) busy for ever, and with it a thread.
///
/// What is too much, or wrong, is an error of the body: the engine ends the session, and answers with 400.
pub(super) fn watch_packets(request: Request, limits: &Arc<Limits>) -> Request {
    let query = Query::of(request.uri());
    if request.method() != Method::POST || query.session_polled().is_none() {
        return request;
    }
    let packets = Packets::of(query, request.headers());
    let limits = limits.clone();
    request.map(|body| Body::new(WatchedBody { body, packets, left: limits.packets(), limits }))
}

/// Finds where the packets of a body begin, and nothing else: whether it is right the engine says.
///
/// <https://github.com/socketio/engine.io-protocol/tree/v3#payload> and
/// <https://socket.io/docs/v4/engine-io-protocol/#http-long-polling-1>
#[derive(Debug, PartialEq, Eq)]
enum Packets {
    /// One separator between two.
    Separated,
    /// The length of each before it, in UTF-16 units, and a colon.
    Text(Length),
    /// Its kind and its length in bytes before each, a digit a byte, and 255.
    Binary(Length),
}

/// How far one is in a packet whose length is said before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Length {
    /// As read so far; none where nothing is.
    said: Option<u64>,
    /// What is still to come of the packet itself.
    left: u64,
}

/// The length of a packet ends between the two halves of a character.
#[derive(Debug)]
struct Split;

impl Packets {
    const SEPARATOR: u8 = 0x1e;

    fn of(query: Query<'_>, headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE) {
            _ if !query.is_old() => Self::Separated,
            Some(kind) if kind == "application/octet-stream" => Self::Binary(Length::default()),
            _ => Self::Text(Length::default()),
        }
    }

    /// How many begin, or end, in the bytes that come next.
    fn count(&mut self, bytes: &[u8]) -> Result<usize, Split> {
        bytes.iter().try_fold(0, |count, byte| Ok(count + usize::from(self.is_mark(*byte)?)))
    }

    fn is_mark(&mut self, byte: u8) -> Result<bool, Split> {
        Ok(match self {
            Self::Separated => byte == Self::SEPARATOR,
            Self::Text(length) => {
                let units = match byte {
                    // The rest of a character that is counted.
                    0x80..0xc0 => return Ok(false),
                    // Two surrogates.
                    0xf0.. => 2,
                    _ => 1,
                };
                length.take(units, byte.is_ascii_digit().then(|| byte - b'0'), byte == b':')?
            }
            Self::Binary(length) if length.left == 0 && length.said.is_none() => {
                length.said = Some(0);
                false
            }
            Self::Binary(length) => length.take(1, (byte < 10).then_some(byte), byte == 0xff)?,
        })
    }
}

impl Length {
    /// True where a packet begins behind this.
    fn take(&mut self, units: u64, digit: Option<u8>, ends: bool) -> Result<bool, Split> {
        if self.left > 0 {
            self.left = self.left.checked_sub(units).ok_or(Split)?;
            return Ok(false);
        }
        if let Some(digit) = digit {
            self.said = Some(self.said.unwrap_or(0).saturating_mul(10).saturating_add(digit.into()));
        }
        if ends {
            *self = Self { said: None, left: self.said.unwrap_or(0) };
        }
        Ok(ends)
    }
}

#[derive(Debug)]
struct WatchedBody {
    body: Body,
    packets: Packets,
    /// How many more there may be; none for any number.
    left: Option<u32>,
    limits: Arc<Limits>,
}

impl WatchedBody {
    /// Why what has come is not for the engine, if it is not.
    fn objection(&mut self, bytes: &[u8]) -> Option<&'static str> {
        let Ok(found) = self.packets.count(bytes) else {
            return Some("the length of a packet ends within a character");
        };
        let left = self.left?;
        self.left = u32::try_from(found).ok().and_then(|found| left.checked_sub(found));
        if self.left.is_some() {
            return None;
        }
        self.limits.too_many_packets();
        Some("too many packets in one request")
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx).map_err(BoxError::from);
        if let Poll::Ready(Some(Ok(data))) = &frame
            && let Some(objection) = data.data_ref().and_then(|bytes| this.objection(bytes))
        {
            tracing::debug!(objection, "session ended for what its client sent");
            return Poll::Ready(Some(Err(objection.into())));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::metrics::Metrics;

    fn packets(query: &str, kind: Option<&'static str>) -> Packets {
        let kind = kind.map(|kind| (CONTENT_TYPE, kind.parse().unwrap()));
        let uri = format!("/socket.io/?{query}").parse().unwrap();
        Packets::of(Query::of(&uri), &kind.into_iter().collect())
    }

    /// Each way to cut a body has the same number.
    fn counted(packets: impl Fn() -> Packets, body: &[u8]) -> usize {
        let whole = packets().count(body).unwrap();
        for cut in 0..body.len() {
            let (mut packets, (head, tail)) = (packets(), body.split_at(cut));
            assert_eq!(packets.count(head).unwrap() + packets.count(tail).unwrap(), whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn separators_are_counted() {
        let new = || packets("EIO=4&EIO=3&transport=polling", Some("application/octet-stream"));
        assert_eq!(counted(new, b""), 0);
        assert_eq!(counted(new, b"42[\"3:40\"]"), 0);
        assert_eq!(counted(new, b"40\x1e\x1e3\x1e"), 3);
    }

    #[test]
    fn lengths_in_text_are_those_of_utf_16() {
        let old = || packets("transport=polling&EIO=3", Some("text/plain;charset=UTF-8"));
        assert_eq!(counted(old, b""), 0);
        assert_eq!(counted(old, b"2:401:31:2"), 3);
        assert_eq!(counted(old, b"11:42[\"12:341\"]2:40"), 2, "what is in a packet is none");
        assert_eq!(counted(old, "7:4\u{e4}\u{20ac}\u{1f980}1:0:".as_bytes()), 2, "1, 1 and 2 units");
        assert_eq!(counted(old, b"0:0:0:"), 3);
        assert_eq!(counted(old, b"99999999999999999999999:1:1:1:"), 1);
    }

    #[test]
    fn a_length_that_ends_within_a_character_is_refused() {
        let old = || packets("transport=polling&EIO=3", None);
        assert!(old().count("2:4\u{1d54a}x".as_bytes()).is_err());
        assert!(old().count("3:4\u{1d54a}1:2".as_bytes()).is_ok());
        let mut cut = old();
        assert!(cut.count(b"2:4").is_ok() && cut.count("\u{1d54a}".as_bytes()).is_err());
    }

    #[test]
    fn lengths_in_bytes_are_digits_of_a_byte() {
        let old = || packets("EIO=3&transport=polling", Some("application/octet-stream"));
        let body =
            [&[0, 2, 0xff][..], b"40", &[1, 1, 2, 0xff], &[4, 0xff, 0, 1, 0xff, 7, 7, 7, 7, 7, 7, 7], &[0, 1, 0xff, 3]];
        assert_eq!(counted(old, &body.concat()), 3);
    }

    #[tokio::test]
    async fn so_many_pass_and_more_do_not() {
        let metrics = Arc::new(Metrics::default());
        let post = async |body: &'static str, uri: &str, most: &str| {
            let settings = Config::load(["tickcast", "--max-frames-per-second", most].map(Into::into)).unwrap().1;
            let limits = Arc::new(Limits::new(&settings.limits, settings.cors_origin, metrics.clone()));
            let request = Request::post(uri).body(Body::from(body)).unwrap();
            axum::body::to_bytes(watch_packets(request, &limits).into_body(), usize::MAX).await
        };
        let polls = "/socket.io/?EIO=4&transport=polling&sid=a";
        let three = "2\x1e2\x1e2";
        assert_eq!(post(three, polls, "2").await.unwrap(), three);
        assert_eq!(metrics.limited_frames.get(), 0);
        assert!(post(three, polls, "1").await.is_err());
        assert_eq!(metrics.limited_frames.get(), 1);
        assert!(post(three, polls, "0").await.is_ok(), "any number");
        assert!(post(three, "/api/message", "1").await.is_ok(), "no packets are there");
    }
}
