//! From objects and facts to [`Desired`]: class merged in, selected, admitted, and made into a target.
//!
//! Pure, and the same for the operator and for `chanop plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::scan::{Object, Sources};
use crate::planner::template;
use crate::resource::condition::Reason;
use crate::resource::merge::{self, FieldOrigin};
use crate::resource::text::hex;
use crate::resource::{Channel, ChannelClass, Effective, ObjectRef, Resource, ResourceName};
use crate::world::Settings;
use crate::world::admission::{self, Admission, AdmissionContext};
use crate::world::desired::{Desired, DesiredChannel, Target, Verdict};
use crate::world::facts::{Facts, FactsWanted};
use crate::world::run::DesiredRun;
use crate::world::scan::ParsedFile;

/// What was judged last time, so that one changed file costs one merge and one hash.
///
/// What is kept depends on nothing but what is kept beside it, and on the settings, which are an operator's for life. The
/// policy is asked anew each time: it looks at all channels together.
#[derive(Debug, Default)]
pub struct Drafts(BTreeMap<ResourceName, Arc<Draft>>);

/// An object's content: the file as parsed, and which of its objects. Held, so that no other file can have its address.
type Content = (Arc<ParsedFile>, usize);

/// A channel as it counts, or why it cannot.
type Merged = Result<Arc<Effective>, (Reason, String)>;

/// Everything that the files want, and what must be known of the host to judge it.
pub fn desired(sources: &Sources, facts: &Facts, settings: &Settings) -> (Desired, FactsWanted) {
    Drafts::default().desired(sources, facts, settings)
}

impl Drafts {
    /// The same as [`desired`], for the same settings each time.
    pub fn desired(
        &mut self,
        sources: &Sources,
        facts: &Facts,
        settings: &Settings,
    ) -> (Desired, FactsWanted) {
        let classes: BTreeMap<&str, (&ChannelClass, &Object)> = sources
            .objects()
            .values()
            .filter_map(|object| match object.resource() {
                Some(Resource::Class(class)) => Some((class.meta.name.as_str(), (class, object))),
                _ => None,
            })
            .collect();
        let mut before = std::mem::take(&mut self.0);
        let mut wanted = FactsWanted::default();
        let mut channels: Vec<(&Channel, &Object)> = Vec::new();
        for object in sources.objects().values() {
            if let Some(Resource::Channel(channel)) = object.resource() {
                let kept = before.remove(&channel.meta.name);
                let draft = Draft::get(kept, channel, object, &classes, facts, settings);
                wanted.paths.extend(draft.needs.paths.iter().cloned());
                wanted.secrets.extend(draft.needs.secrets.iter().cloned());
                wanted.credentials.extend(draft.needs.credentials.iter().cloned());
                wanted.builds.extend(draft.needs.builds.iter().cloned());
                self.0.insert(channel.meta.name.clone(), draft);
                channels.push((channel, object));
            }
        }
        let writable = admission::writable_by_path(self.0.iter().filter_map(|(name, draft)| {
            let effective = draft.effective.as_ref().ok()?;
            Some((name, effective.as_ref()))
        }));
        let mut protected = settings.protected.clone();
        protected.extend(sources.real_paths().map(str::to_owned));
        let context = AdmissionContext {
            owner: settings.owner.clone(),
            protected,
            writable,
            has_agent_cli: settings.agent_cli.is_some(),
        };
        let judged = channels.into_iter().filter_map(|(channel, object)| {
            let draft = self.0.get(&channel.meta.name)?;
            let judged = draft.judge(channel, object, facts, &context, settings);
            Some((channel.meta.name.clone(), judged))
        });
        let desired = Desired {
            runs: runs(sources),
            channels: judged.collect(),
            classes: classes.values().map(|(class, _)| class.meta.name.clone()).collect(),
            unread: sources.unread(),
            unavailable: sources.unavailable().map(str::to_owned),
            ready: sources.complete(),
        };
        (desired, wanted)
    }
}

