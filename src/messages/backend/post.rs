use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::value::RawValue;

use super::{Answer, Job, Settings, give_up, silent};
use crate::auth::Signer;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::wire::{ErrorCode, Failure, short};

/// The largest answer that is read, in bytes: as much as may wait for a client at least.
const MAX_ANSWER_BYTES: usize = 60_000;

/// The pause before the first repeat, and the longest, in ms; it doubles. Each is shortened by up to a half, at random,
/// so that what failed together does not come back together.
const PAUSES_MS: (u64, u64) = (200, 10_000);

/// Posts to the back end.
#[derive(Debug)]
pub(super) struct Poster {
    client: Client,
    settings: Arc<Settings>,
    signer: Option<Signer>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// How one attempt ended.
enum Attempt {
    /// With an answer; none where there was no body.
    Answered(Option<Box<RawValue>>),
    /// The back end does not want it: asking again would change nothing.
    Refused(Failure),
    /// It may go better the next time.
    Again(String),
    /// It was taken, but what came back is of no use.
    Useless(String),
}

impl Poster {
    pub(super) fn new(settings: &Arc<Settings>, metrics: Arc<Metrics>, clock: Clock) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("tickcast/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            // What is signed is for this address, and goes nowhere else.
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let signer = settings.secret.as_ref().map(Signer::new);
        Ok(Self { client, settings: settings.clone(), signer, metrics, clock })
    }

    /// Posts one, again and again if need be, and passes on the answer.
    pub(super) async fn deliver(&self, mut job: Job) {
        let reply = job.reply.take();
        let answer = self.answer(&job).await;
        if let Some(reply) = reply {
            // The client may have gone.
            reply.send(answer).ok();
        }
    }

    async fn answer(&self, job: &Job) -> Answer {
        let mut tried = 0;
        loop {
            let problem = match self.attempt(job).await {
                Attempt::Answered(answer) => {
                    self.metrics.backend_posted.inc();
                    return Ok(answer.unwrap_or_else(done));
                }
                Attempt::Refused(failure) => {
                    self.metrics.backend_posted.inc();
                    return Err(failure);
                }
                Attempt::Useless(problem) => {
                    give_up(&self.metrics, &job.id, &job.event, &problem);
                    let message = format!("the back end's answer {problem}");
                    return Err(Failure::new(ErrorCode::Unavailable, message));
                }
                Attempt::Again(problem) => problem,
            };
            if tried >= self.settings.retries {
                give_up(&self.metrics, &job.id, &job.event, &problem);
                return Err(silent());
            }
            self.metrics.backend_retries.inc();
            tracing::debug!(id = job.id, problem, "the back end failed: trying again");
            tokio::time::sleep(pause(tried, rand::random_range(0.5..=1.0))).await;
            tried += 1;
        }
    }

    async fn attempt(&self, job: &Job) -> Attempt {
        let request = self.client.post(self.settings.url.reveal()).headers(self.headers(job)).body(job.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Again(in_words(&error)),
        };
        let status = response.status();
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Attempt::Again(format!("answers {status}")),
            _ if status.is_server_error() => Attempt::Again(format!("answers {status}")),
            _ if status.is_client_error() => Attempt::Refused(refused(status, &job.event)),
            _ if status.is_success() => read(response).await,
            _ => Attempt::Useless(format!("is {status}: redirects are not followed")),
        }
    }

    fn headers(&self, job: &Job) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut add = |name: &'static str, value: &str| {
            // Digits and letters of ours: always a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        add("x-request-id", &job.id);
        let now_ms = self.clock.millis();
        add("x-tickcast-timestamp", &now_ms.to_string());
        if let Some(signer) = &self.signer {
            add("x-tickcast-signature", &format!("sha256={}", signer.sign(now_ms, &job.body)));
        }
        headers
    }
}

/// What a client gets where the back end answered without a body.
fn done() -> Box<RawValue> {
    crate::wire::Answer::encode(Ok(crate::wire::Done {}))
}

/// The pause before the repeat of this number, from 0.
fn pause(tried: u32, share: f64) -> Duration {
    let (first, longest) = PAUSES_MS;
    let doubled = first.saturating_mul(1 << tried.min(16)).min(longest);
    Duration::from_millis(doubled).mul_f64(share)
}

/// Reads the answer, no more than is allowed, whatever the back end says of its length.
async fn read(mut response: Response) -> Attempt {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => {
                return Attempt::Useless(format!("is too large: at most {MAX_ANSWER_BYTES} bytes are allowed"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            // Cut short, or too slow. It may have been carried out: the id tells a repeat.
            Err(error) => return Attempt::Again(in_words(&error)),
        }
    }
    if body.is_empty() {
        return Attempt::Answered(None);
    }
    match serde_json::from_slice(&body) {
        Ok(answer) => Attempt::Answered(Some(answer)),
        Err(_) => Attempt::Useless("is not JSON".into()),
    }
}

/// What a client is told whose event the back end does not want.
fn refused(status: StatusCode, event: &str) -> Failure {
    let (code, status, event) = (status, status.as_u16(), short(event));
    match code {
        StatusCode::NOT_FOUND => Failure::new(
            ErrorCode::UnknownEvent,
            format!("there is no event \"{event}\": the back end does not know it ({status})"),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::new(ErrorCode::Forbidden, format!("the back end does not allow \"{event}\" ({status})"))
        }
        _ => Failure::invalid(format!("the back end refuses \"{event}\" ({status})")),
    }
}

/// An error with its causes, and without the address, in which there may be a password.
fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "does not answer in time".into();
    }
    let mut words = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words.push(inner.to_string());
        cause = inner.source();
    }
    format!("cannot be reached: {}", words.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let ms: Vec<_> = (0..8).map(|tried| pause(tried, 1.0).as_millis()).collect();
        assert_eq!(ms, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause(u32::MAX, 0.5).as_millis(), 5000);
    }

    #[test]
    fn a_refusal_has_a_code() {
        for (status, code) in [(404, "unknown_event"), (403, "forbidden"), (422, "invalid_payload")] {
            let failure = refused(StatusCode::from_u16(status).unwrap(), "order\u{1b}");
            assert_eq!(failure.code.as_str(), code);
            assert!(failure.message.contains("order\\u{1b}"), "{}", failure.message);
        }
    }
}
