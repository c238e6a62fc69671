use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, State as Extract};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::api::unreadable;
use super::error::ApiError;
use super::guard::guarded;
use crate::auth::{Auth, Caller, Scope};
use crate::clock::Clock;
use crate::messages::{Message, Messages, Place};
use crate::wire::{
    ChatMessage, ErrorCode, Failure, MAX_ROOM_BYTES, MAX_USER_BYTES, check_event, check_name, check_text, to_client,
};

/// The largest body, in bytes: what may wait for a client at least.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What messages of back ends are sent by.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Where they are handed in.
    pub messages: Messages,
    /// This replica's id.
    pub server_id: String,
    /// When they are sent.
    pub clock: Clock,
}

type Tools = Extract<Desk>;
type Body<T> = Result<Json<T>, JsonRejection>;
type Answer = Result<Json<Value>, ApiError>;

/// What back ends say to users and rooms, and ask about them, below the base path: for those who may.
pub(super) fn router(auth: &Arc<Auth>, desk: Desk) -> Router {
    let routes = Router::new()
        .route("/api/users/{id}", get(find_user))
        .route("/api/message", post(tell_user))
        .route("/api/rooms/{room}/users", get(list_room))
        .route("/api/rooms/{room}/message", post(tell_room))
        .route("/back/message", post(chat))
        .with_state(desk);
    guarded(routes, auth.clone(), Scope::Message).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TellUser {
    user_id: String,
    event: Option<String>,
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct TellRoom {
    event: Option<String>,
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Chat {
    room: String,
    message: String,
}

async fn find_user(Extract(desk): Tools, Path(user): Path<String>) -> Answer {
    check_name("the user", &user, MAX_USER_BYTES).map_err(problem)?;
    let gathered = desk.messages.look(Place::User(user.clone())).map_err(problem)?.answers().await;
    let connections: Vec<Value> = gathered
        .seen
        .iter()
        .map(|seen| json!({ "server": seen.server, "since": seen.since, "transport": seen.transport }))
        .collect();
    Ok(Json(json!({
        "ok": true,
        "userId": user,
        "connected": gathered.count > 0,
        "connections": connections,
        "complete": gathered.complete && connections.len() == gathered.count,
    })))
}

async fn list_room(Extract(desk): Tools, Path(room): Path<String>) -> Answer {
    check_name("the room", &room, MAX_ROOM_BYTES).map_err(problem)?;
    let gathered = desk.messages.look(Place::Room(room.clone())).map_err(problem)?.answers().await;
    let complete = gathered.complete && gathered.seen.len() == gathered.count;
    let users: std::collections::BTreeSet<String> = gathered.seen.into_iter().filter_map(|seen| seen.user).collect();
    Ok(Json(json!({
        "ok": true,
        "room": room,
        "users": users,
        "connections": gathered.count,
        "complete": complete,
    })))
}

async fn tell_user(Extract(desk): Tools, Extension(caller): Extension<Caller>, body: Body<TellUser>) -> Answer {
    let form = "{\"userId\": \"...\", \"event\": \"...\", \"data\": ...}";
    let Json(TellUser { user_id, event, data }) = body.map_err(|error| unreadable(&error, form))?;
    check_name("userId", &user_id, MAX_USER_BYTES).map_err(problem)?;
    say(&desk, &caller, Place::User(user_id), event, data).await
}

async fn tell_room(
    Extract(desk): Tools,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
    body: Body<TellRoom>,
) -> Answer {
    let form = "{\"event\": \"...\", \"data\": ...}";
    let Json(TellRoom { event, data }) = body.map_err(|error| unreadable(&error, form))?;
    check_name("the room", &room, MAX_ROOM_BYTES).map_err(problem)?;
    say(&desk, &caller, Place::Room(room), event, data).await
}

/// Says something in a room as a client does by `chat`.
async fn chat(Extract(desk): Tools, Extension(caller): Extension<Caller>, body: Body<Chat>) -> Answer {
    let form = "{\"room\": \"...\", \"message\": \"...\"}";
    let Json(Chat { room, message }) = body.map_err(|error| unreadable(&error, form))?;
    check_name("room", &room, MAX_ROOM_BYTES).map_err(problem)?;
    check_text("message", &message).map_err(problem)?;
    let (server, ts) = (desk.server_id.as_str(), desk.clock.millis());
    let said = ChatMessage { room: &room, text: &message, from: None, server, ts }.encode();
    say(&desk, &caller, Place::Room(room), Some(to_client::CHAT_MESSAGE.to_owned()), Some(said)).await
}

/// Sends an event and answers how many connections it was sent to, on all replicas.
async fn say(
    desk: &Desk,
    Caller(caller): &Caller,
    to: Place,
    event: Option<String>,
    data: Option<Box<RawValue>>,
) -> Answer {
    let event = event.unwrap_or_else(|| to_client::MESSAGE.to_owned());
    check_event("event", &event).map_err(problem)?;
    tracing::debug!(caller, event, "message of a back end");
    let message = Message { to: to.into(), event, args: data.into_iter().collect() };
    let gathered = desk.messages.say_and_count(message).map_err(problem)?.answers().await;
    Ok(Json(json!({ "ok": true, "delivered": gathered.count, "complete": gathered.complete })))
}

fn problem(failure: Failure) -> ApiError {
    match failure.code {
        ErrorCode::Unavailable => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, failure.code, failure.message),
        _ => ApiError::invalid(failure.message),
    }
}
