//! The connections of one listener: how many there are, and which one is closed to make room.
//!
//! A connection is *working* from the moment a request of an authenticated caller is admitted until the last byte of its
//! response was produced. Otherwise it is *waiting*: before its first request, between two requests, and while it requests
//! something that is open to all. The two kinds have places of their own, so authenticated work never takes the place of a
//! scrape or a health check.
//!
//! A listener cannot know at accept time what a peer will ask for. So a new connection is always accepted, and when there
//! are too many waiting ones, one of them is closed: the oldest one of the peer that has most. A peer that opens connections
//! and lets them hang closes its own, and a scrape, which takes milliseconds, is among the youngest.
//!
//! *Peers.* Over TCP a peer is an IPv4 address or an IPv6 /64 network, which one host usually has to itself. On the control
//! socket all callers are one peer and all are authenticated: its directory has admitted them already.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::server::Limits;
use super::status::Refusal;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// The control socket.
    Local,
    /// Over TCP.
    Remote(IpAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("socket"),
            Self::Remote(address) => address.fmt(f),
        }
    }
}

impl Peer {
    /// The address, or its network where one host has a whole network.
    pub(super) fn remote(address: IpAddr) -> Self {
        Self::Remote(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
            address => address,
        })
    }
}

/// The registry of a listener's connections.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Numbers connections, requests, and the order in which connections began to wait.
    last_number: u64,
    open: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    waiting_since: u64,
    request: Option<Working>,
    streams: bool,
    was_authenticated: bool,
    close: CancellationToken,
}

/// The authenticated request that a connection works on.
#[derive(Debug)]
struct Working {
    number: u64,
    caller: Caller,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody without a token, who requests something that is open to all.
    Anyone,
    /// Somebody at the control socket.
    Socket,
    /// The bearer of the token with this name.
    Token(String),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::Socket => "socket",
            Self::Token(name) => name,
        })
    }
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Registry { limits, state: Mutex::default() }))
    }

    /// Registers a new connection. Closes waiting ones until there is room for it.
    pub(super) fn open(&self, peer: Peer) -> OpenConnection {
        let close = CancellationToken::new();
        let mut state = self.0.lock();
        let id = state.next_number();
        let entry = Entry {
            peer,
            waiting_since: id,
            request: None,
            streams: false,
            was_authenticated: false,
            close: close.clone(),
        };
        state.open.insert(id, entry);
        state.make_room(&self.0.limits);
        drop(state);
        OpenConnection { connection: Connection { registry: Arc::clone(&self.0), id, peer }, close }
    }

    /// Closes the oldest waiting connection, when the process has no file descriptor left.
    pub(super) fn close_one(&self) {
        let mut state = self.0.lock();
        if let Some(id) = state.victim(None) {
            state.close(id);
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is awaited and nothing can fail while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    fn make_room(&mut self, limits: &Limits) {
        loop {
            let waiting = self.waiting_by_peer();
            let crowded =
                waiting.iter().find(|(_, count)| **count > limits.waiting_per_peer).map(|it| *it.0);
            let total: usize = waiting.values().sum();
            if crowded.is_none() && total <= limits.waiting {
                return;
            }
            let Some(id) = self.victim(crowded) else { return };
            self.close(id);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(entry) = self.open.remove(&id) {
            entry.close.cancel();
        }
    }

    fn waiting_by_peer(&self) -> BTreeMap<Peer, usize> {
        let mut waiting = BTreeMap::new();
        for entry in self.open.values().filter(|entry| entry.request.is_none()) {
            *waiting.entry(entry.peer).or_default() += 1;
        }
        waiting
    }

    /// The oldest waiting connection of `peer`, or of the peer that has most of them.
    fn victim(&self, peer: Option<Peer>) -> Option<u64> {
        let most = || self.waiting_by_peer().into_iter().max_by_key(|(_, count)| *count);
        let peer = peer.or_else(|| most().map(|(peer, _)| peer))?;
        let waiting = self.open.iter().filter(|(_, it)| it.peer == peer && it.request.is_none());
        waiting.min_by_key(|(_, entry)| entry.waiting_since).map(|(id, _)| *id)
    }
}

/// A connection in the registry; it leaves it when dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    connection: Connection,
    close: CancellationToken,
}

impl OpenConnection {
    /// For the requests on this connection.
    pub(super) fn handle(&self) -> Connection {
        self.connection.clone()
    }

    pub(super) const fn peer(&self) -> Peer {
        self.connection.peer
    }

    /// Until it must be closed to make room.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Has it ever had a request of an authenticated caller?
    pub(super) fn was_authenticated(&self) -> bool {
        self.connection.look(|entry| entry.was_authenticated)
    }

    /// Is a stream being sent on it?
    pub(super) fn streams(&self) -> bool {
        self.connection.look(|entry| entry.streams)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connection.registry.lock().open.remove(&self.connection.id);
    }
}

/// The connection of a request: an extension of it.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    registry: Arc<Registry>,
    id: u64,
    peer: Peer,
}

