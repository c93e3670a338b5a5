//! What every request over TCP must pass before a route sees it: the Host it names, and its bearer's role.
//!
//! A browser can be led to a loopback address by a name that changes its meaning (DNS rebinding); such a request names a
//! host that is not ours. There are no CORS headers anywhere, so a page may not read what it has asked for either.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use hyper::body::{Frame, SizeHint};

use super::auth::{Tokens, required_role};
use super::connections::{Caller, Connection, RequestPermit};
use super::routes::Api;
use super::status::Refusal;

/// The protections of one listener.
#[derive(Debug, Clone)]
pub(super) enum Guard {
    /// The control socket: its directory has judged already.
    Socket,
    /// A TCP listener.
    Tcp {
        /// Who may do what.
        tokens: Tokens,
        /// Whose names count.
        hosts: Hosts,
        /// Do metrics need a token?
        metrics_auth: bool,
    },
}

/// The names by which a listener lets itself be called.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    address: IpAddr,
    names: BTreeSet<String>,
}

impl Hosts {
    pub(super) fn new(address: IpAddr, names: &[String]) -> Self {
        let lower = names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self { address, names: lower.chain(["localhost".to_owned()]).collect() }
    }

    fn allow(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            // A listener on every address may be called by any; no name is behind an address that could change.
            Ok(ip) => ip.is_loopback() || ip == self.address || self.address.is_unspecified(),
            Err(_name) => self.names.contains(&host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::bad_request("send exactly one Host header"));
        };
        let named = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        let absolute = uri.authority();
        let ours = named.as_ref().is_some_and(|it| self.allow(it.host()))
            && absolute.is_none_or(|it| self.allow(it.host()));
        if ours {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "the Host header names a host that this listener does not go by: use its address, \
             or start the operator with --allowed-host NAME",
        ))
    }
}

/// The middleware.
pub(super) async fn check(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = admit(api.guard(), &request).and_then(|caller| {
        let permit = (caller != Caller::Anyone)
            .then(|| connection.begin_request(caller.clone()))
            .transpose()?;
        Ok((caller, permit))
    });
    match admitted {
        Ok((caller, Some(permit))) => {
            // Pipelined requests take turns with those of other connections.
            tokio::task::yield_now().await;
            request.extensions_mut().insert(caller);
            next.run(request).await.map(|body| Body::new(Permitted { body, _permit: permit }))
        }
        Ok((caller, None)) => {
            request.extensions_mut().insert(caller);
            last_of_connection(next.run(request).await)
        }
        Err(refusal) => {
            if is_wrong_token(api.guard(), &request) {
                let now = api.faces().clock.now().mono;
                api.failed_tokens().failed(connection.peer(), now).await;
            }
            last_of_connection(refusal.into_response())
        }
    }
}

fn is_wrong_token(guard: &Guard, request: &Request) -> bool {
    let Guard::Tcp { tokens, .. } = guard else { return false };
    bearer_token(request.headers()).is_some_and(|token| tokens.bearer(token).is_none())
}

/// Without a token a connection is good for one request: pipelined ones would hold it, and scrapes need no more.
fn last_of_connection(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A response's body, and the place of its request until hyper has taken all of it.
struct Permitted {
    body: Body,
    _permit: RequestPermit,
}

impl hyper::body::Body for Permitted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn admit(guard: &Guard, request: &Request) -> Result<Caller, Refusal> {
    let Guard::Tcp { tokens, hosts, metrics_auth } = guard else {
        return Ok(Caller::Socket);
    };
    hosts.check(request.headers(), request.uri())?;
    let Some(needed) = required_role(request.method(), request.uri().path(), *metrics_auth) else {
        return Ok(Caller::Anyone);
    };
    let Some(token) = bearer_token(request.headers()) else {
        return Err(Refusal::unauthorized(if tokens.is_empty() {
            "over TCP only metrics and health are open: use the control socket, \
             or start the operator with --token-file"
        } else {
            "send Authorization: Bearer TOKEN"
        }));
    };
    let Some((name, role)) = tokens.bearer(token) else {
        return Err(Refusal::unauthorized("the token is not in the token file"));
    };
    if role < needed {
        return Err(Refusal::forbidden(format!("{name} is a {role}; this needs a {needed}")));
    }
    Ok(Caller::Token(name.to_owned()))
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_hosts_of_ours() {
        let hosts = Hosts::new("10.0.0.5".parse().unwrap(), &["Chanop.Example".to_owned()]);
        let check = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            hosts.check(&headers, &Uri::from_static("/metrics")).is_ok()
        };
        for host in [
            "localhost",
            "localhost:9841",
            "LOCALHOST.",
            "127.0.0.1:1",
            "[::1]:9841",
            "10.0.0.5",
            "chanop.example:80",
        ] {
            assert!(check(host), "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.6",
            "localhost.evil.example",
            "a@evil.example",
            "127.0.0.1.evil",
            "",
        ] {
            assert!(!check(host), "{host}");
        }
    }

    #[test]
    fn a_request_without_a_host_or_with_two_is_refused() {
        let hosts = Hosts::new("127.0.0.1".parse().unwrap(), &[]);
        let mut headers = HeaderMap::new();
        assert!(hosts.check(&headers, &Uri::from_static("/")).is_err());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(hosts.check(&headers, &Uri::from_static("/")).is_ok());
        assert!(hosts.check(&headers, &Uri::from_static("http://evil.example/")).is_err());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(hosts.check(&headers, &Uri::from_static("/")).is_err());
    }
}
