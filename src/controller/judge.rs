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
use crate::world::admission::{self, Admission, AdmissionContext, Denial, Incumbents, PathClaims};
use crate::world::desired::{Desired, DesiredChannel, Target, Verdict};
use crate::world::facts::{Facts, FactsWanted};
use crate::world::run::DesiredRun;
use crate::world::scan::ParsedFile;
use crate::world::worktree;

/// What was judged last time, so that one changed file costs one merge, one hash and one verdict, however many others there are.
///
/// What is kept depends on nothing but what is kept beside it, and on the settings, which are an operator's for life.
#[derive(Debug, Default)]
pub struct Drafts {
    channels: BTreeMap<ResourceName, Judged>,
    runs: BTreeMap<ResourceName, (Content, Arc<DesiredRun>)>,
    /// Of the host, as it was known then.
    facts: Arc<Facts>,
    /// Of all channels together: what must be known of the host, and what the policy asks of each.
    wanted: Arc<FactsWanted>,
    context: Option<AdmissionContext>,
    /// What channels had against each other, and from what that followed.
    conflicts: BTreeMap<ResourceName, Vec<Denial>>,
    candidates: BTreeSet<ResourceName>,
    incumbents: Arc<Incumbents>,
    /// Channels that set the same fields of the same class share them.
    origins: BTreeSet<Origins>,
}

/// A channel, what the policy says of it alone, and what follows with all others.
#[derive(Debug)]
struct Judged {
    draft: Arc<Draft>,
    /// `None`: not judged, since it cannot be merged or is not for this host.
    alone: Option<Arc<Admission>>,
    desired: Arc<DesiredChannel>,
}

/// Which field of a channel came from where.
type Origins = Arc<BTreeMap<String, String>>;

/// An object's content: the file as parsed, and which of its objects. Held, so that no other file can have its address.
type Content = (Arc<ParsedFile>, usize);

/// A channel as it counts, or why it cannot.
type Merged = Result<Arc<Effective>, (Reason, String)>;

/// The classes by name.
type Classes<'a> = BTreeMap<&'a str, (&'a ChannelClass, &'a Object)>;

/// Everything that the files want, and what must be known of the host to judge it.
pub fn desired(
    sources: &Sources,
    facts: &Facts,
    settings: &Settings,
    incumbents: &Arc<Incumbents>,
) -> (Desired, Arc<FactsWanted>) {
    Drafts::default().desired(sources, &Arc::new(facts.clone()), settings, incumbents)
}

