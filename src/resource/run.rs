//! Kind `Run`, as its file writes it: the agent once.
//!
//! What a Run and a Schedule's template have in common is [`RunOrder`]; in the file a Run's own fields stand beside it, in
//! one map.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::channel::{argument_length, budget, exactly_one};
use super::decode::{Decode, Decoder, Words, fields};
use super::duration::Span;
use super::meta::{ObjectMeta, ResourceName, SourceRef};
use super::node::{Node, Value, shown};
use super::text::RelativePath;
use super::validate::Code;

/// A run as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Name, labels, annotations.
    pub meta: ObjectMeta,
    /// What is asked for.
    pub spec: RunSpec,
    /// Where it was written.
    pub source: SourceRef,
}

/// What is asked for. Immutable once admitted but for `rerun` and `cancel`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// The channel it runs in.
    pub channel_name: ResourceName,
    /// Raise it to run the same file again.
    pub rerun: Option<u32>,
    /// End it; one way.
    pub cancel: Option<bool>,
    /// The order itself.
    pub order: RunOrder,
}

/// What to say to the agent, and the bounds that are the run's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RunOrder {
    /// What the agent is told. Exactly one of prompt, promptFrom and messages.
    pub prompt: Option<String>,
    /// The prompt stands in a file beneath the spec directory.
    pub prompt_from: Option<PromptFrom>,
    /// A conversation instead of a prompt.
    pub messages: Option<Vec<Message>>,
    /// Appended to the channel's.
    #[schemars(extend("default" = ""))]
    pub system_prompt: Option<String>,
    /// Who asked; handed to the MCP servers.
    #[schemars(extend("default" = ""))]
    pub author: Option<String>,
    /// Which session: `Fresh`, `Latest` (the channel's), `{id: …}`, or `{key: …}` (the latest of that key).
    #[schemars(extend("default" = "Fresh"))]
    pub session: Option<Session>,
    /// Go on in a copy of the session; not with `Fresh`.
    #[schemars(extend("default" = false))]
    pub fork: Option<bool>,
    /// Seconds within which the first start must happen.
    #[schemars(extend("default" = 86400))]
    pub starting_deadline_seconds: Option<u32>,
    /// Instead of the channel's `runs.activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<u32>,
    /// Instead of the channel's `runs.terminationGracePeriodSeconds`.
    pub termination_grace_period_seconds: Option<u32>,
    /// Instead of the channel's `runs.backoffLimit`.
    pub backoff_limit: Option<u32>,
    /// Instead of the channel's `runs.maxTurns`.
    pub max_turns: Option<u32>,
    /// Instead of the channel's `runs.maxBudgetUSD`.
    #[serde(rename = "maxBudgetUSD")]
    #[schemars(range(min = 0))]
    pub max_budget_usd: Option<f64>,
    /// Instead of the channel's `runs.keepContainer`.
    pub keep_container: Option<Span>,
}
fields!(RunOrder {
    prompt = "prompt",
    prompt_from = "promptFrom",
    messages = "messages",
    system_prompt = "systemPrompt",
    author = "author",
    session = "session",
    fork = "fork",
    starting_deadline_seconds = "startingDeadlineSeconds",
    active_deadline_seconds = "activeDeadlineSeconds",
    termination_grace_period_seconds = "terminationGracePeriodSeconds",
    backoff_limit = "backoffLimit",
    max_turns = "maxTurns",
    max_budget_usd = "maxBudgetUSD",
    keep_container = "keepContainer",
} check RunOrder::check);

impl RunOrder {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        exactly_one(node, &["prompt", "promptFrom", "messages"], decoder);
        let mut refuse = |key: &str, code, words: Words| {
            let place = node.get(key).map_or(node.place, |value| value.place);
            decoder.within(key, |decoder| decoder.report(code, place, words));
        };
        if self.prompt.as_ref().is_some_and(|prompt| prompt.trim().is_empty()) {
            refuse("prompt", Code::InvalidText, Words::new("the prompt is empty").label("empty"));
        }
        if node.get("messages").is_some_and(|all| all.value == Value::List(Vec::new())) {
            refuse(
                "messages",
                Code::InvalidText,
                Words::new("there are no messages").label("empty"),
            );
        }
        let fresh = matches!(self.session, None | Some(Session::Fresh));
        if self.fork == Some(true)
            && fresh
            && node.get("session").is_none_or(|s| s.as_str().is_some())
        {
            let words = Words::new("a fresh session has nothing to fork")
                .label("needs a session")
                .help("set session to Latest, {id: …} or {key: …}");
            refuse("fork", Code::FieldConflict, words);
        }
        last_message(node, decoder);
        budget(self.max_budget_usd, node, decoder);
        argument_length(node, "systemPrompt", decoder);
    }
}

/// Reports a conversation in which nobody waits for an answer.
fn last_message(node: &Node, decoder: &mut Decoder) {
    let Some(Value::List(items)) = node.get("messages").map(|all| &all.value) else { return };
    let role = items.last().and_then(|item| item.get("role"));
    let Some(role) = role.filter(|role| role.as_str() == Some("assistant")) else { return };
    let words = Words::new("the last message is the agent's: there is nothing to answer")
        .label("must be the user's");
    decoder.within("messages", |decoder| {
        decoder.within_item(items.len() - 1, |decoder| {
            decoder.within("role", |d| d.report(Code::InvalidText, role.place, words));
        });
    });
}

const OWN_KEYS: [&str; 3] = ["channelName", "rerun", "cancel"];