impl Connection {
    fn look(&self, question: impl FnOnce(&Entry) -> bool) -> bool {
        self.registry.lock().open.get(&self.id).is_some_and(question)
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    /// Makes the connection a working one until the answer is dropped.
    pub(super) fn begin_request(&self, caller: Caller) -> Result<RequestPermit, Refusal> {
        let limits = &self.registry.limits;
        let mut state = self.registry.lock();
        let others = || {
            let others = state.open.iter().filter(|(id, _)| **id != self.id);
            others.filter_map(|(_, entry)| entry.request.as_ref())
        };
        let of_caller = others().filter(|it| it.caller == caller).count();
        let is_own_fault =
            matches!(caller, Caller::Token(_)) && of_caller >= limits.requests_per_token;
        if is_own_fault || others().count() >= limits.requests {
            return Err(Refusal::too_many(if is_own_fault {
                "this token has too many requests open; try again later"
            } else {
                "too many requests are open; try again later"
            }));
        }
        let number = state.next_number();
        // One that is missing is about to be closed.
        if let Some(entry) = state.open.get_mut(&self.id) {
            entry.request = Some(Working { number, caller });
            entry.was_authenticated = true;
        }
        Ok(RequestPermit { connection: self.clone(), number })
    }

    /// A place for a stream, as long as the answer is kept.
    pub(super) fn begin_stream(&self) -> Result<StreamPermit, Refusal> {
        let limits = &self.registry.limits;
        let mut state = self.registry.lock();
        let own = state.open.get(&self.id).and_then(|entry| entry.request.as_ref());
        let own = own.map(|working| working.caller.clone());
        let others = || {
            let others = state.open.iter().filter(|(id, entry)| **id != self.id && entry.streams);
            others.filter_map(|(_, entry)| entry.request.as_ref())
        };
        let is_own_fault = matches!(own, Some(Caller::Token(_)))
            && others().filter(|it| Some(&it.caller) == own.as_ref()).count()
                >= limits.streams_per_token;
        if is_own_fault || others().count() >= limits.streams {
            return Err(Refusal::too_many(if is_own_fault {
                "this token has too many streams open; try again later"
            } else {
                "too many streams are open; try again later"
            }));
        }
        if let Some(entry) = state.open.get_mut(&self.id) {
            entry.streams = true;
        }
        Ok(StreamPermit { connection: self.clone() })
    }
}

/// An authenticated request's place.
#[derive(Debug)]
pub(super) struct RequestPermit {
    connection: Connection,
    number: u64,
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let Connection { registry, id, .. } = &self.connection;
        let mut state = registry.lock();
        let now = state.next_number();
        let Some(entry) = state.open.get_mut(id) else { return };
        // The connection's next request may have begun already.
        if entry.request.as_ref().is_some_and(|it| it.number == self.number) {
            entry.request = None;
            entry.waiting_since = now;
            state.make_room(&registry.limits);
        }
    }
}

/// A stream's place.
#[derive(Debug)]
pub(super) struct StreamPermit {
    connection: Connection,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let Connection { registry, id, .. } = &self.connection;
        if let Some(entry) = registry.lock().open.get_mut(id) {
            entry.streams = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: Limits) -> Connections {
        Connections::new(limits)
    }

    fn peer(last: u8) -> Peer {
        Peer::remote(IpAddr::from([10, 0, 0, last]))
    }

