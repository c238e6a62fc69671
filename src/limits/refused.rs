use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::wire::{ErrorCode, short};

/// Why somebody is not let in, before there is a session: an HTTP status, and the code in a JSON body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    status: StatusCode,
    code: ErrorCode,
    /// For people.
    message: String,
    /// When to come again.
    wait: Option<Duration>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    message: &'a str,
}

impl Refused {
    /// The server cannot now.
    pub(super) fn unavailable(message: &str, wait: Duration) -> Self {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable);
        Self { status, code, message: message.into(), wait: Some(wait) }
    }

    /// All together ask too much.
    pub(super) fn busy(message: String, wait: Duration) -> Self {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::RateLimited);
        Self { status, code, message, wait: Some(wait) }
    }

    /// This one asks too much.
    pub(super) fn too_many(message: String, wait: Duration) -> Self {
        let (status, code) = (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited);
        Self { status, code, message, wait: Some(wait) }
    }

    /// A page of this origin may not.
    pub(super) fn origin(origin: &[u8]) -> Self {
        let origin = String::from_utf8_lossy(origin);
        let message = format!("Origin is \"{}\": must be one that this server allows (CORS_ORIGIN)", short(&origin));
        Self { status: StatusCode::FORBIDDEN, code: ErrorCode::Forbidden, message, wait: None }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// When it is worth to come again, in whole seconds; none where it never is.
    pub fn retry_after_s(&self) -> Option<u64> {
        // Not before it is worth it.
        self.wait.map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Body { code: self.code.as_str(), message: &self.message };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
