//! Runs on a [`Ground`]: a script that speaks for the agent's CLI, the files and orders that dispatch it, and what is known of
//! them, from outside.
//!
//! The prompt's words are what the script does, one after the other; then it says that all went well and ends with 0:
//!
//! ```text
//! say:WORD      a turn with that text               tool:WORD       a use of a tool, and its answer
//! sleep:N       so many seconds                     until:FILE      until that file is in the workspace
//! exit:N        ends with N, without a result       fail:N          likewise after a result that is an error
//! die:N         ends with N after a success         deaf            heeds no SIGTERM from here on
//! eat           all memory that there is         feed            a child does, and it goes on
//! gone          a session that it is to go on in is not there
//! toolong       the conversation is too long until it was compacted
//! overloaded:N  the API is at capacity, the first N times
//! ```
//!
//! Every execution leaves a line with the run's name in `bank`, and in the workspace's `said/` what it printed (`RUN.N`) and its
//! arguments (`RUN.N.argv`), N counting from 1.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use super::operator::Ground;
use super::proxy::ask;

/// See the module.
const AGENT: &str = r#"#!/bin/sh
prompt=$(cat)
run=$CHANOP_RUN
echo "$run" >>bank
n=1
while [ -e "said/$run.$n.argv" ]; do n=$((n + 1)); done
out=said/$run.$n
session= resumed= fork=
for arg in "$@"; do
    echo "$arg"
    last=$arg
    case $arg in
        --session-id=*) session=${arg#*=} ;;
        --resume=*) resumed=${arg#*=} ;;
        --fork-session) fork=1 ;;
    esac
done >"$out.argv"
session=${session:-$resumed}
prompt=${prompt:-$last}
print() {
    printf '%s\n' "$1" >>"$out"
    printf '%s\n' "$1"
}
turn() {
    turns=$((turns + 1))
    print "{\"type\":\"assistant\",\"message\":{\"id\":\"m$turns\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"a-script\",\"content\":[$1],\"usage\":{\"input_tokens\":120,\"output_tokens\":25}},\"session_id\":\"$session\"}"
}
result() {
    print "{\"type\":\"result\",\"subtype\":\"$1\",\"is_error\":$2,\"num_turns\":$turns,\"session_id\":\"$session\",\"total_cost_usd\":0.01,\"usage\":{\"input_tokens\":120,\"output_tokens\":25},$3}"
}
turns=0
print "{\"type\":\"system\",\"subtype\":\"init\",\"cwd\":\"$PWD\",\"session_id\":\"$session\",\"tools\":[\"Bash\"],\"model\":\"a-script\",\"claude_code_version\":\"0\"}"
if [ "$prompt" = /compact ]; then
    : >compacted
    result success false '"result":""'
    exit 0
fi
for word in $prompt; do
    value=${word#*:}
    case $word in
        say:*) turn "{\"type\":\"text\",\"text\":\"$value\"}" ;;
        tool:*)
            turn "{\"type\":\"tool_use\",\"id\":\"t$turns\",\"name\":\"Bash\",\"input\":{\"command\":\"$value\"}}"
            print "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t$((turns - 1))\",\"content\":\"$value\"}]},\"session_id\":\"$session\"}"
            ;;
        sleep:*) sleep "$value" ;;
        until:*) while [ ! -e "$value" ]; do sleep 0.05; done ;;
        eat) while :; do food=${food:-food}$food; done ;;
        feed) (while :; do food=${food:-food}$food; done) ;;
        deaf) trap '' TERM ;;
        exit:*) exit "$value" ;;
        die:*) result success false '"result":"done"'; exit "$value" ;;
        fail:*) result error_during_execution true '"errors":["it did not work"]'; exit "$value" ;;
        gone)
            if [ -n "$resumed" ]; then
                turns=0
                result error_during_execution true "\"errors\":[\"No conversation found with session ID: $resumed\"]"
                exit 1
            fi
            ;;
        toolong)
            if [ ! -e compacted ]; then
                result success true '"result":"Prompt is too long","terminal_reason":"prompt_too_long","api_error_status":400'
                exit 1
            fi
            ;;
        overloaded:*)
            if [ "$n" -le "$value" ]; then
                result success true '"result":"API Error: Repeated 529 Overloaded errors.","terminal_reason":"api_error","api_error_status":529'
                exit 1
            fi
            ;;
    esac
done
result success false '"result":"done","terminal_reason":"completed"'
"#;

/// The phases in which a run has ended.
const ENDS: [&str; 5] = ["Succeeded", "Failed", "Cancelled", "NeverStarted", "Lost"];

