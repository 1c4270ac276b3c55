#!/usr/bin/env bash
# Fuzzes the parsers: scripts/fuzz.sh SECONDS [TARGET…]
#
# Runs each target (a folder of fuzz/corpus) for so many seconds under libFuzzer, as many at a time as there are
# processors. Inputs grow from the committed seeds and from what earlier runs found, which is kept below the target folder.
# Works with stable Rust: LLVM's coverage pass is part of every rustc, only sanitizers need another one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET…]}
shift
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(ls fuzz/corpus)

host=$(rustc -vV | sed -n 's/^host: //p')
build=${CARGO_TARGET_DIR:-target}
export program=$build/$host/fuzz/thalweg-fuzz
export found=$build/fuzz seconds

# These add to the flags of .cargo/config.toml. With --target they are for our code, not for build scripts.
flags=(
    --cfg fuzzing
    -C passes=sancov-module
    -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table
    -C llvm-args=-sanitizer-coverage-trace-compares
)
cargo build ${CI:+--locked} --profile fuzz -p thalweg-fuzz --target "$host" \
    --config "build.rustflags=[$(printf '"%s",' "${flags[@]}")]"

# Fuzzes one target. The log ends with what was tried, or with the input that failed.
run() {
    local target=$1
    local kept=$found/corpus/$target failures=$found/failures log=$found/$target.log
    mkdir -p "$kept" "$failures"
    local dictionary=fuzz/dictionaries/$target.txt options=(
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024
        -artifact_prefix="$failures/$target-" -print_final_stats=1
    )
    [[ ! -e $dictionary ]] || options+=(-dict="$dictionary")
    if THALWEG_FUZZ=$target "$program" "${options[@]}" "$kept" "fuzz/corpus/$target" >"$log" 2>&1; then
        echo "fuzz $target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1 inputs/p' "$log"), none failed"
    else
        grep -v '^#' "$log" | tail -n 60
        local input
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "fuzz $target: FAILED; all of it is in $log"
        echo "fuzz $target: replay it: cargo run -p thalweg-fuzz -- $target $input"
        return 1
    fi
}
export -f run

printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'run {}'
