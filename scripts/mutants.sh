#!/usr/bin/env bash
# Does the simulator bite? Each patch in tests/sim/mutants breaks the core in one way, on a copy of the tree; the simulator's
# suite must fail for it. The table says which part of the suite did.
#
# Not part of CI: some twenty seconds for each on a quiet machine. Arguments are names of mutants; none: all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
mutants=$root/tests/sim/mutants
copy=$root/target/mutants
# So many seeds, and so long for each part of the suite: a core that goes round and round is as good as caught.
seeds=${MUTANT_SEEDS:-0-300}
patience=600
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

names=("$@")
[[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(cd "$mutants" && ls -- *.patch | sed 's/\.patch$//')

# The copy keeps its place, so that each mutant costs the build of what it changes.
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z | xargs -0 cp --parents -t "$copy"
cd "$copy"
git init -q .

part() {
    local word=$1
    shift
    timeout "$patience" cargo test --locked --quiet -p chanop-sim "$@" >"$copy/$word.log" 2>&1
}

# The first part of the suite that fails; nothing when none does.
caught_by() {
    part planner --test planner || { echo planner; return; }
    part scenarios --test scenarios --test files || { echo scenarios; return; }
    part runs --test runs --test matrix || { echo runs; return; }
    part exhaustive --test exhaustive --test exhaustive_run single || { echo exhaustive; return; }
    SIM_SEED=$seeds part seeds --test seeds one_seed_is_replayed || { echo seeds; return; }
    part pairs --test exhaustive --test exhaustive_run each_crash || { echo pairs; return; }
}

# What fails anyway catches nothing.
if by=$(caught_by) && [[ -n "$by" ]]; then
    echo "without any mutant, $by fails: $copy/$by.log" >&2
    exit 2
fi

survivors=() broken=()
printf '%-34s %s\n' mutant 'caught by'
for name in "${names[@]}"; do
    patch=$mutants/$name.patch
    if ! git apply "$patch"; then
        printf '%-34s %s\n' "$name" 'DOES NOT APPLY ANY MORE'
        broken+=("$name")
        continue
    fi
    if cargo test --locked --quiet -p chanop-sim --no-run >"$copy/build-$name.log" 2>&1; then
        by=$(caught_by)
        printf '%-34s %s\n' "$name" "${by:-NOT CAUGHT}"
        [[ -n "$by" ]] || survivors+=("$name")
    else
        printf '%-34s %s\n' "$name" "DOES NOT BUILD: $copy/build-$name.log"
        broken+=("$name")
    fi
    git apply -R "$patch"
done

if [[ ${#broken[@]} -gt 0 ]]; then
    echo "${#broken[@]} of ${#names[@]} are no mutants of this core: ${broken[*]}" >&2
    exit 2
fi
if [[ ${#survivors[@]} -gt 0 ]]; then
    echo "${#survivors[@]} of ${#names[@]} survive: ${survivors[*]}" >&2
    exit 1
fi
echo "all ${#names[@]} are caught"