impl Drafts {
    /// The same as [`desired`], for the same settings each time.
    pub fn desired(
        &mut self,
        sources: &Sources,
        facts: &Arc<Facts>,
        settings: &Settings,
        incumbents: &Arc<Incumbents>,
    ) -> (Desired, Arc<FactsWanted>) {
        let classes: Classes<'_> = sources
            .objects()
            .values()
            .filter_map(|object| match object.resource() {
                Some(Resource::Class(class)) => Some((class.meta.name.as_str(), (class, object))),
                _ => None,
            })
            .collect();
        let same_facts = Arc::ptr_eq(&self.facts, facts);
        self.facts = Arc::clone(facts);
        let mut before = std::mem::take(&mut self.channels);
        let mut drafts = Vec::with_capacity(before.len());
        let mut same_needs = self.context.is_some();
        for object in sources.objects().values() {
            if let Some(Resource::Channel(channel)) = object.resource() {
                let named = channel.spec.class_name.as_ref().map(ResourceName::as_str);
                let class = classes.get(named.unwrap_or(merge::DEFAULT_CLASS)).copied();
                let kept = before.remove(&channel.meta.name);
                if let Some(judged) = kept.as_ref().filter(|Judged { draft, .. }| {
                    draft.is_of(object, class.map(|(_, object)| object))
                        && (same_facts || draft.seen == part_of(facts, &draft.needs))
                }) {
                    drafts.push((channel, object, Arc::clone(&judged.draft), kept));
                    continue;
                }
                let draft = self.share(Draft::new(channel, object, named, class, facts, settings));
                same_needs &= kept.is_some_and(|kept| kept.draft.has_needs_of(&draft));
                drafts.push((channel, object, draft, None));
            }
        }
        same_needs &= before.is_empty();
        let all = drafts.iter().map(|(_, _, draft, _)| &**draft);
        let (context, same_context) = self.context_of(all, same_needs, sources, settings);
        let alone: Vec<Option<Arc<Admission>>> = drafts
            .iter()
            .map(|(_, _, draft, kept)| match kept {
                Some(kept) if same_context => kept.alone.clone(),
                _ => draft.admit(facts, &context, settings).map(Arc::new),
            })
            .collect();
        let candidates = drafts.iter().zip(&alone).filter_map(|((channel, _, draft, _), alone)| {
            let admitted =
                matches!(alone.as_deref(), Some(Admission::Admitted | Admission::NotProbed));
            admitted.then_some((&channel.meta.name, &*draft.claims))
        });
        let before = std::mem::take(&mut self.conflicts);
        let names: BTreeSet<ResourceName> =
            candidates.clone().map(|(name, _)| name.clone()).collect();
        self.conflicts = if same_needs && names == self.candidates && *incumbents == self.incumbents
        {
            before.clone()
        } else {
            admission::conflicts(candidates, incumbents)
        };
        self.candidates = names;
        self.incumbents = Arc::clone(incumbents);
        for ((channel, object, draft, kept), alone) in drafts.into_iter().zip(alone) {
            let name = &channel.meta.name;
            let conflicts = self.conflicts.get(name);
            let kept = kept.filter(|kept| {
                same_context
                    && conflicts == before.get(name)
                    && kept.desired.source_trouble == object.trouble
                    && kept.desired.removal_held == object.held
            });
            let judged = kept.unwrap_or_else(|| {
                let conflicts = conflicts.map_or(&[][..], Vec::as_slice);
                let admission = alone.as_deref().cloned().map(|it| it.with_conflicts(conflicts));
                let desired = draft.judge(channel, object, facts, admission, settings);
                Judged { draft, alone, desired: Arc::new(desired) }
            });
            self.channels.insert(name.clone(), judged);
        }
        self.context = Some(context);
        self.origins.retain(|origins| Arc::strong_count(origins) > 1);
        let channels = self.channels.iter();
        let desired = Desired {
            channels: channels.map(|(name, it)| (name.clone(), Arc::clone(&it.desired))).collect(),
            runs: self.runs(sources),
            classes: classes.values().map(|(class, _)| class.meta.name.clone()).collect(),
            unread: sources.unread(),
            unavailable: sources.unavailable().map(str::to_owned),
            ready: sources.complete(),
        };
        (desired, Arc::clone(&self.wanted))
    }

    /// A new draft, which has where its fields came from in common with others.
    fn share(&mut self, mut new: Draft) -> Arc<Draft> {
        match self.origins.get(&new.origins) {
            Some(same) => new.origins = Arc::clone(same),
            None => drop(self.origins.insert(Arc::clone(&new.origins))),
        }
        Arc::new(new)
    }

    /// What channels are admitted with now: see [`Incumbents::admitted`].
    pub fn admitted(&self) -> BTreeMap<ResourceName, Arc<PathClaims>> {
        let admitted = self.channels.iter().filter(|(_, judged)| judged.desired.target.is_some());
        admitted.map(|(name, judged)| (name.clone(), Arc::clone(&judged.draft.claims))).collect()
    }

