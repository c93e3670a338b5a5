//! Pulls and builds: our own requests, whose answers are a stream of lines until the image is there.
//!
//! Not bollard's, which hands on an error in mid-stream as a text without its kind, and keeps memory in 32 bits.

use std::collections::VecDeque;
use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt, stream};
use http::{Request, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::stream::{End, Exchange, Pieces, body_bytes, lines, to_first_error};
use super::{Docker, error};
use crate::container::ImageRef;
use crate::docker::error::EngineError;
use crate::docker::image::build::BuildFold;
use crate::docker::image::context::Sent;
use crate::docker::image::pull::PullFold;
use crate::docker::image::{
    BuildContext, BuildError, BuildStream, ImageBuildSpec, PullError, PullStream, RegistryAuth,
};
use crate::docker::transport::{Body, empty, query};

/// The credentials for all of a build.
const REGISTRY_CONFIG: &str = "X-Registry-Config";
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

    /// A build; see [`crate::docker::Engine::image_build`].
    pub(super) fn build(
        &self,
        spec: &ImageBuildSpec,
        context: &BuildContext,
        tag: &ImageRef,
    ) -> BuildStream {
        let mut request = Request::post(format!("/build{}", build_query(spec, context, tag)))
            .header(header::CONTENT_TYPE, "application/x-tar");
        if !spec.auths.is_empty() {
            request = request.header(REGISTRY_CONFIG, RegistryAuth::header_of(&spec.auths));
        }
        let (docker, context) = (self.clone(), context.clone());
        let open = async move {
            let Sent { pieces, failure } = context.send();
            let pieces = stream::unfold(pieces, |mut pieces| async move {
                Some((pieces.recv().await?.map(Frame::data), pieces))
            });
            let body = StreamBody::new(pieces.map_err(Into::into)).boxed_unsync();
            let lines = docker.open_progress(request.body(body), BuildError::of_refusal).await;
            match lines {
                Ok(lines) => Ok(events(lines)),
                // The engine only hears that nothing more comes; what was wrong is known on this side.
                Err(error) => {
                    let cause = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                    Err(cause.map_or(error, BuildError::Context))
                }
            }
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

/// Everything that a build is told, in 64 bits where it takes them.
fn build_query(spec: &ImageBuildSpec, context: &BuildContext, tag: &ImageRef) -> String {
    let json = |map| serde_json::json!(map).to_string();
    let (args, labels) = (json(&spec.args), json(&spec.labels));
    let memory = spec.memory_bytes.to_string();
    let mut pairs = vec![
        ("t", tag.as_str()),
        ("dockerfile", context.dockerfile()),
        ("buildargs", &args),
        ("labels", &labels),
        // Also after a failure: else its last container stays.
        ("rm", "true"),
        ("forcerm", "true"),
    ];
    if !spec.target.is_empty() {
        pairs.push(("target", &spec.target));
    }
    if spec.memory_bytes > 0 {
        pairs.extend([("memory", memory.as_str()), ("memswap", memory.as_str())]);
    }
    query(&pairs)
}

/// What the lines of a build say, and at their end the image's ID.
fn events(lines: Pieces) -> BuildStream {
    let state = Some((lines, BuildFold::default(), VecDeque::new()));
    stream::unfold(state, |state| async move {
        let (mut lines, mut fold, mut ready) = state?;
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((Ok(event), Some((lines, fold, ready))));
            }
            match lines.next().await {
                Some(Ok(line)) => match fold.fold(&line) {
                    Ok(events) => ready.extend(events),
                    Err(error) => return Some((Err(error), None)),
                },
                Some(Err(error)) => return Some((Err(error.into()), None)),
                None => return Some((fold.end(), None)),
            }
        }
    })
    .boxed()
}
