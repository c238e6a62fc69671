//! A small Socket.IO client (Engine.IO 4, WebSocket only) that sees every packet as it comes.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take before a test fails; generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    last_ack: u64,
}

impl Client {
    /// Connects to the default namespace.
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        Self::connect_over(TcpStream::connect(server).await.expect("the server listens")).await
    }

    /// Connects to the default namespace over a connection that stands.
    pub(crate) async fn connect_over(stream: TcpStream) -> Self {
        let mut client = Self::open(stream).await;
        client.send("40").await;
        assert!(client.packet().await.starts_with("40{"));
        client
    }

    /// Asks for the default namespace with these credentials, and returns the packet that answers.
    pub(crate) async fn connect_with(server: SocketAddr, auth: &Value) -> (Self, String) {
        let mut client = Self::open(TcpStream::connect(server).await.expect("the server listens")).await;
        client.send(&format!("40{auth}")).await;
        let answer = client.packet().await;
        (client, answer)
    }

    async fn open(stream: TcpStream) -> Self {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", stream.peer_addr().expect("a peer"));
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("the server accepts");
        let mut client = Self { socket, last_ack: 0 };
        assert!(client.packet().await.starts_with("0{"));
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

    pub(crate) async fn send(&mut self, packet: &str) {
        self.send_message(Message::text(packet)).await;
    }

    /// Sends a message, or one frame, as it is.
    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection stands");
    }

    /// Does nothing but answer pings until the connection ends.
    pub(crate) async fn answer_pings_until_the_end(&mut self) {
        let ended = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if message == Message::text("2") {
                    // It may have ended meanwhile.
                    self.socket.send(Message::text("3")).await.ok();
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("in time");
    }

    /// The next packet; pings are answered on the way.
    pub(crate) async fn packet(&mut self) -> String {
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
