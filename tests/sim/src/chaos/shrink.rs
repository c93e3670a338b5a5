//! From a seed that fails to the least of it that still does.

use super::{Broken, Case, run_case};
use crate::driver::Luck;

/// So many shorter cases are tried: some seconds.
const TRIES: usize = 250;

/// Leaves out whatever is not needed for the same promise to be broken. What is left is what people did and what went wrong.
pub fn shrink(broken: Broken) -> Broken {
    let mut search = Search {
        case: Case { seed: broken.seed, ..Case::default() },
        promise: promise_of(&broken).to_owned(),
        best: broken,
        tries: TRIES,
    };
    for luck in 0..Luck::COUNT {
        search.without(|case| {
            case.calm.insert(luck);
        });
    }
    // Half of the steps at once, then ever fewer.
    let steps = search.best.steps;
    let mut width = steps.div_ceil(2).max(1);
    loop {
        for from in (0..steps).step_by(usize::try_from(width).unwrap_or(1)) {
            search.without(|case| case.skipped.extend(from..steps.min(from + width)));
        }
        if width == 1 {
            return search.best;
        }
        width = width.div_ceil(2);
    }
}

struct Search {
    case: Case,
    promise: String,
    best: Broken,
    tries: usize,
}

impl Search {
    fn without(&mut self, change: impl FnOnce(&mut Case)) {
        let mut less = self.case.clone();
        change(&mut less);
        let same = less.skipped == self.case.skipped && less.calm == self.case.calm;
        if same || self.tries == 0 {
            return;
        }
        self.tries -= 1;
        if let Err(broken) = run_case(&less)
            && promise_of(&broken) == self.promise
        {
            self.case = less;
            self.best = Broken { steps: self.best.steps, ..broken };
        }
    }
}

/// `S12`, `L1`.
fn promise_of(broken: &Broken) -> &str {
    broken.what.split(':').next().unwrap_or_default()
}
