//! The body of a request: JSON, small, and there in time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::status::Refusal;

/// The longest body: prompts fit, and a connection's worth of them does not hurt.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// For the whole body: a megabyte over a bad line.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A decoded body. None at all is the default value: most verbs need no words.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// No words needed, and none taken.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes = bytes(request, BODY_BYTES_MAX, BODY_TIMEOUT).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let mut decoder = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut decoder)
            .map_err(|error| Refusal::bad_request(format!("the body does not fit: {error}")))?;
        decoder
            .end()
            .map_err(|error| Refusal::bad_request(format!("the body does not fit: {error}")))?;
        Ok(Self(value))
    }
}

/// A body of JSON as it came: at most so long, and whole in time.
pub(super) async fn bytes(
    request: Request,
    max: usize,
    timeout: Duration,
) -> Result<bytes::Bytes, Refusal> {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = read(request.into_body(), max, timeout).await?;
    // A browser's form can send text/plain to another site without asking; it cannot send this.
    let is_json = content_type
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
    if !bytes.is_empty() && !is_json {
        return Err(Refusal::unsupported_media_type("send Content-Type: application/json"));
    }
    Ok(bytes)
}

async fn read(body: Body, max: usize, timeout: Duration) -> Result<bytes::Bytes, Refusal> {
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Refusal::too_large(format!("a body has at most {max} bytes")))
        }
        Ok(Err(error)) => Err(Refusal::bad_request(format!("the body broke off: {error}"))),
        Err(_elapsed) => Err(Refusal::body_timeout(format!(
            "the body was not complete after {} s",
            timeout.as_secs()
        ))),
    }
}
