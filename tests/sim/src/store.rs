//! What outlives the operator: durable writes, and nothing of what was on its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use chanop::world::record::{Loaded, Write};
use chanop::world::scan::ParsedFile;

use crate::tree::parse;

/// The database.
#[derive(Debug)]
pub struct Store {
    /// What a new process would load.
    pub durable: Loaded,
    /// Does every commit fail?
    pub failing: bool,
    /// How many commits were made.
    pub commits: u64,
}

impl Default for Store {
    fn default() -> Self {
        let durable = Loaded { state_id: "state-1".to_owned(), fresh: true, ..Loaded::default() };
        Self { durable, failing: false, commits: 0 }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl Store {
    /// All of them become durable.
    pub fn commit(&mut self, writes: Vec<Write>) {
        self.commits += 1;
        let durable = &mut self.durable;
        for write in writes {
            match write {
                Write::Meta(key, value) => {
                    durable.meta.insert(key, value);
                }
                Write::Inventory(object, row) => put(&mut durable.inventory, object, row),
                Write::Source(file, row) => put(&mut durable.sources, file, row),
                Write::Override(object, set) => put(&mut durable.overrides, object, set),
                Write::Conditions(object, all) => put(&mut durable.conditions, object, all),
                Write::Applied(id, limits) => put(&mut durable.applied, id, limits),
                Write::Event(event) => durable.events.push(event),
                Write::Run(record) => {
                    let old = durable.runs.iter_mut().find(|old| old.id == record.id);
                    match old {
                        // An ended record never changes.
                        Some(old) if old.end.is_some() => {}
                        Some(old) => old.clone_from(&record),
                        None => durable.runs.push(Arc::unwrap_or_clone(record)),
                    }
                }
                Write::Bury(id, tombstone) => {
                    durable.runs.retain(|record| record.id != id);
                    durable.tombstones.insert(id, tombstone);
                }
                Write::Session(key, session) => {
                    durable.sessions.insert(key, session);
                }
                Write::Total(key, value) => {
                    durable.totals.insert(key, value);
                }
            }
        }
        let surplus = durable.events.len().saturating_sub(100);
        durable.events.drain(..surplus);
    }

    /// What a new process begins with.
    pub fn load(&mut self) -> (Loaded, BTreeMap<String, Arc<ParsedFile>>) {
        let loaded = self.durable.clone();
        self.durable.fresh = false;
        let sources =
            loaded.sources.iter().map(|(file, row)| (file.clone(), parse(file, &row.text)));
        let sources = sources.collect();
        (loaded, sources)
    }
}
