//! `kill -9` of the operator, again and again: the next one adopts, and nothing is ever doubled.

use std::time::Duration;

use crate::support::operator::Ground;
use crate::support::witness::Witness;

/// How often it is killed.
const KILLS: u64 = 50;
const CHANNELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A small generator (xorshift): a seed names a whole run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Less than `bound`.
    pub(super) fn roll(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// `CHANOP_TEST_SEED`, or another one each time.
pub(super) fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own to read")]
    let wished = std::env::var("CHANOP_TEST_SEED").ok();
    let seed = wished.map_or_else(
        || u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        |text| text.parse().expect("CHANOP_TEST_SEED is a number"),
    );
    #[expect(clippy::print_stdout, reason = "shown by the test harness when the test fails")]
    {
        println!("to run it like this again: CHANOP_TEST_SEED={seed}");
    }
    seed.max(1)
}

/// Somebody edits, and containers die, while the operator is about to.
fn churn(ground: &Ground, dice: &mut Dice, round: u64) {
    let channel = CHANNELS[usize::try_from(dice.roll(CHANNELS.len() as u64)).unwrap()];
    let container = ground.container(channel);
    match dice.roll(6) {
        // Limits change in place, the environment does not.
        0 => write(
            ground,
            channel,
            &format!("  resources: {{limits: {{memory: {}Mi}}}}\n", 64 + round),
        ),
        1 | 2 => write(ground, channel, &format!("  env: [{{name: ROUND, value: \"{round}\"}}]\n")),
        3 => drop(ground.try_docker(&["kill", &container])),
        4 => drop(ground.try_docker(&["rm", "-f", &container])),
        _ => {}
    }
}

fn write(ground: &Ground, channel: &str, more: &str) {
    let more = format!("  updateStrategy: {{type: Recreate}}\n{more}");
    ground.channel(&format!("{channel}.yaml"), channel, &more);
}

#[test]
fn an_operator_that_is_killed_at_fifty_random_instants_never_doubles_a_shell_and_leaves_nothing_over()
 {
    let mut dice = Dice(seed());
    let mut ground = Ground::new();
    for channel in CHANNELS {
        write(&ground, channel, "");
    }
    let witness = Witness::new(&ground);
    for round in 0..KILLS {
        ground.spawn();
        // Half of them die early, while they connect and adopt; the others amid the work.
        let span = if dice.roll(2) == 0 { 250 } else { 1200 };
        let (first, second) = (dice.roll(span), dice.roll(span));
        std::thread::sleep(Duration::from_millis(first.min(second)));
        churn(&ground, &mut dice, round);
        std::thread::sleep(Duration::from_millis(first.abs_diff(second)));
        ground.kill();
    }
    ground.start();
    ground.until_converged(&CHANNELS);
    let mut expected: Vec<String> = CHANNELS.map(|channel| ground.container(channel)).to_vec();
    expected.sort();
    assert_eq!(
        ground.containers(),
        expected,
        "{}",
        ground.dump("one container a channel, no other")
    );
    for channel in CHANNELS {
        assert!(ground.running(channel).is_some(), "{}", ground.dump(channel));
        let text = std::fs::read_to_string(ground.path(&format!("specs/{channel}.yaml"))).unwrap();
        let env = ground.shell(channel)["Config"]["Env"].to_string();
        let round = text.split("value: \"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(round) = round {
            assert!(env.contains(&format!("ROUND={round}\"")), "{channel} follows its file: {env}");
        }
    }
    let networks =
        ground.docker(&["network", "ls", "-q", "--filter", &format!("name={}", ground.instance)]);
    assert_eq!(networks.lines().count(), 1, "one network");
    let most = witness.most_at_once(&ground);
    assert_eq!(most.keys().map(String::as_str).collect::<Vec<_>>(), CHANNELS);
    assert!(most.values().all(|most| *most == 1), "two shells of one channel at once: {most:?}");
}
