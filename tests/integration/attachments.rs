//! A client that announces binary attachments and does not send them is ended in time, and it alone.

use std::time::{Duration, Instant};

use futures_util::future::join;
use serde_json::{Value, json};
use tickcast::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::client::Client;
use crate::server::Server;

const TIMEOUT: Duration = Duration::from_millis(600);

/// How much later than the timeout an end may be noticed; generous, for a busy machine. Far less than what ends a
/// client for other reasons.
const SLACK: Duration = Duration::from_secs(8);

const ANNOUNCED: &str = r#"451-["subscribe",{"_placeholder":true,"num":0}]"#;

async fn start() -> Server {
    start_with(TIMEOUT).await
}

async fn start_with(timeout: Duration) -> Server {
    let flags = [&*format!("--attachments-timeout={}", timeout.as_millis()), "--ping-interval=100"];
    Server::start(&Clock::system(), &flags).await
}

/// Waits until the client is ended, answering its pings, and checks that it took the timeout.
async fn ended_in_time(client: &mut Client, announced: Instant) {
    client.answer_pings_until_the_end().await;
    let after = announced.elapsed();
    assert!((TIMEOUT..TIMEOUT + SLACK).contains(&after), "{after:?}");
}

async fn protocol_errors(server: &Server) -> Value {
    server.stats().await["errors"]["protocol"].clone()
}

#[tokio::test]
async fn who_announces_attachments_and_sends_none_is_ended_and_counted_and_nobody_else_is_disturbed() {
    let server = start().await;
    let mut other = Client::connect(server.address).await;
    let answer = other.ask("subscribe", json!(["BTC"])).await;
    assert_eq!(answer["ok"], true);
    let mut silent = Client::connect(server.address).await;
    let announced = Instant::now();
    silent.send(ANNOUNCED).await;
    let watching = async {
        let mut last = None;
        while announced.elapsed() < TIMEOUT * 2 {
            let (_, tick) = other.event().await;
            let seq = tick["seq"].as_u64().unwrap();
            assert_eq!(seq, last.map_or(seq, |last: u64| last + 1));
            last = Some(seq);
        }
    };
    join(ended_in_time(&mut silent, announced), watching).await;
    assert_eq!(protocol_errors(&server).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn who_sends_them_in_time_is_answered_and_stays() {
    // However busy the machine is, they are in time.
    let long = Duration::from_secs(4);
    let server = start_with(long).await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..2 {
        client.send(ANNOUNCED).await;
        tokio::time::sleep(TIMEOUT / 4).await;
        client.send_message(Message::binary(vec![1, 2, 3])).await;
        let (event, error) = client.event().await;
        assert_eq!((&*event, &error["code"]), ("error", &json!("invalid_payload")));
    }
    // Longer than the timeout, with pings answered.
    assert_eq!(client.ask("subscribe", json!(["BTC"])).await["ok"], true);
    let begun = Instant::now();
    while begun.elapsed() < long + TIMEOUT {
        client.event().await;
    }
    assert_eq!(protocol_errors(&server).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn an_announcement_in_fragments_on_a_connection_that_spoke_http_before_is_seen_and_one_of_two_is_not_enough() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // It is refused a WebSocket at first.
    let request = "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = vec![0; 65_536];
    let read = stream.read(&mut response).await.unwrap();
    assert!(response[..read].starts_with(b"HTTP/1.1 404"));

    let mut client = Client::connect_over(stream).await;
    let announced = Instant::now();
    for (text, opcode, last) in
        [("4", Data::Text, false), ("52-[\"sub", Data::Continue, false), ("scribe\"]", Data::Continue, true)]
    {
        client.send_message(Message::Frame(Frame::message(text, OpCode::Data(opcode), last))).await;
        client.send_message(Message::Ping("45".into())).await;
    }
    client.send_message(Message::binary(vec![1])).await;
    ended_in_time(&mut client, announced).await;
    assert_eq!(protocol_errors(&server).await, 1);
    server.stop().await;
}

/// A request for a WebSocket, and frames sent without waiting for the answer, in one piece.
async fn send_at_once(server: &Server, frames: &[u8]) -> TcpStream {
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[head.as_bytes(), frames].concat()).await.unwrap();
    stream
}

#[tokio::test]
async fn frames_that_come_with_the_request_for_them_are_seen() {
    let server = start().await;
    // With masks of zeros.
    let mut stream = send_at_once(&server, b"\x81\x82\0\0\0\x0040\x81\x89\0\0\0\x00451-[\"x\"]").await;
    let announced = Instant::now();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.ok();
    assert!((TIMEOUT..TIMEOUT + SLACK).contains(&announced.elapsed()));
    let received = String::from_utf8_lossy(&received);
    assert!(received.starts_with("HTTP/1.1 101") && received.contains("40{\"sid\""), "{received}");
    assert_eq!(protocol_errors(&server).await, 1);

    // Here it could not be told where frames begin.
    let mut stream = send_at_once(&server, b"\x81\x84\0\0\0\0\r\n\r\n").await;
    let mut received = String::new();
    stream.read_to_string(&mut received).await.ok();
    assert!(received.starts_with("HTTP/1.1 400"), "{received}");
    assert_eq!(protocol_errors(&server).await, 2);
    server.stop().await;
}
