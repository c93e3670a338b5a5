//! Many seeds, each run twice.

use chanop_sim::chaos::{self, Broken};

/// How many seeds plain `cargo nextest run` tries, in each of four tests.
const SEEDS: u64 = 400;

/// A seed runs twice: two logs that differ mean chance that no seed holds.
fn fails(seed: u64) -> Option<Broken> {
    match (chaos::run(seed), chaos::run(seed)) {
        (Ok(first), Ok(second)) => {
            let differs = first.log.iter().zip(&second.log).find(|(a, b)| a != b)?;
            let what = format!("it differs from itself:\n  {}\n  {}", differs.0, differs.1);
            Some(Broken { seed, steps: 0, what, log: first.log })
        }
        (Err(broken), _) | (_, Err(broken)) => Some(broken),
    }
}

fn clean(range: std::ops::Range<u64>) {
    let mut failing: Vec<Broken> = range.filter_map(fails).collect();
    if failing.is_empty() {
        return;
    }
    let count = failing.len();
    let first = failing.swap_remove(0);
    let (seed, least) = (first.seed, chaos::shrink(first));
    let from = least.log.len().saturating_sub(120);
    panic!(
        "{count} seeds fail, seed {seed} first: {}\nthe least of it that still fails so:\n{}\n`make sim SEED={seed}` shows all of it",
        least.what,
        least.log.get(from..).unwrap_or_default().join("\n")
    );
}

#[test]
fn seeds_are_clean() {
    clean(0..SEEDS);
}

#[test]
fn seeds_are_clean_in_the_second_quarter() {
    clean(SEEDS..2 * SEEDS);
}

#[test]
fn seeds_are_clean_in_the_third_quarter() {
    clean(2 * SEEDS..3 * SEEDS);
}

#[test]
fn seeds_are_clean_in_the_last_quarter() {
    clean(3 * SEEDS..4 * SEEDS);
}

#[test]
fn one_seed_is_replayed() {
    #[expect(clippy::disallowed_methods, reason = "a person names the seed to be replayed")]
    let seeds = std::env::var("SIM_SEED").unwrap_or_else(|_| "1".to_owned());
    for seed in seeds.split(',') {
        let (from, to) = seed.split_once('-').unwrap_or((seed, seed));
        let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
        let mut kinds = std::collections::BTreeMap::<String, (u64, u64)>::new();
        for seed in from..=to {
            match chaos::run(seed) {
                Ok(summary) if from == to => {
                    println!("{}", summary.log.join("\n"));
                    println!(
                        "seed {seed} is clean: {} inputs, {} calls, {:?}",
                        summary.inputs, summary.calls, summary.time
                    );
                }
                Ok(_) => {}
                Err(broken) if from == to => {
                    println!("{}\n{}", broken.log.join("\n"), broken.what);
                    let least = chaos::shrink(broken);
                    println!("\nthe least of it that still fails so:\n{}", least.log.join("\n"));
                    panic!("seed {seed}: {}", least.what);
                }
                Err(broken) => {
                    let kind: String =
                        broken.what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
                    kinds.entry(kind).or_insert((seed, 0)).1 += 1;
                }
            }
        }
        for (kind, (seed, count)) in &kinds {
            println!("{count:>5} × {kind} … seed {seed}");
        }
        assert!(kinds.is_empty(), "{} kinds of failure in seeds {from} to {to}", kinds.len());
    }
}
