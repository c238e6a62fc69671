use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State as Extract};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Response as Documented};
use utoipa::{IntoResponses, ToSchema};

use super::api::{Body, Refusals, read_fields};
use super::error::{ApiError, documented_wait};
use super::prices::{BadBody, BadRequest};
use crate::auth::Caller;
use crate::clock::Clock;
use crate::messages::{Message, Messages, Place};
use crate::wire::{ChatMessage, MAX_ROOM_BYTES, MAX_USER_BYTES, check_event, check_name, check_text, to_client};

/// The largest body, in bytes: what may wait for a client at least.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

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
type Name = Result<Path<String>, PathRejection>;
type Answer<T> = Result<Json<T>, ApiError>;

/// An event for a user.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TellUser {
    /// A token's `sub`, or what a client claims to be where the server asks for no tokens; 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
    /// Its name, 1 to 256 bytes: none that clients keep to themselves. `message` where it is not there.
    #[schema(min_length = 1, max_length = 256)]
    event: Option<String>,
    /// What it carries, any JSON; nothing where it is not there.
    #[schema(value_type = Option<Value>)]
    data: Option<Box<RawValue>>,
}

/// An event for a room.
#[derive(Deserialize, ToSchema)]
pub(super) struct TellRoom {
    /// Its name, 1 to 256 bytes: none that clients keep to themselves. `message` where it is not there.
    #[schema(min_length = 1, max_length = 256)]
    event: Option<String>,
    /// What it carries, any JSON; nothing where it is not there.
    #[schema(value_type = Option<Value>)]
    data: Option<Box<RawValue>>,
}

/// A text for a room.
#[derive(Deserialize, ToSchema)]
pub(super) struct Said {
    /// Its name, 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    room: String,
    /// The text, in characters.
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
}

/// Whose connections are to be ended.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndUser {
    /// A token's `sub`, or what a client claims to be where the server asks for no tokens; 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
}

/// What became of a message.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivery {
    /// Always true.
    ok: bool,
    /// How many connections it was sent to, on all replicas.
    delivered: usize,
    /// False where a replica has not said in time how many it has.
    complete: bool,
}

/// Connections that were ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    /// Always true.
    ok: bool,
    /// How many there were, on all replicas.
    disconnected: usize,
    /// False where a replica has not said in time how many it had.
    complete: bool,
}

/// A user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// Always true.
    ok: bool,
    /// As it was asked for.
    user_id: String,
    /// Whether there is any connection.
    connected: bool,
    /// At most 1000 of each replica.
    connections: Vec<UserConnection>,
    /// False where there are more, or a replica has not answered in time.
    complete: bool,
}

#[derive(Serialize, ToSchema)]
struct UserConnection {
    /// The id of its replica.
    server: String,
    /// When it came, in ms since the Unix epoch.
    since: u64,
    /// `websocket` or `polling`, now.
    transport: String,
}

/// Who is in a room.
#[derive(Serialize, ToSchema)]
pub(super) struct Members {
    /// Always true.
    ok: bool,
    /// As it was asked for.
    room: String,
    /// Their names, each once; of at most 1000 connections of each replica.
    users: BTreeSet<String>,
    /// How many connections, those without a name too.
    connections: usize,
    /// False where there are more, or a replica has not answered in time.
    complete: bool,
}

/// The connections of a user, on every replica.
#[utoipa::path(get, path = "/api/users/{id}", tag = "people", operation_id = "find_user",
    params(("id" = String, Path, description = "The user", min_length = 1, max_length = 256, example = "user-123")),
    responses((status = 200, description = "Where the user is connected", body = User), BadRequest, Busy, Refusals))]
pub(super) async fn find_user(Extract(desk): Tools, user: Name) -> Answer<User> {
    let user_id = name_in("the user", user, MAX_USER_BYTES)?;
    let gathered = desk.messages.look(Place::User(user_id.clone()))?.answers().await;
    let seen = gathered.seen.into_iter();
    let connections: Vec<UserConnection> =
        seen.map(|seen| UserConnection { server: seen.server, since: seen.since, transport: seen.transport }).collect();
    let complete = gathered.complete && connections.len() == gathered.count;
    Ok(Json(User { ok: true, user_id, connected: gathered.count > 0, connections, complete }))
}

/// Who is in a room, on every replica.
#[utoipa::path(get, path = "/api/rooms/{room}/users", tag = "people", operation_id = "list_room",
    params(("room" = String, Path, description = "The room", min_length = 1, max_length = 256, example = "lobby")),
    responses((status = 200, description = "Who is there", body = Members), BadRequest, Busy, Refusals))]
pub(super) async fn list_room(Extract(desk): Tools, room: Name) -> Answer<Members> {
    let room = name_in("the room", room, MAX_ROOM_BYTES)?;
    let gathered = desk.messages.look(Place::Room(room.clone()))?.answers().await;
    let complete = gathered.complete && gathered.seen.len() == gathered.count;
    let users = gathered.seen.into_iter().filter_map(|seen| seen.user).collect();
    Ok(Json(Members { ok: true, room, users, connections: gathered.count, complete }))
}

