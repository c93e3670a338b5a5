//! The CLI's objects as far as they are wanted, cut into fields and not read yet.
//!
//! Names and shapes only; [`super::decode()`] reads the fields. Lists and maps are looked at up to a bound, and the rest is skipped.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Elements of a list that are looked at; the rest is skipped. The CLI sends one block an event and few errors; a line of
/// 16 MiB that somebody made up could hold millions.
const ELEMENTS_MAX: usize = 1024;

/// A value whose inside nobody has looked at.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// The fields of all events that are wanted. What else a line has is skipped.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Raw<'a>,
    #[serde(borrow)]
    pub(super) subtype: Raw<'a>,
    #[serde(borrow)]
    pub(super) session_id: Raw<'a>,
    #[serde(borrow)]
    pub(super) parent_tool_use_id: Raw<'a>,
    // assistant and user; permission_denied has a text of this name
    #[serde(borrow)]
    pub(super) message: Raw<'a>,
    #[serde(borrow)]
    pub(super) error: Raw<'a>,
    #[serde(borrow)]
    pub(super) is_api_error_message: Raw<'a>,
    #[serde(borrow)]
    pub(super) api_error_status: Raw<'a>,
    #[serde(borrow)]
    pub(super) api_error_type: Raw<'a>,
    #[serde(borrow)]
    pub(super) api_error: Raw<'a>,
    #[serde(borrow)]
    pub(super) api_error_params: Raw<'a>,
    #[serde(borrow)]
    pub(super) aborted: Raw<'a>,
    #[serde(borrow, rename = "isSynthetic")]
    pub(super) is_synthetic: Raw<'a>,
    #[serde(borrow, rename = "isReplay")]
    pub(super) is_replay: Raw<'a>,
    // system/init
    #[serde(borrow)]
    pub(super) model: Raw<'a>,
    #[serde(borrow)]
    pub(super) claude_code_version: Raw<'a>,
    #[serde(borrow)]
    pub(super) mcp_servers: Raw<'a>,
    // result
    #[serde(borrow)]
    pub(super) is_error: Raw<'a>,
    #[serde(borrow)]
    pub(super) result: Raw<'a>,
    #[serde(borrow)]
    pub(super) errors: Raw<'a>,
    #[serde(borrow)]
    pub(super) num_turns: Raw<'a>,
    #[serde(borrow)]
    pub(super) total_cost_usd: Raw<'a>,
    #[serde(borrow)]
    pub(super) usage: Raw<'a>,
    #[serde(borrow)]
    pub(super) model_usage_since_last_result: Raw<'a>,
    #[serde(borrow)]
    pub(super) permission_denials: Raw<'a>,
    #[serde(borrow)]
    pub(super) terminal_reason: Raw<'a>,
    #[serde(borrow)]
    pub(super) queued_turn_count: Raw<'a>,
    // system/api_retry
    #[serde(borrow)]
    pub(super) attempt: Raw<'a>,
    #[serde(borrow)]
    pub(super) max_retries: Raw<'a>,
    #[serde(borrow)]
    pub(super) retry_delay_ms: Raw<'a>,
    #[serde(borrow)]
    pub(super) error_status: Raw<'a>,
    // system/permission_denied and tasks
    #[serde(borrow)]
    pub(super) tool_name: Raw<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Raw<'a>,
    #[serde(borrow)]
    pub(super) tasks: Raw<'a>,
    #[serde(borrow)]
    pub(super) task_id: Raw<'a>,
    #[serde(borrow)]
    pub(super) description: Raw<'a>,
    #[serde(borrow)]
    pub(super) summary: Raw<'a>,
    // system/status
    #[serde(borrow)]
    pub(super) compact_result: Raw<'a>,
    // rate_limit_event
    #[serde(borrow)]
    pub(super) rate_limit_info: Raw<'a>,
    // stream_event
    #[serde(borrow)]
    pub(super) event: Raw<'a>,
}

/// A message.
#[derive(Deserialize)]
pub(super) struct MessageFields<'a> {
    #[serde(borrow)]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) model: Raw<'a>,
    #[serde(borrow)]
    pub(super) content: Raw<'a>,
}

/// A block of content, or the event in a `stream_event`: their names do not collide.
#[derive(Deserialize)]
pub(super) struct BlockFields<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Raw<'a>,
    #[serde(borrow)]
    pub(super) text: Raw<'a>,
    #[serde(borrow)]
    pub(super) thinking: Raw<'a>,
    #[serde(borrow)]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) name: Raw<'a>,
    #[serde(borrow)]
    pub(super) input: Raw<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Raw<'a>,
    #[serde(borrow)]
    pub(super) content: Raw<'a>,
    #[serde(borrow)]
    pub(super) is_error: Raw<'a>,
    // of a stream_event
    #[serde(borrow)]
    pub(super) delta: Raw<'a>,
}

/// A tool use that was not permitted.
#[derive(Deserialize)]
pub(super) struct DenialFields<'a> {
    #[serde(borrow)]
    pub(super) tool_name: Raw<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Raw<'a>,
}

/// An MCP server.
#[derive(Deserialize)]
pub(super) struct ServerFields<'a> {
    #[serde(borrow)]
    pub(super) name: Raw<'a>,
    #[serde(borrow)]
    pub(super) status: Raw<'a>,
}

/// Tokens under both of their names: `usage` has the API's, the usage by model the CLI's.
#[derive(Deserialize)]
pub(super) struct UsageFields<'a> {
    #[serde(borrow, alias = "inputTokens")]
    pub(super) input_tokens: Raw<'a>,
    #[serde(borrow, alias = "outputTokens")]
    pub(super) output_tokens: Raw<'a>,
    #[serde(borrow, alias = "cacheReadInputTokens")]
    pub(super) cache_read_input_tokens: Raw<'a>,
    #[serde(borrow, alias = "cacheCreationInputTokens")]
    pub(super) cache_creation_input_tokens: Raw<'a>,
    #[serde(borrow, rename = "costUSD")]
    pub(super) cost_usd: Raw<'a>,
}

/// A limit.
#[derive(Deserialize)]
pub(super) struct RateLimitFields<'a> {
    #[serde(borrow)]
    pub(super) status: Raw<'a>,
    #[serde(borrow, rename = "resetsAt")]
    pub(super) resets_at: Raw<'a>,
    #[serde(borrow, rename = "rateLimitType")]
    pub(super) window: Raw<'a>,
    #[serde(borrow)]
    pub(super) utilization: Raw<'a>,
}

/// What an API error carries.
#[derive(Deserialize)]
pub(super) struct ApiParameters<'a> {
    #[serde(borrow)]
    pub(super) rate_limit_info: Raw<'a>,
}

/// The first [`ELEMENTS_MAX`] elements of a list.
#[derive(Default)]
pub(super) struct FirstElements<'a>(pub(super) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for FirstElements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Elements<'a> {
            type Value = FirstElements<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while all.len() < ELEMENTS_MAX {
                    match seq.next_element()? {
                        Some(element) => all.push(element),
                        None => return Ok(FirstElements(all)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstElements(all))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// The first [`ELEMENTS_MAX`] members of an object.
pub(super) struct FirstPairs<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for FirstPairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Pairs<'a> {
            type Value = FirstPairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while all.len() < ELEMENTS_MAX {
                    match map.next_entry()? {
                        Some(pair) => all.push(pair),
                        None => return Ok(FirstPairs(all)),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(FirstPairs(all))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}
