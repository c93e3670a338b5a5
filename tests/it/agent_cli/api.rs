//! What the CLI asked of the mock, as these tests want to know it.
//!
//! What arrives below `/thief` was sent where a repository wanted it.

use crate::support::mock_api::{ApiRequest, MockApi};

/// The server, until it is dropped.
pub(super) struct Api {
    pub(super) url: String,
    mock: MockApi,
}

impl Api {
    pub(super) async fn start() -> Self {
        let mock = MockApi::start().await;
        Self { url: mock.local_url(), mock }
    }

    fn messages(&self) -> Vec<ApiRequest> {
        let all = self.mock.requests().into_iter();
        all.filter(|asked| asked.path.starts_with("/v1/messages")).collect()
    }

    /// Was everything asked of the right API?
    pub(super) fn only_messages(&self) -> bool {
        self.messages().len() == self.mock.requests().len()
    }

    /// Was anything sent where a repository wanted it?
    pub(super) fn thief_was_asked(&self) -> bool {
        self.mock.requests().iter().any(|asked| asked.path.starts_with("/thief"))
    }

    /// The body of the newest question, as text.
    pub(super) fn newest(&self) -> String {
        self.messages().last().unwrap().body.to_string()
    }

    /// Every text of the newest question's users, each block by itself.
    pub(super) fn said(&self) -> Vec<String> {
        let body = self.messages().pop().unwrap().body;
        let messages = body["messages"].as_array().into_iter().flatten();
        let mut texts = Vec::new();
        for message in messages.filter(|message| message["role"] == "user") {
            texts.extend(message["content"].as_str().map(str::to_owned));
            for block in message["content"].as_array().into_iter().flatten() {
                texts.extend(block["text"].as_str().map(str::to_owned));
            }
        }
        texts
    }

    /// Was the newest question signed with `secret`?
    pub(super) fn signed_in_with(&self, secret: &str) -> bool {
        let asked = self.messages().pop().unwrap();
        ["x-api-key", "authorization"]
            .iter()
            .filter_map(|name| asked.headers.get(*name))
            .any(|value| value.ends_with(secret))
    }
}
