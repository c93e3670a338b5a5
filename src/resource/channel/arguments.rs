//! Which extra arguments a channel may give to the CLI: `agent.args`.
//!
//! What is refused: options that chanop sets itself, those that take the run out of its session, its container or its output,
//! and every word that would become the prompt. The CLI's parser (commander) decides what that means, as it was seen to do in
//! 2.1.330: no long option can be shortened (`--mod` is unknown); short ones can be joined (`-pc` continues a session), so
//! no short one passes but the two that are harmless; an option that needs a value takes the next argument whatever it looks
//! like, and so would take chanop's own first one away; a list of values ends at the next option. An option that is not
//! known here passes, since a newer CLI has more, but a value of it must be written `--option=value`.

use crate::resource::decode::{Decoder, Words};
use crate::resource::node::{Node, Value, shown};
use crate::resource::validate::Code;

/// Refused for the sake of the output.
const OUTPUT: &str = "";
/// Refused because the work would be done, or steered, elsewhere.
const ELSEWHERE: &str = "elsewhere";
/// Refused because the CLI then does something else than answer.
const NO_ANSWER: &str = "no answer";

/// Options that are refused, and what does what their author wants: a field, or one of the reasons above.
const RESERVED: &[(&str, &str)] = &[
    ("--", OUTPUT),
    ("--print", OUTPUT),
    ("--verbose", OUTPUT),
    ("--output-format", OUTPUT),
    ("--input-format", OUTPUT),
    ("--include-partial-messages", OUTPUT),
    ("--include-hook-events", OUTPUT),
    ("--forward-subagent-text", OUTPUT),
    ("--replay-user-messages", OUTPUT),
    ("--prompt-suggestions", OUTPUT),
    ("--enable-auth-status", OUTPUT),
    ("--permission-prompt-tool", OUTPUT),
    // Without them there is no `/compact`.
    ("--disable-slash-commands", OUTPUT),
    ("--permission-mode", "agent.permissionMode"),
    ("--inherit-permission-mode", "agent.permissionMode"),
    // Wins over --permission-mode, wherever it stands.
    ("--dangerously-skip-permissions", "agent.permissionMode"),
    ("--allow-dangerously-skip-permissions", "agent.permissionMode"),
    ("--model", "agent.model"),
    ("--append-system-prompt", "agent.systemPrompt"),
    ("--append-system-prompt-file", "agent.systemPrompt"),
    ("--system-prompt-snapshot", "agent.systemPrompt"),
    ("--resume", "a Run's session"),
    ("--resume-session-at", "a Run's session"),
    ("--resume-drops-turn", "a Run's session"),
    ("--rewind-files", "a Run's session"),
    ("--continue", "a Run's session"),
    ("--from-pr", "a Run's session"),
    ("--fork-session", "a Run's session.fork"),
    ("--session-id", "a Run's session"),
    ("--no-session-persistence", "a Run's session"),
    ("--mcp-config", "agent.mcpServers"),
    ("--strict-mcp-config", "agent.workspaceSettings"),
    ("--settings", "agent.workspaceSettings"),
    ("--setting-sources", "agent.workspaceSettings"),
    ("--managed-settings", "agent.workspaceSettings"),
    ("--project-config-root", "agent.workspaceSettings"),
    // Signs in by other means than chanop's.
    ("--bare", "agent.workspaceSettings"),
    ("--add-dir", "mounts"),
    ("--worktree", "workspace"),
    ("--max-turns", "runs.maxTurns"),
    ("--max-budget-usd", "runs.maxBudgetUSD"),
    ("--background", ELSEWHERE),
    ("--bg", ELSEWHERE),
    ("--cloud", ELSEWHERE),
    ("--desktop", ELSEWHERE),
    ("--environment", ELSEWHERE),
    ("--rc", ELSEWHERE),
    ("--remote", ELSEWHERE),
    ("--remote-control", ELSEWHERE),
    ("--remote-control-session-name-prefix", ELSEWHERE),
    ("--sdk-url", ELSEWHERE),
    ("--teleport", ELSEWHERE),
    ("--tmux", ELSEWHERE),
    ("--web", ELSEWHERE),
    ("--help", NO_ANSWER),
    ("--init-only", NO_ANSWER),
    ("--version", NO_ANSWER),
];

