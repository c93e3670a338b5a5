# What one does with this tree. Every target sets up what it needs, or says in one line what is missing.
#
# The artefacts lie in target/<host>/debug because .cargo/config.toml names the target (static binaries need that).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
.NOTPARALLEL:

CARGO ?= cargo
# Arguments for the tests: make test TESTS=names_that_could
TESTS ?=
# How many seeds of the simulator each of twenty parts tries.
SEEDS ?= 1000
TOOLS := $(CURDIR)/target/tools
# Where cargo puts what it makes for the target that .cargo/config.toml names.
OUT = $(or $(CARGO_TARGET_DIR),target)/$(shell rustc -vV | sed -n 's/^host: //p')

# Programs that the tests need are looked for in the tree's own tools first.
export PATH := $(TOOLS):$(PATH)
# The target that gets such a program; nothing when it is there.
tool = $(if $(shell command -v $(1)),,$(TOOLS)/$(1))

.PHONY: dist help build check test test-agent chaos sim mutants bench fuzz demo docker claude schemas deny clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: rust ## chanop and chanop-init, for development
	$(CARGO) build --locked --bins

# The readers of the documentation are the authors: private items are in it, and may be linked to.
check: rust ## formatting, lints, documentation, schemas: no warning passes
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --locked --workspace --no-deps --document-private-items
	$(CARGO) run --locked --quiet --bin chanop -- schema --check schemas

test: rust docker $(call tool,promtool) $(call tool,docker-registry) build ## every test; needs a Docker engine
	@had=$$(docker image ls -q chanop-demo)
	tidy() { if [[ -z "$$had" ]]; then docker image rm chanop-demo:latest >/dev/null 2>&1 || true; fi; }
	trap tidy EXIT
	if command -v cargo-nextest >/dev/null; then
		$(CARGO) nextest run --locked --workspace --exclude chanop-sim --no-fail-fast $(TESTS)
		SIM_SEEDS=$(SEEDS) $(CARGO) nextest run --locked --cargo-profile sim -p chanop-sim --no-fail-fast $(TESTS)
		$(CARGO) test --locked --workspace --doc
	else
		$(CARGO) test --locked --workspace --exclude chanop-sim --no-fail-fast $(TESTS)
		SIM_SEEDS=$(SEEDS) $(CARGO) test --locked --profile sim -p chanop-sim --no-fail-fast $(TESTS)
	fi

# The image is taken away again unless it was there before: to keep it, make it by hand with the same name.
test-agent: rust docker tmux build ## the agent's CLI itself, here and in containers; fetches it, 170 MB, and makes an image of 390 MB
	@claude=$$(scripts/claude.sh)
	image=chanop-test-agent:latest
	had=$$(docker image ls -q "$$image")
	tidy() { if [[ -z "$$had" ]]; then docker image rm "$$image" >/dev/null 2>&1 || true; fi; }
	trap tidy EXIT
	$(OUT)/debug/chanop agent-image --from-host --claude "$$claude" --tag "$$image"
	export CHANOP_TEST_CLI=$$claude
	if command -v cargo-nextest >/dev/null; then
		$(CARGO) nextest run --locked --no-fail-fast --run-ignored all --test it -E 'test(/^agent(_cli)?::/)' $(TESTS)
	else
		$(CARGO) test --locked --test it -- agent:: agent_cli:: --include-ignored --test-threads 2 $(TESTS)
	fi

# Runs of the bank check; an ordinary suite has 60.
BANK ?= 500
# Each test starts an engine of its own. With the time that it takes, so that it does not grow unseen.
chaos: rust docker build ## every fault of tests/it/chaos, on engines of its own, and 500 runs under a killer; root, 20 minutes
	@began=$$SECONDS
	export CHANOP_BANK=$(BANK)
	if command -v cargo-nextest >/dev/null; then
		timeout --kill-after 30 900 $(CARGO) nextest run --locked --no-fail-fast --run-ignored all --test it -E 'test(/^chaos::/)' $(TESTS)
		timeout --kill-after 30 900 $(CARGO) nextest run --locked --no-capture --test it -E 'test(/^operator::bank::/)'
	else
		timeout --kill-after 30 900 $(CARGO) test --locked --test it chaos:: -- --include-ignored --test-threads 2 $(TESTS)
		timeout --kill-after 30 900 $(CARGO) test --locked --test it operator::bank:: -- --nocapture
	fi
	echo "make chaos: $$((SECONDS - began)) s"

# The seeds to be replayed: one with its whole trace, or a range like 0-20000 with a line for each kind of failure.
SEED ?= 1
sim: rust ## replays a seed of the simulator: make sim SEED=7, or SEED=20000-30000
	SIM_SEED=$(SEED) $(CARGO) test --locked -p chanop-sim --test seeds one_seed_is_replayed -- --exact --nocapture

# Release programs, side by side; BENCH has flags for the bench: make bench BENCH='--only cold --pairs 3'.
BENCH ?=
bench: rust docker ## times, calls and memory against their aims, in one table; takes half an hour (BENCHMARKS.md)
	$(CARGO) build --locked --release --bins
	$(CARGO) build --locked --release -p chanop-bench
	@$(OUT)/release/chanop-bench $(BENCH)

mutants: rust ## breaks the core in every way of tests/sim/mutants, and expects the simulator to notice; a quarter of an hour
	@scripts/mutants.sh

demo: rust docker build ## the main job, shown on this machine's Docker engine; leaves nothing behind
	@BIN=$(OUT)/debug scripts/demo.sh

docker: ## a Docker engine that answers: the one that is there, or (root, Debian or Ubuntu) a new one
	@scripts/docker.sh

claude: ## the Claude Code CLI of the agent's image, in the user's cache; says where
	@scripts/claude.sh

schemas: rust ## writes schemas/ from the types
	$(CARGO) run --locked --quiet --bin chanop -- schema --write schemas

# How long each target of fuzz/ runs.
FUZZ_SECONDS ?= 60
fuzz: rust ## random bytes against every parser, a minute each; needs a nightly compiler and cargo-fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

deny: rust ## licences, sources and duplicates of the dependencies
	@command -v cargo-deny >/dev/null || { echo 'make deny: cargo-deny is missing; get it with: cargo install --locked cargo-deny' >&2; exit 1; }
	$(CARGO) deny check bans licenses sources

dist: rust ## release programs in target/dist, with a Dockerfile that puts them on an empty image
	$(CARGO) build --locked --release --bins
	mkdir -p target/dist
	cp $(OUT)/release/chanop $(OUT)/release/chanop-init manifests/compose/Dockerfile target/dist/

clean: ## everything that was built
	$(CARGO) clean

# Not for people: what the targets above ask for.
.PHONY: rust
rust:
	@command -v $(CARGO) >/dev/null || { echo 'make: cargo is missing; install Rust from https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'make: a C compiler is missing (SQLite is compiled in); on Debian or Ubuntu: apt-get install gcc libc6-dev' >&2; exit 1; }

# A terminal for the agent that a test can type at and look at.
.PHONY: tmux
tmux:
	@command -v tmux >/dev/null && exit
	[[ $$EUID == 0 ]] && command -v apt-get >/dev/null || { echo 'make test-agent: tmux is missing; on Debian or Ubuntu: apt-get install tmux' >&2; exit 1; }
	apt-get install --yes --no-install-recommends tmux >/dev/null

# promtool judges what /metrics says and the rules in manifests/; docker-registry is what the tests pull from. Both are taken
# out of Debian's packages without installing those: each would start a server.
$(TOOLS)/promtool $(TOOLS)/docker-registry:
	@scripts/tool.sh '$@'