    /// What the policy has to know besides a spec, and whether that is what it was; what the host must be asked follows the
    /// channels' needs.
    fn context_of<'a>(
        &mut self,
        drafts: impl Iterator<Item = &'a Draft>,
        same_needs: bool,
        sources: &Sources,
        settings: &Settings,
    ) -> (AdmissionContext, bool) {
        let mut protected = settings.protected.clone();
        protected.extend(sources.real_paths().map(str::to_owned));
        if !same_needs {
            let mut wanted = FactsWanted::default();
            for draft in drafts {
                wanted.paths.extend(draft.needs.paths.iter().cloned());
                wanted.secrets.extend(draft.needs.secrets.iter().cloned());
                wanted.credentials.extend(draft.needs.credentials.iter().cloned());
                wanted.builds.extend(draft.needs.builds.iter().cloned());
            }
            self.wanted = Arc::new(wanted);
        }
        if let Some(context) = self.context.take().filter(|it| it.protected == protected) {
            return (context, true);
        }
        let context = AdmissionContext {
            owner: settings.owner.clone(),
            protected,
            has_agent_cli: settings.agent_cli.is_some(),
            runtime_classes: settings.runtime_classes.clone(),
            own_ports: settings.own_ports.clone(),
        };
        (context, false)
    }

    /// Every run that has a file.
    fn runs(&mut self, sources: &Sources) -> BTreeMap<ResourceName, Arc<DesiredRun>> {
        let mut before = std::mem::take(&mut self.runs);
        for object in sources.objects().values() {
            let Some(Resource::Run(run)) = object.resource() else { continue };
            let kept = before.remove(&run.meta.name).filter(|(content, desired)| {
                is_same(content, object.content())
                    && desired.source.file == object.file()
                    && desired.source_trouble == object.trouble
            });
            let kept = kept.unwrap_or_else(|| {
                let desired = DesiredRun {
                    source: object.source(),
                    labels: run.meta.labels.clone(),
                    fingerprint: crate::planner::run::fingerprint(&run.spec),
                    spec: Arc::new(run.spec.clone()),
                    source_trouble: object.trouble.clone(),
                };
                (held(object.content()), Arc::new(desired))
            });
            self.runs.insert(run.meta.name.clone(), kept);
        }
        let all = self.runs.iter();
        all.map(|(name, (_, desired))| (name.clone(), Arc::clone(desired))).collect()
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
    /// What its containers have of the host.
    claims: Arc<PathClaims>,
    effective: Merged,
    origins: Origins,
    fingerprint: String,
    /// What its shell is made from, once it is admitted.
    target: OnceLock<Arc<Target>>,
}

impl Draft {
    /// Is it made from this content of the file and of the class?
    fn is_of(&self, object: &Object, class: Option<&Object>) -> bool {
        is_same(&self.content, object.content())
            && self.file == object.file()
            && match (&self.class, class) {
                (None, None) => true,
                (Some(before), Some(now)) => is_same(before, now.content()),
                (None, Some(_)) | (Some(_), None) => false,
            }
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
        let claims = effective.as_ref().map(|it| admission::claims_of(it)).unwrap_or_default();
        Self {
            content: held(object.content()),
            class: class.map(|(_, object)| held(object.content())),
            file: object.file().to_owned(),
            seen: part_of(facts, &needs),
            fingerprint: fingerprint(channel, effective.as_deref().ok()),
            needs,
            claims: Arc::new(claims),
            effective,
            origins: Arc::new(origins),
            target: OnceLock::new(),
        }
    }

    /// Does it ask no more and no less of the host and of the others?
    fn has_needs_of(&self, other: &Self) -> bool {
        self.needs == other.needs && self.claims == other.claims
    }

    /// What the policy says of it alone; `None` where it is not to be judged here.
    fn admit(
        &self,
        facts: &Facts,
        context: &AdmissionContext,
        settings: &Settings,
    ) -> Option<Admission> {
        let effective = self.effective.as_ref().ok()?;
        selects(effective, settings).then(|| admission::admit(effective, facts, context))
    }

    fn judge(
        &self,
        channel: &Channel,
        object: &Object,
        facts: &Facts,
        admission: Option<Admission>,
        settings: &Settings,
    ) -> DesiredChannel {
        let (verdict, target) = match &self.effective {
            Err((reason, message)) => {
                (Verdict::Held { reason: *reason, message: message.clone() }, None)
            }
            Ok(effective) => match admission {
                None => (Verdict::NotForThisHost, None),
                Some(Admission::NotProbed) => (Verdict::Admitted, None),
                Some(Admission::Denied(denials)) => {
                    let reason = denials.first().map_or(Reason::PolicyViolation, |d| d.reason);
                    let lines: Vec<String> = denials
                        .iter()
                        .map(|denial| format!("{}: {}", denial.path, denial.message))
                        .collect();
                    (Verdict::Held { reason, message: lines.join("; ") }, None)
                }
                Some(Admission::Admitted) => {
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
            },
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
            git_missing: match &self.effective {
                Ok(effective) => worktree::missing(effective, &settings.owner, facts),
                Err(_) => Vec::new(),
            },
            source_trouble: object.trouble.clone(),
            removal_held: object.held,
        }
    }
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

fn held((parsed, index): (&Arc<ParsedFile>, usize)) -> Content {
    (Arc::clone(parsed), index)
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
        git: some(&facts.git, &wanted.paths),
        credentials: some(&facts.credentials, &wanted.credentials),
        builds: some(&facts.builds, &wanted.builds),
        // One for all: it changes when another engine answers.
        default_runtime: facts.default_runtime.clone(),
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