impl Ground {
    /// A channel without a shell whose agent is the script; `runs` is what its spec says of runs.
    pub(crate) fn agent_channel(&self, channel: &str, runs: &str) {
        let workspace = self.workspace(channel);
        let bin = workspace.join("agent.sh");
        fs::write(&bin, AGENT).unwrap();
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
        let said = workspace.join("said");
        fs::create_dir_all(&said).unwrap();
        super::operator::give(&said);
        self.secret("anthropic", "api-key", "sk-of-a-test-of-runs");
        self.channel(
            &format!("{channel}.yaml"),
            channel,
            &format!(
                "  agent: {{bin: '{}', credentials: {{secret: anthropic}}}}\n  shell: {{enabled: false}}\n  runs: {{{runs}}}\n",
                bin.display()
            ),
        );
    }

    /// The file of a run; `more` are further fields of its spec.
    pub(crate) fn run_file(&self, run: &str, channel: &str, prompt: &str, more: &str) {
        self.write(
            &format!("{run}.yaml"),
            &format!(
                "apiVersion: chanop.dev/v1alpha1\nkind: Run\nmetadata: {{name: {run}}}\nspec: {{channelName: {channel}, prompt: '{prompt}'{more}}}\n"
            ),
        );
    }

    /// An order over the API; the status of the answer.
    pub(crate) fn order(&self, run: &str, channel: &str, prompt: &str) -> u16 {
        let order = serde_json::json!({
            "apiVersion": "chanop.dev/v1alpha1", "kind": "Run", "metadata": {"name": run},
            "spec": {"channelName": channel, "prompt": prompt},
        });
        self.api("POST", "/apis/chanop.dev/v1alpha1/runs", &order.to_string()).0
    }

    /// A question to the operator's socket.
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        ask(&self.path("run/c.sock"), method, path, body)
    }

    /// A run as it is shown; null when it is not there.
    pub(crate) fn run(&self, run: &str) -> Value {
        let said = self.chanop(&["get", &format!("run/{run}"), "-o", "json"]);
        if said.code == 0 { serde_json::from_str(&said.out).unwrap() } else { Value::Null }
    }

    /// All runs that there are.
    pub(crate) fn runs(&self) -> Vec<Value> {
        let said = self.chanop(&["get", "runs", "-o", "json"]);
        let list: Value = serde_json::from_str(&said.out).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Until the run is as far.
    pub(crate) fn until_phase(&mut self, run: &str, phase: &str) -> Value {
        self.until_some(&format!("run/{run} is {phase}"), |ground| {
            let now = ground.run(run);
            (now["status"]["phase"] == phase).then_some(now)
        })
    }

    /// Until the run has ended, and how.
    pub(crate) fn until_ended(&mut self, run: &str) -> Value {
        self.until_some(&format!("run/{run} has ended"), |ground| {
            let now = ground.run(run);
            ends(&now).then_some(now)
        })
    }

    /// A file of the channel's workspace.
    pub(crate) fn of_workspace(&self, channel: &str, file: &str) -> PathBuf {
        self.path("home/src").join(channel).join(file)
    }

    /// Makes a file of the workspace that some script waits for.
    pub(crate) fn let_go(&self, channel: &str, file: &str) {
        fs::write(self.of_workspace(channel, file), "").unwrap();
    }

    /// How often the script was executed for this run.
    pub(crate) fn executions(&self, channel: &str, run: &str) -> usize {
        let bank = fs::read_to_string(self.of_workspace(channel, "bank")).unwrap_or_default();
        bank.lines().filter(|line| *line == run).count()
    }

    /// The arguments of an execution.
    pub(crate) fn argv(&self, channel: &str, run: &str, execution: u32) -> String {
        let file = format!("said/{run}.{execution}.argv");
        fs::read_to_string(self.of_workspace(channel, &file)).unwrap()
    }

    /// What an execution printed.
    pub(crate) fn printed(&self, channel: &str, run: &str, execution: u32) -> String {
        let file = format!("said/{run}.{execution}");
        fs::read_to_string(self.of_workspace(channel, &file)).unwrap()
    }

    /// The name of an attempt's container.
    pub(crate) fn attempt(&self, channel: &str, run: &str, number: u32) -> String {
        format!("chanop_{}_{channel}_{run}_{number}", self.instance)
    }
}

/// Has it ended, as it is shown?
pub(crate) fn ends(run: &Value) -> bool {
    ENDS.iter().any(|end| run["status"]["phase"] == *end)
}

/// The ends of its attempts, each in words: kind, result, class.
pub(crate) fn attempts(run: &Value) -> Vec<String> {
    let all = run["status"]["attempts"].as_array().cloned().unwrap_or_default();
    let words = |it: &Value| {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let [kind, result, class] = [&it["kind"], &it["end"]["result"], &it["end"]["class"]];
        format!("{} {} {} {}", it["number"], word(kind), word(result), word(class))
    };
    all.iter().map(words).collect()
}
