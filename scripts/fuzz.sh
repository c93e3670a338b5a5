#!/usr/bin/env bash
# Runs every fuzz target, or those given, for FUZZ_SECONDS each. What they find is in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
command -v cargo-fuzz >/dev/null || { echo 'make fuzz: cargo-fuzz is missing; get it with: cargo install --locked cargo-fuzz' >&2; exit 1; }
rustup run nightly rustc --version >/dev/null 2>&1 || { echo 'make fuzz: a nightly compiler is missing; get it with: rustup toolchain install nightly' >&2; exit 1; }

host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)

# Limits: no input needs a quarter of this memory, one allocation of 128 MB, or ten seconds.
limits=(-rss_limit_mb=1024 -malloc_limit_mb=128 -timeout=10 -max_len=16384)
failed=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    echo "make fuzz: $target, $seconds s"
    nice cargo +nightly fuzz run "$target" --target "$host" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 || failed+=("$target")
done
((${#failed[@]} == 0)) || { echo "make fuzz: failed: ${failed[*]}; the inputs are in fuzz/artifacts" >&2; exit 1; }