/// The long form of a short option.
const SHORT: &[(char, &str)] = &[
    ('c', "--continue"),
    ('d', "--debug"),
    ('h', "--help"),
    ('n', "--name"),
    ('p', "--print"),
    ('r', "--resume"),
    ('v', "--version"),
    ('w', "--worktree"),
];

/// What an option takes of the arguments that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing.
    Nothing,
    /// The next one, if it is a word.
    Optional,
    /// The next one, whatever it is.
    One,
    /// The next one, whatever it is, and all words behind it.
    List,
    /// All words: it has its first already, or is refused anyway.
    More,
}

/// Options that may be given and take something.
const TAKING: &[(&str, Takes)] = &[
    ("--agent", Takes::One),
    ("--agents", Takes::One),
    ("--allowed-tools", Takes::List),
    ("--allowedTools", Takes::List),
    ("--append-subagent-system-prompt", Takes::One),
    ("--append-subagent-system-prompt-file", Takes::One),
    ("--autocompact", Takes::One),
    ("--betas", Takes::List),
    ("--debug", Takes::Optional),
    ("--debug-file", Takes::One),
    ("--disallowed-tools", Takes::List),
    ("--disallowedTools", Takes::List),
    ("--effort", Takes::One),
    ("--fallback-model", Takes::One),
    ("--file", Takes::List),
    ("--json-schema", Takes::One),
    ("--max-thinking-tokens", Takes::One),
    ("--name", Takes::One),
    ("--permission-prompts", Takes::One),
    ("--plugin-dir", Takes::One),
    ("--plugin-url", Takes::One),
    ("--system-prompt", Takes::One),
    ("--system-prompt-file", Takes::One),
    ("--task-budget", Takes::One),
    ("--thinking", Takes::One),
    ("--tools", Takes::List),
];

/// Reports every argument of `args` that may not stand there.
pub(super) fn check(node: &Node, decoder: &mut Decoder) {
    let Some(Value::List(items)) = node.get("args").map(|args| &args.value) else { return };
    // What is no text was reported as that, and counts as a word that something takes.
    let texts: Vec<&str> = items.iter().map(|item| item.as_str().unwrap_or("--")).collect();
    for (index, code, words) in judge(&texts) {
        let Some(item) = items.get(index).filter(|item| item.as_str().is_some()) else { continue };
        decoder.within("args", |decoder| {
            decoder.within_item(index, |decoder| decoder.report(code, item.place, words));
        });
    }
}

/// What is wrong with `arguments`, each with its index.
fn judge(arguments: &[&str]) -> Vec<(usize, Code, Words)> {
    let mut wrong = Vec::new();
    let mut before = Takes::Nothing;
    for (index, argument) in arguments.iter().enumerate() {
        let is_option = argument.starts_with('-') && *argument != "-";
        before = match before {
            Takes::One | Takes::List if is_option => {
                wrong.push((index, Code::InvalidText, taken(arguments, index)));
                Takes::More
            }
            Takes::One | Takes::Optional if !is_option => Takes::Nothing,
            Takes::List | Takes::More if !is_option => Takes::More,
            _ if is_option => match option(argument) {
                Ok(takes) => takes,
                Err(words) => {
                    wrong.push((index, Code::ReservedArgument, words));
                    Takes::More
                }
            },
            _ => {
                let words = Words::new(format!("`{}` would become the prompt", shown(argument)))
                    .label("not an option")
                    .help("write a value together with its option: --option=value");
                wrong.push((index, Code::InvalidText, words));
                Takes::Nothing
            }
        };
    }
    if let (Takes::One | Takes::List, Some(last)) = (before, arguments.len().checked_sub(1)) {
        wrong.push((last, Code::InvalidText, taken(arguments, last + 1)));
    }
    wrong
}

