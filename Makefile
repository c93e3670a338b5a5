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

# promtool is looked for in the tree's own tools first.
export PATH := $(TOOLS):$(PATH)

.PHONY: dist help build check test test-agent sim mutants demo docker claude schemas deny clean

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

test: rust docker $(if $(shell command -v promtool),,$(TOOLS)/promtool) build ## every test; needs a Docker engine
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
test-agent: rust docker build ## the agent's CLI itself in containers; fetches it, 170 MB, and makes an image of 390 MB
	@claude=$$(scripts/claude.sh)
	image=chanop-test-agent:latest
	had=$$(docker image ls -q "$$image")
	tidy() { if [[ -z "$$had" ]]; then docker image rm "$$image" >/dev/null 2>&1 || true; fi; }
	trap tidy EXIT
	$(OUT)/debug/chanop agent-image --from-host --claude "$$claude" --tag "$$image"
	export CHANOP_TEST_CLI=$$claude
	if command -v cargo-nextest >/dev/null; then
		$(CARGO) nextest run --locked --no-fail-fast --run-ignored all --test it -E 'test(/^agent::/)' $(TESTS)
	else
		$(CARGO) test --locked --test it agent:: -- --include-ignored --test-threads 2 $(TESTS)
	fi

# The seeds to be replayed: one with its whole trace, or a range like 0-20000 with a line for each kind of failure.
SEED ?= 1
sim: rust ## replays a seed of the simulator: make sim SEED=7, or SEED=0-20000
	SIM_SEED=$(SEED) $(CARGO) test --locked -p chanop-sim --test seeds one_seed_is_replayed -- --exact --nocapture

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

# promtool judges what /metrics says and the rules in manifests/. Taken out of Debian's package without installing that:
# the package would start a Prometheus server.
$(TOOLS)/promtool:
	@scripts/promtool.sh '$@'
