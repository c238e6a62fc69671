//! A small Socket.IO client (Engine.IO 4, WebSocket only) that sees every packet as it comes.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long anything may take before a test fails; generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_ack: u64,
}

impl Client {
    /// Connects to the default namespace.
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let url = format!("ws://{server}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the server accepts");
        let mut client = Self { socket, last_ack: 0 };
        assert!(client.packet().await.starts_with("0{"));
        client.send("40").await;
        assert!(client.packet().await.starts_with("40{"));
        client
    }

    /// Sends an event and returns its acknowledgement. Events that come before it are an error, unless they are ticks of
    /// an earlier subscription.
    pub(crate) async fn ask(&mut self, event: &str, payload: Value) -> Value {
        self.last_ack += 1;
        let id = self.last_ack;
        self.send(&format!("42{id}{}", serde_json::json!([event, payload]))).await;
        let prefix = format!("43{id}");
        loop {
            let packet = self.packet().await;
            if let Some(answer) = packet.strip_prefix(&prefix) {
                return serde_json::from_str::<Vec<Value>>(answer).expect("an array").remove(0);
            }
        }
    }

    /// The next event: its name and its first argument.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.packet().await.strip_prefix("42") {
                let mut parts: Vec<Value> = serde_json::from_str(event).expect("an array");
                let body = parts.remove(1);
                return (parts[0].as_str().expect("a name").to_owned(), body);
            }
        }
    }

    async fn send(&mut self, packet: &str) {
        self.socket.send(Message::text(packet)).await.expect("the connection stands");
    }

    /// The next packet; pings are answered on the way.
    async fn packet(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("in time");
            match message.expect("the connection stands").expect("a message") {
                Message::Text(text) if text.as_str() == "2" => self.send("3").await,
                Message::Text(text) => return text.to_string(),
                _ => {}
            }
        }
    }
}
