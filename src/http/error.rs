use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Response as Documented, ResponseBuilder, schema::Components,
};
use utoipa::{PartialSchema, ToSchema};

use crate::limits::Refused;
use crate::wire::{ErrorCode, Failure};

/// When to come again where too much waits, in s.
const BUSY_S: u64 = 1;

/// Why a request to `/api` failed: a status, and a body in the form of RFC 9457 («problem details»).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    /// For people: names the field, the value and what is allowed.
    detail: String,
    /// When to come again, in s.
    retry_after_s: Option<u64>,
}

/// Why a request failed (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Problem<'a> {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What the status means.
    title: &'a str,
    /// The status.
    status: u16,
    /// For people: names the field, the value and what is allowed.
    detail: &'a str,
    /// For programs, as in answers to Socket.IO events.
    code: &'static str,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// A body that is not what is allowed.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidPayload, detail)
    }

    /// Worth another attempt, after so many seconds.
    pub(super) fn again_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// For the log.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// For the log.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure.code {
            ErrorCode::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, failure.code, failure.message).again_after(BUSY_S)
            }
            _ => Self::invalid(failure.message),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let retry_after_s = refused.retry_after_s();
        Self { retry_after_s, ..Self::new(refused.status(), refused.code(), refused.message()) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, detail, retry_after_s } = self;
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &detail,
            code: code.as_str(),
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            // Asked for by HTTP; no browser has a dialogue for it.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey header=\"X-API-Key\""));
        }
        response
    }
}

/// How much of what a library says is shown, at its beginning and at its end, in characters.
const SHOWN_CHARS: usize = 80;

/// What a library says of a body, which may repeat a text of it whole: how it begins, and where that was.
pub(super) fn brief(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let count = text.chars().count();
    if count <= 2 * SHOWN_CHARS {
        return text;
    }
    let (start, end) = (text.chars().take(SHOWN_CHARS), text.chars().skip(count - SHOWN_CHARS));
    start.chain(['…']).chain(end).collect()
}

/// The media type of failures.
const MEDIA_TYPE: &str = "application/problem+json";

/// A failure in the API's document.
pub(super) fn documented(description: &str) -> RefOr<Documented> {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, body).build().into()
}

/// A failure that is worth another attempt, in the API's document.
pub(super) fn documented_wait(description: &str) -> RefOr<Documented> {
    let wait = HeaderBuilder::new().schema(Some(u64::schema())).description(Some("When to come again, in s.")).build();
    match documented(description) {
        RefOr::T(mut response) => {
            response.headers.insert(RETRY_AFTER.as_str().to_owned(), wait.into());
            response.into()
        }
        reference => reference,
    }
}

/// Puts the form of failures into the API's document.
pub(super) fn document(api: &mut OpenApi) {
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
}
