//! Pulls: our own requests, whose answers are a stream of lines until the image is there.
//!
//! Not bollard's, which hands on an error in mid-stream as a text without its kind, and keeps memory in 32 bits.

use bytes::Bytes;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt, stream};
use http::{Request, header};

use super::stream::{End, Exchange, Pieces, body_bytes, lines, to_first_error};
use super::{Docker, error};
use crate::container::ImageRef;
use crate::docker::error::EngineError;
use crate::docker::image::pull::PullFold;
use crate::docker::image::{PullError, PullStream, RegistryAuth};
use crate::docker::transport::{Body, empty, query};

/// The credentials for one registry.
const REGISTRY_AUTH: &str = "X-Registry-Auth";

impl Docker {
    /// A pull; see [`crate::docker::Engine::image_pull`].
    pub(super) fn pull(&self, reference: &ImageRef, auth: Option<&RegistryAuth>) -> PullStream {
        let Some(normal) = reference.normal() else {
            let text = format!("{reference} is an image's ID, which no registry knows");
            return stream::iter([Err(PullError::NotFound(text))]).boxed();
        };
        // With the tag said aloud: without one, an engine would pull every tag there is.
        let path = format!("/images/create{}", query(&[("fromImage", &normal.to_string())]));
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(auth) = auth {
            request = request.header(REGISTRY_AUTH, auth.header());
        }
        let (docker, request) = (self.clone(), request.body(empty()));
        let open = async move {
            let mut fold = PullFold::default();
            let lines = docker.open_progress(request, PullError::of_refusal).await?;
            let folded = move |line: Bytes| std::future::ready(fold.fold(&line));
            Ok(lines.map_err(PullError::Engine).and_then(folded))
        };
        to_first_error(open.try_flatten_stream())
    }

    /// The lines of an answer that is progress.
    async fn open_progress<E: From<EngineError>>(
        &self,
        request: Result<Request<Body>, http::Error>,
        refused: impl FnOnce(u16, &str) -> E,
    ) -> Result<Pieces, E> {
        let permit = self.transport.long().await.map_err(error::of_transport)?;
        match self.exchange(request).await? {
            Exchange::Refused { status, message } => Err(refused(status, &message)),
            Exchange::Answered(response) => {
                let lines = lines(body_bytes(response.into_body(), permit), End::IsTheEnd);
                let said = |line: &Bytes| !line.iter().all(u8::is_ascii_whitespace);
                Ok(lines.try_filter(move |line| std::future::ready(said(line))).boxed())
            }
        }
    }
}
