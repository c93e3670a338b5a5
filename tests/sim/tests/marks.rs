//! Every branch of recovery is taken by some seed: one that never is, is a guess.

use std::collections::BTreeSet;

use chanop::planner::Mark;
use chanop_sim::chaos;

/// So many seeds are tried before a branch counts as never taken; the rarest needs more than a thousand.
const SEEDS: u64 = 4_000;

#[test]
fn every_branch_of_recovery_is_taken() {
    let mut missing: BTreeSet<Mark> = Mark::ALL.iter().copied().collect();
    for seed in 0..SEEDS {
        // A seed that fails is another test's to tell.
        let Ok(summary) = chaos::run(seed) else { continue };
        for mark in summary.marks {
            if missing.remove(&mark) && seed > 100 {
                println!("{mark:?} first in seed {seed}");
            }
        }
        if missing.is_empty() {
            println!("all {} by seed {seed}", Mark::ALL.len());
            return;
        }
    }
    panic!("never taken in {SEEDS} seeds: {missing:?}");
}
