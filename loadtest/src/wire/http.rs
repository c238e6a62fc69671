//! The little HTTP/1.1 that a Socket.IO client speaks: requests on kept connections, and their responses.

use std::fmt::Write;

use crate::args::Target;

/// The most headers of a response.
const MAX_HEADERS: usize = 64;
/// The longest head of a response, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// What every client asks for a WebSocket with (the sample of RFC 6455: nobody caches a load test), and what a server that
/// knows the protocol answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// To become a WebSocket: of a new session, or of one that polls.
    Upgrade(Option<&'a str>),
    /// The next packets; without a session, a new one.
    Poll(Option<&'a str>),
    /// To take these packets.
    Post(&'a str, &'a [u8]),
}

/// Writes requests. Everything that is the same in all of them is put together once.
#[derive(Debug)]
pub struct Requests {
    path: String,
    query: String,
    headers: String,
}

impl Requests {
    /// To this server.
    pub fn new(target: &Target) -> Self {
        let mut headers = format!("Host: {}\r\nUser-Agent: tickcast-loadtest\r\n", target.host);
        for (name, value) in &target.headers {
            let _ = write!(headers, "{name}: {value}\r\n");
        }
        let query = target.query.iter().fold(String::new(), |query, pair| query + "&" + pair);
        Self { path: target.path.clone(), query, headers }
    }

    /// Adds a request to `out`.
    pub fn write(&self, out: &mut Vec<u8>, request: Request<'_>) {
        let Self { path, query, headers } = self;
        let (method, transport, session) = match request {
            Request::Upgrade(session) => ("GET", "websocket", session),
            Request::Poll(session) => ("GET", "polling", session),
            Request::Post(session, _) => ("POST", "polling", Some(session)),
        };
        let session = session.map_or(String::new(), |session| format!("&sid={session}"));
        let line = format!("{method} {path}?EIO=4&transport={transport}{session}{query} HTTP/1.1\r\n{headers}");
        out.extend(line.as_bytes());
        match request {
            Request::Upgrade(_) => out.extend(
                format!(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: {KEY}\r\n\r\n"
                )
                .as_bytes(),
            ),
            Request::Poll(_) => out.extend(b"Accept: */*\r\n\r\n"),
            Request::Post(_, body) => {
                let length = body.len();
                out.extend(
                    format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
                );
                out.extend(body);
            }
        }
    }
}

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 and the like.
    pub status: u16,
    /// What it carries; nothing where frames follow (101).
    pub body: Vec<u8>,
    /// True if the server closes the connection after it.
    pub closes: bool,
    /// How many bytes it takes, with its head.
    pub bytes: usize,
}

/// The response at the beginning of `bytes`; none if it is not all there yet.
///
/// # Errors
/// If it is not HTTP, or neither says how long it is nor is cut into chunks.
pub fn response(bytes: &[u8]) -> Result<Option<Response>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("a response with a head of more than 64 kB".into()),
        Err(error) => return Err(format!("not an HTTP response: {error}")),
    };
    let status = head.code.unwrap_or_default();
    let header = |name: &str| {
        head.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let accept = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if status == 101 && accept.is_none_or(|header| header.value != ACCEPT) {
        return Err("a WebSocket without the right Sec-WebSocket-Accept".into());
    }
    if status == 101 || status == 204 || status == 304 {
        return Ok(Some(Response { status, body: Vec::new(), closes, bytes: at }));
    }
    let rest = &bytes[at..];
    if let Some(length) = header("content-length") {
        let length: usize = length.trim().parse().map_err(|_| format!("a response of length {length:?}"))?;
        return Ok(rest.get(..length).map(|body| Response { status, body: body.to_vec(), closes, bytes: at + length }));
    }
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(chunks(rest)?.map(|(body, length)| Response { status, body, closes, bytes: at + length }));
    }
    Err("a response that does not say how long it is".into())
}

/// A body in chunks, and how many bytes it takes; none if it is not all there yet.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (head, length) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("a response with a chunk of no length".into()),
        };
        let from = at + head;
        let to = from + usize::try_from(length).map_err(|_| "a chunk that is too long")?;
        let Some(chunk) = bytes.get(from..to + 2).and_then(|chunk| chunk.strip_suffix(b"\r\n")) else {
            return if bytes.len() < to + 2 { Ok(None) } else { Err("a chunk without an end".into()) };
        };
        body.extend(chunk);
        at = to + 2;
        if length == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_there_when_its_last_byte_is_and_not_before() {
        let cases: [(&[u8], &[u8]); 3] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
            (b"HTTP/1.1 101 Switching\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", b""),
        ];
        for (bytes, body) in cases {
            for cut in 0..bytes.len() {
                assert_eq!(response(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
            let followed = [bytes, b"more"].concat();
            let found = response(&followed).unwrap().unwrap();
            assert_eq!((found.body.as_slice(), found.bytes), (body, bytes.len()));
        }
    }

    #[test]
    fn what_is_not_a_response_is_said() {
        assert!(response(b"SSH-2.0-OpenSSH\r\n\r\n").unwrap_err().starts_with("not an HTTP response"));
        assert!(response(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
        assert!(response(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n").is_err(), "no accept");
    }
}