    fn is_closed(connection: &OpenConnection) -> bool {
        connection.close.is_cancelled()
    }

    fn token(name: &str) -> Caller {
        Caller::Token(name.to_owned())
    }

    #[test]
    fn the_oldest_waiting_connection_makes_room() {
        let open = connections(Limits { waiting: 2, ..Limits::default() });
        let all = [(); 4].map(|()| open.open(peer(1)));
        assert_eq!(all.each_ref().map(is_closed), [true, true, false, false]);
    }

    #[test]
    fn a_peer_with_many_connections_closes_its_own() {
        let open = connections(Limits { waiting: 4, ..Limits::default() });
        let scraper = open.open(peer(1));
        let hostile = [(); 9].map(|()| open.open(peer(2)));
        assert!(!is_closed(&scraper));
        assert_eq!(hostile.iter().filter(|it| is_closed(it)).count(), 6);
    }

    #[test]
    fn a_peer_has_fewer_places_than_there_are() {
        let open = connections(Limits { waiting: 9, waiting_per_peer: 2, ..Limits::default() });
        let all = [(); 3].map(|()| open.open(peer(1)));
        assert_eq!(all.each_ref().map(is_closed), [true, false, false]);
    }

    #[test]
    fn a_working_connection_is_not_closed() {
        let open = connections(Limits { waiting: 1, ..Limits::default() });
        let working = open.open(peer(1));
        let permit = working.handle().begin_request(token("ci")).unwrap();
        let waiting = [(); 3].map(|()| open.open(peer(1)));
        assert!(!is_closed(&working));
        assert_eq!(waiting.each_ref().map(is_closed), [true, true, false]);
        // It has ended its work later than the other began to wait.
        drop(permit);
        assert!(is_closed(&waiting[2]) && !is_closed(&working));
    }

    #[test]
    fn one_token_leaves_requests_for_others() {
        let limits = Limits { requests: 3, requests_per_token: 2, ..Limits::default() };
        let open = connections(limits);
        let all = [(); 4].map(|()| open.open(peer(1)));
        let [first, second, third, fourth] = all.each_ref().map(OpenConnection::handle);
        let _first = first.begin_request(token("a")).unwrap();
        let permit = second.begin_request(token("a")).unwrap();
        assert!(third.begin_request(token("a")).is_err());
        let _third = third.begin_request(token("b")).unwrap();
        assert!(fourth.begin_request(token("b")).is_err());
        drop(permit);
        assert!(fourth.begin_request(token("b")).is_ok());
    }

    #[test]
    fn one_token_leaves_streams_for_others() {
        let limits = Limits { streams: 3, streams_per_token: 2, ..Limits::default() };
        let open = connections(limits);
        let all = [(); 4].map(|()| open.open(peer(1)));
        let requests = all.each_ref().map(OpenConnection::handle);
        let requests: Vec<_> = requests
            .iter()
            .zip(["a", "a", "a", "b"])
            .map(|(connection, name)| connection.begin_request(token(name)).unwrap())
            .collect();
        let mut streams = all.each_ref().map(|it| it.handle().begin_stream());
        assert_eq!(streams.each_ref().map(Result::is_ok), [true, true, false, true]);
        // The stream of another token ends, and its place does not go to the one with too many.
        streams[3] = all[2].handle().begin_stream();
        assert!(streams[3].is_err());
        drop(requests);
    }

    #[test]
    fn the_next_request_keeps_its_place_when_the_last_ends() {
        let open = connections(Limits { waiting: 1, ..Limits::default() });
        let working = open.open(peer(1));
        let last = working.handle().begin_request(token("a")).unwrap();
        let _next = working.handle().begin_request(token("a")).unwrap();
        drop(last);
        let _others = [(); 2].map(|()| open.open(peer(1)));
        assert!(!is_closed(&working));
    }

    #[test]
    fn a_connection_that_ended_leaves_the_registry() {
        let open = connections(Limits::default());
        drop([(); 3].map(|()| open.open(peer(1))));
        assert!(open.0.lock().open.is_empty());
    }

    #[test]
    fn a_whole_ipv6_network_is_one_peer() {
        let peer = |text: &str| Peer::remote(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("::1"), peer("::2"));
    }
}