impl Decode for RunSpec {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let keys: Vec<&str> = OWN_KEYS.iter().chain(RunOrder::KEYS).copied().collect();
        let node = decoder.fields(node, &keys)?;
        let channel_name = decoder.required::<ResourceName>(node, "channelName");
        let rerun = decoder.optional(node, "rerun");
        let cancel = decoder.optional(node, "cancel");
        let order = RunOrder::read_map(node, decoder);
        Some(Self { channel_name: channel_name?, rerun, cancel, order: order? })
    }
}

impl Serialize for RunSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serde_json::Map::new();
        all.insert("channelName".to_owned(), Json::from(self.channel_name.as_str()));
        let order = serde_json::to_value(&self.order).map_err(serde::ser::Error::custom)?;
        if let Json::Object(order) = order {
            all.extend(order);
        }
        all.insert("rerun".to_owned(), self.rerun.into());
        all.insert("cancel".to_owned(), self.cancel.into());
        all.serialize(serializer)
    }
}

impl JsonSchema for RunSpec {
    fn schema_name() -> Cow<'static, str> {
        "RunSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut own = json_schema!({
            "description": "What is asked for. Immutable once admitted but for `rerun` and `cancel`.",
            "type": "object",
            "properties": {
                "channelName": generator.subschema_for::<ResourceName>(),
            },
            "additionalProperties": false,
            "required": ["channelName"],
        });
        let order = RunOrder::json_schema(generator);
        let Some(Json::Object(properties)) = own.get_mut("properties") else { return own };
        if let Some(Json::String(text)) = properties
            .get_mut("channelName")
            .and_then(|name| name.as_object_mut())
            .map(|name| name.entry("description").or_insert_with(|| Json::from("")))
        {
            "The channel it runs in.".clone_into(text);
        }
        if let Some(Json::Object(order)) = order.get("properties") {
            properties.extend(order.clone());
        }
        let rerun = serde_json::json!({
            "description": "Raise it to run the same file again.",
            "type": ["integer", "null"], "format": "uint32", "minimum": 0, "default": 0,
        });
        let cancel = serde_json::json!({
            "description": "End it; one way.", "type": ["boolean", "null"], "default": false,
        });
        properties.insert("rerun".to_owned(), rerun);
        properties.insert("cancel".to_owned(), cancel);
        own
    }
}

/// The prompt stands in a file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PromptFrom {
    /// The file, beneath the spec directory.
    pub file: RelativePath,
}
fields!(PromptFrom { file = "file" required });

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}
fields!(Message { role = "role" required, content = "content" required });

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The agent.
    Assistant,
}

impl Decode for Role {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        decoder.word(node, &[("user", Self::User), ("assistant", Self::Assistant)])
    }
}

/// Which session a run goes on in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// A new one.
    Fresh,
    /// The channel's latest.
    Latest,
    /// This one.
    Id(uuid::Uuid),
    /// The latest of those with this key.
    Key(String),
}

#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SessionMap {
    /// The session's ID, a UUID.
    #[schemars(extend("pattern" = "^[0-9a-fA-F-]{32,36}$"))]
    id: Option<String>,
    /// A key of one's own, such as a chat's channel: the latest session of that key goes on.
    #[schemars(length(min = 1, max = 128))]
    key: Option<String>,
}
fields!(SessionMap { id = "id", key = "key" } check SessionMap::check);

impl SessionMap {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        exactly_one(node, &["id", "key"], decoder);
        if let (Some(id), Some(at)) = (&self.id, node.get("id"))
            && uuid::Uuid::try_parse(id).is_err()
        {
            let words =
                Words::new(format!("`{}` is no ID of a session", shown(id))).label("not a UUID");
            decoder.within("id", |decoder| decoder.report(Code::InvalidText, at.place, words));
        }
        if let (Some(key), Some(at)) = (&self.key, node.get("key"))
            && (key.is_empty() || key.chars().count() > 128 || key.chars().any(char::is_control))
        {
            let words = Words::new("a session's key has 1 to 128 printable characters");
            decoder.within("key", |decoder| decoder.report(Code::InvalidText, at.place, words));
        }
    }
}

impl Decode for Session {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return decoder.word(node, &[("Fresh", Plain::Fresh), ("Latest", Plain::Latest)]).map(
                |plain| match plain {
                    Plain::Fresh => Self::Fresh,
                    Plain::Latest => Self::Latest,
                },
            );
        }
        let map = SessionMap::decode(node, decoder)?;
        match (map.id, map.key) {
            (Some(id), None) => uuid::Uuid::try_parse(&id).ok().map(Self::Id),
            (None, Some(key)) => Some(Self::Key(key)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Plain {
    Fresh,
    Latest,
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fresh => serializer.serialize_str("Fresh"),
            Self::Latest => serializer.serialize_str("Latest"),
            Self::Id(id) => serde_json::json!({ "id": id.to_string() }).serialize(serializer),
            Self::Key(key) => serde_json::json!({ "key": key }).serialize(serializer),
        }
    }
}

/// As it was written by [`Serialize`]; files are decoded with their places instead.
impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, rename_all = "lowercase")]
        enum Written {
            Word(String),
            Map { id: Option<uuid::Uuid>, key: Option<String> },
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == "Fresh" => Ok(Self::Fresh),
            Written::Word(word) if word == "Latest" => Ok(Self::Latest),
            Written::Map { id: Some(id), key: None } => Ok(Self::Id(id)),
            Written::Map { id: None, key: Some(key) } => Ok(Self::Key(key)),
            Written::Word(_) | Written::Map { .. } => {
                Err(serde::de::Error::custom("neither Fresh, Latest, an id nor a key"))
            }
        }
    }
}

impl JsonSchema for Session {
    fn schema_name() -> Cow<'static, str> {
        "Session".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<SessionMap>();
        json_schema!({ "anyOf": [{ "type": "string", "enum": ["Fresh", "Latest"] }, map] })
    }
}
