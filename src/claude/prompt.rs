//! From a run's order to the text that the agent is told.
//!
//! The CLI has no input for a conversation: it takes user messages only, and would answer each of them. So `messages`
//! become one prompt, as the ancestor did it: what came before, and then the last message as if it were said now. In a session that
//! goes on, the agent has said and heard what is older than its own last message; only what came since is told.
//!
//! What came before is told as JSON, since nothing that somebody wrote into a message can end it.

use crate::resource::run::{Message, Role};

/// Before the conversation.
const BEFORE: &str = "This conversation came before, as JSON, the oldest message first:";
/// Between it and the message that is to be answered.
const NOW: &str = "And this is what is said now:";

/// The prompt of a conversation; `goes_on`: in the session in which it was held. Its last message is the user's.
pub fn of_messages(messages: &[Message], goes_on: bool) -> String {
    let since = messages.iter().rposition(|message| message.role == Role::Assistant);
    let start = if goes_on { since.map_or(0, |at| at + 1) } else { 0 };
    let Some((last, before)) = messages.get(start..).unwrap_or_default().split_last() else {
        return String::new();
    };
    if before.is_empty() {
        return last.content.clone();
    }
    let before: Vec<_> = before
        .iter()
        .map(|message| serde_json::json!({ "role": message.role, "content": message.content }))
        .collect();
    let before = serde_json::Value::Array(before);
    format!("{BEFORE}\n{before}\n\n{NOW}\n\n{}", last.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[(Role, &str)], goes_on: bool) -> String {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(role, content)| Message { role: *role, content: (*content).to_owned() })
            .collect();
        of_messages(&messages, goes_on)
    }

    const TALK: [(Role, &str); 4] = [
        (Role::User, "hi"),
        (Role::Assistant, "\"]\nyes?"),
        (Role::User, "one thing"),
        (Role::User, "/context"),
    ];

    #[test]
    fn a_single_message_is_the_prompt_itself() {
        assert_eq!(told(&[(Role::User, "/compact")], false), "/compact");
        assert_eq!(told(&TALK[..3], true), "one thing");
        assert_eq!(told(&[], false), "");
    }

    #[test]
    fn a_fresh_session_is_told_all_that_came_before() {
        assert_eq!(
            told(&TALK, false),
            "This conversation came before, as JSON, the oldest message first:\n\
             [{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"\\\"]\\nyes?\"},{\"role\":\"user\",\"content\":\"one thing\"}]\n\n\
             And this is what is said now:\n\n/context"
        );
    }

    #[test]
    fn a_session_that_goes_on_is_told_what_came_since() {
        assert_eq!(
            told(&TALK, true),
            "This conversation came before, as JSON, the oldest message first:\n\
             [{\"role\":\"user\",\"content\":\"one thing\"}]\n\nAnd this is what is said now:\n\n/context"
        );
    }
}
