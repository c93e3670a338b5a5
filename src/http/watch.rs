//! Watches: what changes, as JSON lines, until the client, its time or the operator ends.
//!
//! The core publishes whole snapshots and keeps only the newest, so a slow listener costs nothing and misses only what has
//! changed again since: it always ends up with what is. A watch from a version that a list showed goes on exactly there,
//! because the last few snapshots that clients were shown are kept.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde::Serialize;

use super::collection::{Collection, Item, Shape};
use super::connections::StreamPermit;
use super::core::Snapshots;
use super::routes::Api;
use super::selector::Selector;
use super::table::Table;
use super::views::WatchEvent;
use crate::controller::view::View;

/// How many snapshots that clients were shown are kept. Unchanged channels are shared between them.
const SHOWN_MAX: usize = 64;

/// Snapshots that clients have seen.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<VecDeque<Arc<View>>>);

impl Shown {
    pub(super) fn remember(&self, view: &Arc<View>) {
        // Nothing is awaited and nothing can fail while it is held.
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.iter().any(|it| it.version == view.version) {
            return;
        }
        if shown.len() >= SHOWN_MAX {
            shown.pop_front();
        }
        shown.push_back(Arc::clone(view));
    }

    pub(super) fn find(&self, version: u64) -> Option<Arc<View>> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().find(|it| it.version == version).map(Arc::clone)
    }
}

/// What a list or watch is of.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) collection: Collection,
    pub(super) labels: Selector,
    /// `metadata.name=X`.
    pub(super) name: Option<String>,
    /// `spec.channelName=X`, for runs.
    pub(super) channel: Option<String>,
    /// As tables.
    pub(super) as_table: bool,
}

impl Selection {
    pub(super) fn items(&self, view: &View, now: Timestamp) -> BTreeMap<String, Item> {
        let mut items = self.collection.items(view, now);
        items.retain(|name, item| {
            let of_channel =
                |channel: &String| item.channel().is_some_and(|it| it.as_str() == channel);
            self.labels.matches(item.labels())
                && self.name.as_ref().is_none_or(|it| it == name)
                && self.channel.as_ref().is_none_or(of_channel)
        });
        items
    }
}

/// A watch of `selection`: from `since` on, or with everything there is first.
pub(super) fn lines(
    api: Api,
    selection: Selection,
    since: Option<&View>,
    timeout: Option<Duration>,
    permit: StreamPermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let mut view = api.faces().core.snapshots.clone();
    // The first look is at once, whatever the receiver has seen.
    view.mark_changed();
    let seen = since.map(|view| selection.items(view, api.now())).unwrap_or_default();
    let end: Pin<Box<dyn Future<Output = ()> + Send>> = match timeout {
        Some(timeout) => Box::pin(tokio::time::sleep(timeout)),
        None => Box::pin(std::future::pending()),
    };
    let watch = Watch { api, selection, view, seen, queue: VecDeque::new(), end, _permit: permit };
    stream::unfold(watch, |mut watch| async {
        let line = watch.next().await?;
        Some((Ok(line), watch))
    })
}

struct Watch {
    api: Api,
    selection: Selection,
    view: Snapshots,
    seen: BTreeMap<String, Item>,
    queue: VecDeque<Bytes>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    _permit: StreamPermit,
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.queue.pop_front() {
                return Some(line);
            }
            tokio::select! {
                () = self.api.stopped() => return None,
                () = &mut self.end => return None,
                // Cancel-safe: a change not taken is still there at the next call.
                changed = self.view.changed() => changed.then_some(())?,
            }
            let view = self.view.take();
            self.compare(&view);
        }
    }

    fn compare(&mut self, view: &Arc<View>) {
        let items = self.selection.items(view, self.api.now());
        let version = self.api.resource_version(view);
        let queued = self.queue.len();
        for (name, item) in &items {
            match self.seen.get(name) {
                None => self.tell("ADDED", item, &version),
                Some(old) if !old.same(item) => self.tell("MODIFIED", item, &version),
                Some(_) => {}
            }
        }
        for (name, item) in std::mem::take(&mut self.seen) {
            if !items.contains_key(&name) {
                self.tell("DELETED", &item, &version);
            }
        }
        if self.queue.len() > queued {
            self.api.shown().remember(view);
        }
        self.seen = items;
    }

    fn tell(&mut self, kind: &str, item: &Item, version: &str) {
        let line = if self.selection.as_table {
            let row = item.row(version, self.api.now());
            let columns = self.selection.collection.columns();
            line(kind, Table::new(version.to_owned(), columns, vec![row]))
        } else {
            line(kind, item.object(version, Shape::Listed))
        };
        self.queue.extend(line);
    }
}

fn line(kind: &str, object: impl Serialize) -> Option<Bytes> {
    let mut bytes = serde_json::to_vec(&WatchEvent { kind: kind.to_owned(), object }).ok()?;
    bytes.push(b'\n');
    Some(bytes.into())
}