/// What an option takes, or why it may not stand there.
fn option(argument: &str) -> Result<Takes, Words> {
    let (name, has_value) = match argument.strip_prefix("--") {
        Some(_) => (argument.split('=').next().unwrap_or_default(), argument.contains('=')),
        None => short(argument)?,
    };
    if let Some((flag, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Err(refusal(flag, instead));
    }
    let takes = TAKING.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes);
    Ok(match takes {
        Some(Takes::List) if has_value => Takes::More,
        Some(takes) if !has_value => takes,
        _ => Takes::Nothing,
    })
}

/// The long form of a short option, and whether its value follows at once. Only the first letter needs a look: the refused
/// ones are refused, and the others take what follows as their value.
fn short(argument: &str) -> Result<(&'static str, bool), Words> {
    let mut letters = argument.chars().skip(1);
    let first = letters.next();
    let known = SHORT.iter().find(|(letter, _)| Some(*letter) == first);
    known.map(|(_, long)| (*long, letters.next().is_some())).ok_or_else(|| {
        Words::new(format!("`{}` is no short option that chanop knows", shown(argument)))
            .label("may stand for several options")
            .help("write the long form")
    })
}

fn refusal(flag: &str, instead: &str) -> Words {
    let words = |message: String| Words::new(message).label("not here");
    match instead {
        OUTPUT => words(format!("chanop sets `{flag}` itself"))
            .help("leave it out: chanop reads the agent's output and needs it as it is"),
        ELSEWHERE => words(format!("with `{flag}` the work would leave the container"))
            .help("leave it out: chanop looks after what runs in its container"),
        NO_ANSWER => words(format!("with `{flag}` the agent does no work")).help("leave it out"),
        field => words(format!("chanop sets `{flag}` itself")).help(format!("use {field}")),
    }
}