/// A channel before it is judged, and what it is made from: all that depends on no other channel.
#[derive(Debug)]
struct Draft {
    content: Content,
    class: Option<Content>,
    file: String,
    /// Of the facts, those that it needs.
    seen: Facts,
    needs: FactsWanted,
    effective: Merged,
    origins: Arc<BTreeMap<String, String>>,
    fingerprint: String,
    /// What its shell is made from, once it is admitted.
    target: OnceLock<Arc<Target>>,
}

impl Draft {
    /// The one that was kept, if nothing of what it depends on has changed.
    fn get(
        kept: Option<Arc<Self>>,
        channel: &Channel,
        object: &Object,
        classes: &BTreeMap<&str, (&ChannelClass, &Object)>,
        facts: &Facts,
        settings: &Settings,
    ) -> Arc<Self> {
        let named = channel.spec.class_name.as_ref().map(ResourceName::as_str);
        let class = classes.get(named.unwrap_or(merge::DEFAULT_CLASS)).copied();
        let content_of_class = class.map(|(_, object)| object.content());
        if let Some(kept) = kept
            && is_same(&kept.content, object.content())
            && kept.file == object.file()
            && match (&kept.class, content_of_class) {
                (None, None) => true,
                (Some(before), Some(now)) => is_same(before, now),
                (None, Some(_)) | (Some(_), None) => false,
            }
            && kept.seen == part_of(facts, &kept.needs)
        {
            return kept;
        }
        Arc::new(Self::new(channel, object, named, class, facts, settings))
    }

    fn new(
        channel: &Channel,
        object: &Object,
        named: Option<&str>,
        class: Option<(&ChannelClass, &Object)>,
        facts: &Facts,
        settings: &Settings,
    ) -> Self {
        let (effective, origins) = merged(channel, named, class.map(|(class, _)| class), settings);
        let needs = effective.as_ref().map(|it| admission::facts_wanted(it)).unwrap_or_default();
        let held = |(parsed, index): (&Arc<ParsedFile>, usize)| (Arc::clone(parsed), index);
        Self {
            content: held(object.content()),
            class: class.map(|(_, object)| held(object.content())),
            file: object.file().to_owned(),
            seen: part_of(facts, &needs),
            fingerprint: fingerprint(channel, effective.as_deref().ok()),
            needs,
            effective,
            origins: Arc::new(origins),
            target: OnceLock::new(),
        }
    }

    fn judge(
        &self,
        channel: &Channel,
        object: &Object,
        facts: &Facts,
        context: &AdmissionContext,
        settings: &Settings,
    ) -> DesiredChannel {
        let (verdict, target) = match &self.effective {
            Err((reason, message)) => {
                (Verdict::Held { reason: *reason, message: message.clone() }, None)
            }
            Ok(effective) if !selects(effective, settings) => (Verdict::NotForThisHost, None),
            Ok(effective) => {
                match admission::admit(&channel.meta.name, effective, facts, context) {
                    Admission::NotProbed => (Verdict::Admitted, None),
                    Admission::Denied(denials) => {
                        let reason = denials.first().map_or(Reason::PolicyViolation, |d| d.reason);
                        let lines: Vec<String> = denials
                            .iter()
                            .map(|denial| format!("{}: {}", denial.path, denial.message))
                            .collect();
                        (Verdict::Held { reason, message: lines.join("; ") }, None)
                    }
                    Admission::Admitted => {
                        let target = self.target.get_or_init(|| {
                            Arc::new(template::shell_container(
                                &channel.meta.name,
                                effective,
                                facts,
                                settings,
                                object.file(),
                                &channel.meta.annotations,
                            ))
                        });
                        (Verdict::Admitted, Some(Arc::clone(target)))
                    }
                }
            }
        };
        DesiredChannel {
            source: object.source(),
            labels: channel.meta.labels.clone(),
            annotations: channel.meta.annotations.clone(),
            effective: self.effective.as_ref().ok().cloned(),
            origins: Arc::clone(&self.origins),
            fingerprint: self.fingerprint.clone(),
            verdict,
            target,
            source_trouble: object.trouble.clone(),
            removal_held: object.held,
        }
    }
}

