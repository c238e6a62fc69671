use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Request};
use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::api::read_fields;
use super::error::ApiError;
use super::messages::{EndUser, Said, TellRoom, TellUser};
use super::{MAX_ID_BYTES, REQUEST_ID, keep_plain_id, prices};
use crate::fuzzing::fuzz;
use crate::publish::MAX_UPDATES;

/// How long a message for people may get, in characters, whatever was sent.
const DETAIL_CHARS: usize = 500;

fn told(error: Option<ApiError>) {
    if let Some(error) = error {
        assert!((1..=DETAIL_CHARS).contains(&error.detail().chars().count()), "{}", error.detail());
        assert!(error.status().is_client_error());
    }
}

#[test]
fn bodies() {
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
    fuzz("bodies", |bytes| {
        let prices = prices::read(&json, bytes);
        assert!(prices.as_ref().map_or(true, |prices| (1..=MAX_UPDATES).contains(&prices.len())));
        told(prices.err());
        let kind = HeaderValue::from_bytes(bytes).map(|kind| HeaderMap::from_iter([(CONTENT_TYPE, kind)]));
        told(kind.ok().and_then(|kind| prices::read(&kind, b"{}").err()));

        let Ok(body) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
        let body = Ok(Json(body));
        told(read_fields::<TellUser>(&body, "").err());
        told(read_fields::<TellRoom>(&body, "").err());
        told(read_fields::<Said>(&body, "").err());
        told(read_fields::<EndUser>(&body, "").err());
    });
}

#[test]
fn headers() {
    fuzz("headers", |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        // The name of a request is its caller's and nobody else's.
        let keys = ["desk", "d", ""].map(|caller| prices::offer_key(caller, &value, b"{}"));
        let [desk, other, nobody] = keys.map(|key| key.map_err(|error| told(Some(error))).ok().map(|key| key.name));
        assert!(desk.is_none() || (desk != other && other != nobody && desk != nobody));
        assert_eq!(desk.is_some(), (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic));

        // What stands in every line of the log is plain, and short.
        let request = Request::builder().header(REQUEST_ID, value).body(()).unwrap();
        let request = keep_plain_id(request).now_or_never().unwrap();
        if let Some(id) = request.headers().get(REQUEST_ID) {
            assert!((1..=MAX_ID_BYTES).contains(&id.len()));
            assert!(id.as_bytes().iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\<>{}".contains(byte)));
        }
    });
}
