//! Many seeds, each run twice.

use chanop_sim::chaos::{self, Broken};

/// How many seeds each of twenty parts tries when nobody says otherwise: seconds in a dev build. `make test` says 1,000, with
/// the profile `sim`.
const SEEDS: u64 = 50;

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

/// The part of this number. Each part is a test, so that they share the machine's CPUs.
fn part(number: u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "`make test` tries more than a dev build can afford"
    )]
    let seeds = std::env::var("SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    clean(number * seeds..(number + 1) * seeds);
}

macro_rules! parts {
    ($($name:ident: $number:literal,)*) => {
        $(#[test]
        fn $name() {
            part($number);
        })*
    };
}

parts! {
    seeds_are_clean_in_part_00: 0,
    seeds_are_clean_in_part_01: 1,
    seeds_are_clean_in_part_02: 2,
    seeds_are_clean_in_part_03: 3,
    seeds_are_clean_in_part_04: 4,
    seeds_are_clean_in_part_05: 5,
    seeds_are_clean_in_part_06: 6,
    seeds_are_clean_in_part_07: 7,
    seeds_are_clean_in_part_08: 8,
    seeds_are_clean_in_part_09: 9,
    seeds_are_clean_in_part_10: 10,
    seeds_are_clean_in_part_11: 11,
    seeds_are_clean_in_part_12: 12,
    seeds_are_clean_in_part_13: 13,
    seeds_are_clean_in_part_14: 14,
    seeds_are_clean_in_part_15: 15,
    seeds_are_clean_in_part_16: 16,
    seeds_are_clean_in_part_17: 17,
    seeds_are_clean_in_part_18: 18,
    seeds_are_clean_in_part_19: 19,
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
