//! A script that speaks for the agent's CLI and does next to nothing, and channels and orders for it.
//!
//! The prompt is a number: so many lines, forty milliseconds apart, each with the time at which it was written. Busybox's `date` knows
//! whole seconds only; its `adjtimex` shows the kernel's clock as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use chanop::resource::ResourceName;
use chanop::runner::AgentRequest;
use serde_json::Value;

use crate::Outcome;
use crate::ground::Ground;

/// See the module. It is `printf` of the shell itself that prints: a line comes out the moment after the clock was read.
const SCRIPT: &str = r#"#!/bin/sh
lines=$(cat)
session=
for word in "$@"; do
    case $word in --session-id=*) session=${word#*=} ;; esac
done
printf '{"type":"system","subtype":"init","session_id":"%s","model":"a-script"}\n' "$session"
n=0
while [ "$n" -lt "$lines" ]; do
    [ "$n" -eq 0 ] || sleep 0.037
    n=$((n + 1))
    set -- $(adjtimex)
    printf '{"type":"assistant","message":{"id":"m%s","type":"message","role":"assistant","model":"a-script","content":[{"type":"text","text":"%s"}]},"session_id":"%s"}\n' "$n" "$*" "$session"
done
printf '{"type":"result","subtype":"success","is_error":false,"num_turns":%s,"session_id":"%s","total_cost_usd":0,"result":"done"}\n' "$n" "$session"
"#;

/// In the kernel's word of its clock: the fraction is in nanoseconds.
const STATUS_NANO: i128 = 0x2000;

/// A channel without a shell whose agent is the script; `runs` is what its file says of runs, `more` are further lines.
pub(crate) fn channel(ground: &Ground, name: &str, runs: &str, more: &str) -> Outcome<()> {
    ground.secret("anthropic", "api-key", "sk-of-the-bench")?;
    ground.workspace(name)?;
    let bin = ground.path("home/src").join(name).join("agent.sh");
    fs::write(&bin, SCRIPT)?;
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755))?;
    let more = format!(
        "  agent: {{bin: '{}', credentials: {{secret: anthropic}}}}\n  shell: {{enabled: false}}\n  \
         runs: {{{runs}}}\n{more}",
        bin.display()
    );
    ground.save_with(&format!("{name}.yaml"), name, &more)
}

/// An order for so many lines.
pub(crate) fn order(channel: &str, run: &str, lines: usize) -> Outcome<Value> {
    let request = AgentRequest::prompt(ResourceName::parse(channel)?, lines.to_string());
    Ok(request.with_key(ResourceName::parse(run)?).object())
}

/// When a line of the script was written, in nanoseconds since 1970.
pub(crate) fn written(text: &str) -> Option<i128> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse::<i128>().ok()
    };
    let (seconds, fraction) = (after("time.tv_sec:")?, after("time.tv_usec:")?);
    let is_nano = after("status:")? & STATUS_NANO != 0;
    Some(seconds * 1_000_000_000 + fraction * if is_nano { 1 } else { 1_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_clock_is_read_in_microseconds_or_in_nanoseconds() {
        let text = "mode: 0 status: 64 (UNSYNC) time.tv_sec: 5 time.tv_usec: 409004 return";
        assert_eq!(written(text), Some(5_409_004_000));
        let text = "mode: 0 status: 8193 (PLL) time.tv_sec: 5 time.tv_usec: 409004 return";
        assert_eq!(written(text), Some(5_000_409_004));
        assert_eq!(written("done"), None);
    }
}
