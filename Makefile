# Every command a person or a machine needs. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# An environment's RUSTFLAGS would replace those of .cargo/config.toml (frame pointers), not add to them.
ifneq ($(strip $(RUSTFLAGS)$(CARGO_ENCODED_RUSTFLAGS)),)
$(warning RUSTFLAGS of the environment is ignored: the flags of .cargo/config.toml are needed)
endif
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

# Continuous integration must build what Cargo.lock says; at a desk a changed manifest may update it.
LOCKED := $(if $(CI),--locked)

HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RUNNER = CARGO_TARGET_$(shell echo '$(HOST)' | tr 'a-z-' 'A-Z_')_RUNNER
VALGRIND := valgrind --quiet --error-exitcode=1

.PHONY: help setup run test fuzz bench sanitize miri

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## install what the tests need and is missing
	@scripts/setup.sh test

run: ## start the gateway and print the addresses to publish to and to watch
	@scripts/setup.sh run
	cargo run $(LOCKED) --release -p thalweg-gateway -- serve

test: setup ## format, lints, documentation, all tests; the runtime's optimised too; a little fuzzing
	cargo fmt --check
	cargo clippy $(LOCKED) --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --no-deps --all-features
	cargo test $(LOCKED) --workspace --all-features
	cargo test $(LOCKED) --release -p thalweg-runtime --all-features --lib --tests
	scripts/fuzz.sh 20

FUZZ_SECONDS := 600
fuzz: setup ## fuzz every parser, each for FUZZ_SECONDS=600; fuzz/README.md tells more
	scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

bench: ## measure runtime, SRT and gateway against others; writes target/bench/*.json
	@scripts/setup.sh bench
	cargo run $(LOCKED) --profile bench -p thalweg-benches --bin runtime
	cargo run $(LOCKED) --profile bench -p thalweg-benches --bin srt
	cargo run $(LOCKED) --profile bench -p thalweg-benches --bin gateway

sanitize: setup ## the runtime's tests under valgrind
	THALWEG_VALGRIND=1 $(RUNNER)='$(VALGRIND)' \
		cargo test $(LOCKED) -p thalweg-runtime --all-features --lib --tests

miri: ## the pure parts of the runtime under Miri (needs a nightly toolchain with miri)
	@cargo +nightly miri --version >/dev/null 2>&1 || { \
		echo 'miri: missing: the component miri of the nightly toolchain' >&2; \
		echo 'miri: install it: rustup toolchain install nightly --component miri,rust-src' >&2; \
		exit 1; }
	cargo +nightly miri test -p thalweg-runtime --lib -- run_queue timer