/// The option before `index` has no value, and would take what comes next for it.
fn taken(arguments: &[&str], index: usize) -> Words {
    let before = index.checked_sub(1).and_then(|at| arguments.get(at)).copied().unwrap_or_default();
    let next = arguments
        .get(index)
        .map_or("chanop's next option".to_owned(), |next| format!("`{}`", shown(next)));
    Words::new(format!("`{}` needs a value, and would take {next} for it", shown(before)))
        .label("a value that begins with `-`, or none")
        .help("write a value together with its option: --option=value")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of each wrong argument.
    fn judged(arguments: &[&str]) -> Vec<(usize, String)> {
        judge(arguments).into_iter().map(|(index, _, words)| (index, words.message)).collect()
    }

    /// The indices alone.
    fn wrong(arguments: &[&str]) -> Vec<usize> {
        judge(arguments).into_iter().map(|(index, ..)| index).collect()
    }

    #[test]
    fn what_is_harmless_passes_in_every_form() {
        for arguments in [
            &["--effort=low"][..],
            &["--effort", "low"],
            &["--allowedTools", "Bash(git *)", "Edit", "--effort=low"],
            &["--allowed-tools=Bash", "Edit"],
            &["--tools", ""],
            &["--tools="],
            &["--debug", "--effort=low"],
            &["--debug", "api,mcp"],
            &["-d"],
            &["-dapi"],
            &["-n", "a name"],
            &["-nname"],
            &["--json-schema={\"type\":\"object\"}"],
            &["--system-prompt=-x y"],
            &["--option-of-tomorrow"],
            &["--option-of-tomorrow=value"],
            &["--plugin-dir", "/a", "--plugin-dir", "/b"],
        ] {
            assert_eq!(wrong(arguments), [0; 0], "{arguments:?}");
        }
    }

    #[test]
    fn what_chanop_sets_is_refused_in_every_form() {
        for arguments in [
            &["--model", "opus"][..],
            &["--model=opus"],
            &["-p"],
            &["-pc"],
            &["-c"],
            &["-cd"],
            &["-rabc"],
            &["-r", "abc"],
            &["-h"],
            &["-v"],
            &["-w"],
            &["--"],
            &["--mcp-config", "a.json", "b.json"],
            &["--bg"],
            &["--managed-settings={}"],
        ] {
            assert_eq!(wrong(arguments), [0], "{arguments:?}");
        }
    }

    #[test]
    fn a_joined_or_unknown_short_option_is_refused() {
        for argument in ["-x", "-xp", "-é", "-2"] {
            let found = judged(&[argument]);
            assert!(found[0].1.contains("no short option"), "{found:?}");
        }
    }

    #[test]
    fn a_word_that_would_become_the_prompt_is_refused() {
        for (arguments, index) in [
            (&["mcp"][..], 0),
            (&["-"], 0),
            (&[""], 0),
            (&["--effort", "low", "do this"], 2),
            (&["--effort=low", "do this"], 1),
            (&["--debug", "api", "do this"], 2),
            (&["--safe-mode", "do this"], 1),
            (&["--option-of-tomorrow", "value"], 1),
        ] {
            let found = judged(arguments);
            assert_eq!(found.len(), 1, "{arguments:?}: {found:?}");
            assert_eq!(found[0].0, index, "{arguments:?}");
            assert!(found[0].1.ends_with("would become the prompt"), "{found:?}");
        }
    }

    #[test]
    fn an_option_without_its_value_does_not_take_chanops_own() {
        let found = judged(&["--effort"]);
        let text = "`--effort` needs a value, and would take chanop's next option for it";
        assert_eq!(found, [(0, text.to_owned())]);
        assert_eq!(wrong(&["--tools"]), [0]);
        // The CLI would take --print for the name of an agent; what follows is reported for itself.
        assert_eq!(wrong(&["--agent", "--effort=low"]), [1]);
        assert_eq!(wrong(&["--agent", "--print", "--model=x"]), [1, 2]);
    }

    /// Every option that `claude --help` of 2.1.330 shows, and `!` for those that are refused.
    const HELP: &str = "!--add-dir --agent --agents !--allow-dangerously-skip-permissions --allowedTools \
        --allowed-tools !--append-system-prompt --autocompact --ax-screen-reader !--bg !--background !--bare --betas \
        --brief --chrome !--cloud !--continue !--dangerously-skip-permissions --debug --debug-file !--desktop \
        !--disable-slash-commands --disallowedTools --disallowed-tools --effort !--environment \
        --exclude-dynamic-system-prompt-sections --fallback-model --file !--fork-session !--forward-subagent-text \
        !--from-pr !--help --ide !--include-hook-events !--include-partial-messages !--input-format --json-schema \
        !--max-budget-usd !--mcp-config !--model --name --no-chrome !--no-session-persistence !--output-format \
        !--permission-mode --permission-prompts --plugin-dir --plugin-url !--print !--prompt-suggestions \
        !--remote-control !--remote-control-session-name-prefix !--replay-user-messages --restricted !--resume \
        --safe-mode !--session-id !--setting-sources !--settings !--strict-mcp-config --system-prompt \
        !--system-prompt-snapshot !--teleport !--tmux --tools !--verbose !--version !--worktree";

    #[test]
    fn every_option_of_the_clis_help_has_been_thought_about() {
        for entry in HELP.split_whitespace() {
            let name = entry.trim_start_matches('!');
            let refused = option(&format!("{name}=x")).is_err();
            assert_eq!(refused, entry.starts_with('!'), "{name}");
        }
        assert_eq!(HELP.split_whitespace().count(), 69);
    }
}
