#!/bin/sh
# Builds the fuzz targets with coverage, by stable Rust, and runs one: fuzz/run.sh json [RUNS]. What it finds on the way goes
# to target/corpus; the inputs in corpus/ are where it begins.
set -eu
cd "$(dirname "$0")"
target=$1 runs=${2:-10000000}
# What cargo-fuzz passes, less the sanitizer that needs an unstable compiler.
flags="--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4"
flags="$flags -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table"
# For the target alone: build scripts and macros have no fuzzer to call.
host=$(rustc -vV | sed -n 's/^host: //p')
# Where cargo puts things is for it to say.
folder=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
mkdir -p "$folder/corpus/$target"
RUSTFLAGS="$flags" exec cargo run --release --target "$host" --bin "$target" -- "$folder/corpus/$target" "corpus/$target" \
    -runs="$runs" -max_len=2000 -timeout=5 -print_final_stats=1 -artifact_prefix="$folder/"