/// Every run that has a file.
fn runs(sources: &Sources) -> BTreeMap<ResourceName, DesiredRun> {
    let of = |object: &Object| match object.resource() {
        Some(Resource::Run(run)) => Some(DesiredRun {
            source: object.source(),
            labels: run.meta.labels.clone(),
            fingerprint: crate::planner::run::fingerprint(&run.spec),
            spec: Arc::new(run.spec.clone()),
            source_trouble: object.trouble.clone(),
        }),
        _ => None,
    };
    let all = sources.objects().iter();
    all.filter_map(|(object, at)| Some((object.name.clone(), of(at)?))).collect()
}

/// Channel and class together, and where each field came from.
fn merged(
    channel: &Channel,
    named: Option<&str>,
    class: Option<&ChannelClass>,
    settings: &Settings,
) -> (Merged, BTreeMap<String, String>) {
    if let (Some(name), None) = (named, class) {
        let message = format!("there is no ChannelClass `{name}`");
        return (Err((Reason::ClassNotFound, message)), BTreeMap::new());
    }
    match merge::effective(channel, class, &settings.owner) {
        Ok(merged) => {
            let origins = merged.origins.into_iter();
            let origins = origins.map(|(path, origin)| (path, origin_text(&origin))).collect();
            (Ok(Arc::new(merged.effective)), origins)
        }
        Err(violations) => {
            let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
            (Err((Reason::InvalidSpec, lines.join("; "))), BTreeMap::new())
        }
    }
}

fn is_same(kept: &Content, (parsed, index): (&Arc<ParsedFile>, usize)) -> bool {
    Arc::ptr_eq(&kept.0, parsed) && kept.1 == index
}

/// Those of the facts that are wanted, as far as they are known.
fn part_of(facts: &Facts, wanted: &FactsWanted) -> Facts {
    fn some<K: Ord + Clone, V: Clone>(
        all: &BTreeMap<K, V>,
        wanted: &BTreeSet<K>,
    ) -> BTreeMap<K, V> {
        let known = wanted.iter().filter_map(|key| all.get_key_value(key));
        known.map(|(key, fact)| (key.clone(), fact.clone())).collect()
    }
    Facts {
        paths: some(&facts.paths, &wanted.paths),
        secrets: some(&facts.secrets, &wanted.secrets),
        credentials: some(&facts.credentials, &wanted.credentials),
        builds: some(&facts.builds, &wanted.builds),
    }
}

fn origin_text(origin: &FieldOrigin) -> String {
    match origin {
        FieldOrigin::Default => "default".to_owned(),
        FieldOrigin::Channel => "channel".to_owned(),
        FieldOrigin::Class { name } => format!("class {name}"),
    }
}

/// An operator without host labels takes every channel; one with labels takes those that select it.
fn selects(effective: &Effective, settings: &Settings) -> bool {
    let selector = &effective.host_selector;
    if settings.host_labels.is_empty() && selector.is_empty() {
        return true;
    }
    !selector.is_empty()
        && selector.iter().all(|(key, value)| settings.host_labels.get(key) == Some(value))
}

/// Of all that has meaning: what a new generation is a change of.
fn fingerprint(channel: &Channel, effective: Option<&Effective>) -> String {
    let restart = channel.meta.annotations.get(crate::resource::meta::RESTARTED_AT);
    let canonical = serde_json::json!({ "effective": effective, "restartedAt": restart });
    let digest = Sha256::digest(canonical.to_string().as_bytes());
    hex(digest.get(..8).unwrap_or_default())
}

/// Which file each object was in, for the tracker's restart.
pub fn owners<'a>(
    rows: impl Iterator<Item = (&'a ObjectRef, &'a crate::world::record::InventoryRow)>,
) -> BTreeMap<ObjectRef, String> {
    rows.map(|(object, row)| (object.clone(), row.file.clone())).collect()
}