/// Sends an event to every connection of a user.
#[utoipa::path(post, path = "/api/message", tag = "people", operation_id = "tell_user", request_body = TellUser,
    responses((status = 200, description = "It is sent, also where nobody is there", body = Delivery), BadRequest, BadBody, Busy, Refusals))]
pub(super) async fn tell_user(
    Extract(desk): Tools,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer<Delivery> {
    let form = "{\"userId\": \"...\", \"event\": \"...\", \"data\": ...}";
    let TellUser { user_id, event, data } = read_fields(&body, form)?;
    check_name("userId", &user_id, MAX_USER_BYTES)?;
    say(&desk, &caller, Place::User(user_id), event, data).await
}

/// Sends an event to everybody in a room.
#[utoipa::path(post, path = "/api/rooms/{room}/message", tag = "people", operation_id = "tell_room", request_body = TellRoom,
    params(("room" = String, Path, description = "The room", min_length = 1, max_length = 256, example = "lobby")),
    responses((status = 200, description = "It is sent, also where nobody is there", body = Delivery), BadRequest, BadBody, Busy, Refusals))]
pub(super) async fn tell_room(
    Extract(desk): Tools,
    Extension(caller): Extension<Caller>,
    room: Name,
    body: Body,
) -> Answer<Delivery> {
    let form = "{\"event\": \"...\", \"data\": ...}";
    let TellRoom { event, data } = read_fields(&body, form)?;
    let room = name_in("the room", room, MAX_ROOM_BYTES)?;
    say(&desk, &caller, Place::Room(room), event, data).await
}

/// Says something in a room, as a client does by `chat`.
#[utoipa::path(post, path = "/back/message", tag = "people", operation_id = "say", request_body = Said,
    responses((status = 200, description = "It is said, also where nobody is there", body = Delivery), BadRequest, BadBody, Busy, Refusals))]
pub(super) async fn chat(Extract(desk): Tools, Extension(caller): Extension<Caller>, body: Body) -> Answer<Delivery> {
    let form = "{\"room\": \"...\", \"message\": \"...\"}";
    let Said { room, message } = read_fields(&body, form)?;
    check_name("room", &room, MAX_ROOM_BYTES)?;
    check_text("message", &message)?;
    let (server, ts) = (desk.server_id.as_str(), desk.clock.millis());
    let said = ChatMessage { room: &room, text: &message, from: None, server, ts }.encode();
    say(&desk, &caller, Place::Room(room), Some(to_client::CHAT_MESSAGE.to_owned()), Some(said)).await
}

/// Ends the connections of a user, on every replica.
///
/// With a Socket.IO disconnect: JS clients do not come back by themselves.
#[utoipa::path(post, path = "/api/disconnect", tag = "people", operation_id = "end_user", request_body = EndUser,
    responses((status = 200, description = "They are ended, if there were any", body = Ended), BadRequest, BadBody, Busy, Refusals))]
pub(super) async fn end_user(
    Extract(desk): Tools,
    Extension(Caller(caller)): Extension<Caller>,
    body: Body,
) -> Answer<Ended> {
    let EndUser { user_id } = read_fields(&body, "{\"userId\": \"...\"}")?;
    check_name("userId", &user_id, MAX_USER_BYTES)?;
    let gathered = desk.messages.end(Place::User(user_id.clone()))?.answers().await;
    let (disconnected, complete) = (gathered.count, gathered.complete);
    tracing::info!(caller, user = user_id, disconnected, complete, "user disconnected");
    Ok(Json(Ended { ok: true, disconnected, complete }))
}

/// Sends an event and answers how many connections it was sent to, on all replicas.
async fn say(
    desk: &Desk,
    Caller(caller): &Caller,
    to: Place,
    event: Option<String>,
    data: Option<Box<RawValue>>,
) -> Answer<Delivery> {
    let event = event.unwrap_or_else(|| to_client::MESSAGE.to_owned());
    check_event("event", &event)?;
    tracing::debug!(caller, event, "message of a back end");
    let message = Message { to: to.into(), event, args: data.into_iter().collect() };
    let gathered = desk.messages.say_and_count(message)?.answers().await;
    Ok(Json(Delivery { ok: true, delivered: gathered.count, complete: gathered.complete }))
}

/// A name that stands in the path, of at most so many bytes.
fn name_in(what: &str, name: Name, most: usize) -> Result<String, ApiError> {
    let Path(name) = name.map_err(|error| ApiError::invalid(format!("{what}: {}", error.body_text())))?;
    check_name(what, &name, most)?;
    Ok(name)
}

/// Too much waits to be said.
struct Busy;

impl IntoResponses for Busy {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([("503".into(), documented_wait("The server is too busy."))])
    }
}
