//! The agent's call: asked of whoever can look at the host, which this room may not.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use uuid::Uuid;

use crate::resource::{Effective, ResourceName};

/// Which conversation is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conversation {
    /// A new one.
    #[default]
    New,
    /// The one that was written to last; a new one when there is none.
    Latest,
    /// That one.
    Of(Uuid),
}

impl Conversation {
    /// The word of the API and of the command line.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "new" => Ok(Self::New),
            "latest" => Ok(Self::Latest),
            id => Uuid::try_parse(id).map(Self::Of).map_err(|_| {
                format!("`{id}` is no session: write `latest`, `new` or a session's ID")
            }),
        }
    }
}

/// Whose agent is to be called in its running shell, and how.
#[derive(Debug, Clone)]
pub struct AgentOrder {
    /// The channel.
    pub channel: ResourceName,
    /// Its spec as it counts.
    pub effective: Arc<Effective>,
    /// The image of its shell.
    pub image: String,
    /// Which conversation.
    pub conversation: Conversation,
    /// In a copy of it?
    pub fork: bool,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCall {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// More for its environment.
    pub env: BTreeMap<String, String>,
    /// What a person should know, each in a sentence.
    pub notes: Vec<String>,
}

/// Why there is no call, in a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCall {
    /// As things are.
    #[error("{0}")]
    Refused(String),
    /// Others are being made, or one hangs.
    #[error("{0}")]
    Busy(String),
}

/// Makes calls: reads the host and writes to it what the call needs.
pub trait AgentCalls: std::fmt::Debug + Send + Sync {
    /// Makes one.
    fn call(&self, order: AgentOrder) -> BoxFuture<'_, Result<AgentCall, NoCall>>;
}

/// What is asked over the wire.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AgentBody {
    /// `latest`, `new` or an ID; empty: new.
    session: String,
    fork: bool,
}

impl AgentBody {
    pub(super) fn parse(&self) -> Result<(Conversation, bool), String> {
        let conversation = match self.session.as_str() {
            "" => Conversation::New,
            word => Conversation::parse(word)?,
        };
        if self.fork && conversation == Conversation::New {
            return Err("a new session has nothing to fork: name one, or `latest`".to_owned());
        }
        Ok((conversation, self.fork))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_named_by_a_word_or_its_id() {
        let asked = |session: &str, fork| AgentBody { session: session.to_owned(), fork }.parse();
        let id = Uuid::from_u128(7);
        assert_eq!(asked("", false), Ok((Conversation::New, false)));
        assert_eq!(asked("latest", true), Ok((Conversation::Latest, true)));
        assert_eq!(asked(&id.to_string(), true), Ok((Conversation::Of(id), true)));
        for (session, fork) in [("newest", false), ("--help", false), ("new", true), ("", true)] {
            assert!(asked(session, fork).is_err(), "{session}");
        }
    }
}
