//! What goes over the connection: requests and responses (HTTP), frames (WebSocket), packets (Engine.IO and Socket.IO)
//! and the ticks in them. Nothing here does any I/O.

pub mod frame;
pub mod http;
pub mod packet;
pub mod tick;
