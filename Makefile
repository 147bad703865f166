# `make demo` shows it, `make test` proves it. Both install what a bare Debian with Rust, gcc and make lacks,
# and say so.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-crash advisories sbom release package bench bench-acknowledge bench-delivery bench-memory bench-oracle bench-pages bench-peers bench-scale bench-scrape images fuzz mutants setup setup-test setup-fuzz

GATEWAY := target/debug/airudder-gateway
TOOLS := target/tools

# Cargo's own tools, in these versions, below target.
CARGO_TOOLS := cargo-deny@0.20.2 cargo-cyclonedx@0.5.9 cargo-deb@3.8.0 cargo-fuzz@0.13.2
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)

# Values for checking the sample configurations, whose secrets are references to the environment.
SAMPLE_ENV := AIRUDDER_APP_KEY=sample AIRUDDER_APP_SECRET=sample AIRUDDER_AES_KEY=0123456789abcdef

help:
	@echo "make demo         a simulated platform, the gateway, four calls, a callback (builds first; a few minutes the first time)"
	@echo "make test         format, lints, docs, sample configurations, every test"
	@echo "make test-crash   200 kills, 200 simulated power cuts, 100,000 deliveries under faults, 20 upgrades, an overload of two minutes (minutes; as root also a full disk)"
	@echo "make fuzz         every fuzz target for an hour (SECONDS_EACH=60: for a minute)"
	@echo "make mutants      do the unit tests notice a changed line? (ROOMS=limit: one room; SHARD=k/n: a part; python3)"
	@echo "make advisories   is a crate that we use known to be unsafe? fails when the advisory database cannot be reached"
	@echo "make sbom         what the gateway is made of: target/airudder-gateway.cdx.json (CycloneDX) and the licences' notices"
	@echo "make release      the gateway as it is handed out, target/release/airudder-gateway: built by the profile of its own work (fifteen minutes; installs llvm, nginx, wrk; PROFILE=off: a plain one)"
	@echo "make package      the Debian package of that, in target/debian (looks up advisories first)"
	@echo "make bench        what admission costs, the envelope beside OpenSSL, the inbox beside bare SQLite, who calls (release build)"
	@echo "make bench-acknowledge  500 callbacks a second: how long the platform waits for its 200 (release build; python3)"
	@echo "make bench-oracle can a body that does not open be told from another by its answer? (release build; python3)"
	@echo "make bench-delivery  a receiver beside one that is down (release build; python3)"
	@echo "make bench-memory 64 sealed calls of 8 MiB against the memory budget (release build; python3)"
	@echo "make bench-scrape what a scrape takes at full load, and what it costs the calls (release build; installs wrk)"
	@echo "make bench-pages  the admin's pages with 100,000 callbacks in the inbox (release build; python3)"
	@echo "make images       the pictures of docs/images, taken from the demo with Chromium"
	@echo "make bench-scale  10,000 connections, two workers, 1,000 programs, a million callbacks: the same cost? (release build; installs nginx, wrk)"
	@echo "make bench-peers  the gateway of make release beside nginx + Lua, Node, and nginx and HAProxy that only pass on (installs them)"

# cmake builds zlib-ng, which pingora brings.
setup:
	@command -v cmake >/dev/null || $(MAKE) --no-print-directory install PACKAGES="cmake"

# OpenSSL is the reference that the envelope is tested against, Python's requests the library of an existing client, Chromium what the
# pages for people are opened with, and Prometheus what evaluates the alerts and the boards; none is a part of the gateway.
setup-test: setup
	@{ command -v pkg-config >/dev/null && pkg-config --exists openssl; } || \
	  $(MAKE) --no-print-directory install PACKAGES="pkg-config libssl-dev"
	@python3 -c 'import requests' 2>/dev/null || /usr/bin/python3 -c 'import requests' 2>/dev/null || \
	  $(MAKE) --no-print-directory install PACKAGES="python3 python3-requests"
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory install PACKAGES="chromium fonts-dejavu-core"
	@{ command -v strace && command -v adduser && command -v dpkg-shlibdeps && [ -d /etc/ssl/certs ]; } >/dev/null || \
	  $(MAKE) --no-print-directory install PACKAGES="strace adduser ca-certificates dpkg-dev"
	@command -v systemd-analyze >/dev/null || $(MAKE) --no-print-directory install PACKAGES="systemd"
	@command -v promtool >/dev/null || [ -x $(TOOLS)/usr/bin/promtool ] || $(MAKE) --no-print-directory tools
	@$(MAKE) --no-print-directory cargo-tools

# They run for seconds, so they are built without optimisation: a minute for each, where a release build takes five.
.PHONY: cargo-tools
cargo-tools:
	@for tool in $(CARGO_TOOLS); do \
	  grep -qs "^\"$${tool/@/ } " $(TOOLS)/.crates.toml && continue; \
	  echo "== building $$tool into $(TOOLS)"; \
	  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_LTO=off \
	    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	    cargo install --quiet --locked --root $(TOOLS) --target-dir $(TOOLS)/build $$tool; \
	done; rm -rf $(TOOLS)/build

# libFuzzer is C++, and comes with its crate.
setup-fuzz: cargo-tools
	@command -v g++ >/dev/null || $(MAKE) --no-print-directory install PACKAGES="g++"

# Prometheus and its tool, unpacked and not installed: its package would start a service.
.PHONY: tools
tools:
	@command -v apt-get >/dev/null || { echo "Please install promtool and prometheus (there is no apt-get here)"; exit 1; }
	@echo "== unpacking Debian's prometheus into $(TOOLS)"
	@rm -rf $(TOOLS)/download; mkdir -p $(TOOLS)/download; run=; [ "$$(id -u)" = 0 ] || run=sudo; $$run apt-get update -qq
	@cd $(TOOLS)/download && apt-get download -qq prometheus 2>/dev/null && dpkg -x prometheus_*.deb .. && rm prometheus_*.deb

.PHONY: install
install:
	@command -v apt-get >/dev/null || { echo "Please install: $(PACKAGES) (there is no apt-get here)"; exit 1; }
	@echo "== installing $(PACKAGES) with apt-get"
	@run=; [ "$$(id -u)" = 0 ] || run=sudo; \
	  $$run apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null

demo: setup
	cargo build --locked --bin airudder-gateway
	@echo
	@$(GATEWAY) demo

test: setup-test setup-fuzz
	cargo fmt --check
	@cargo metadata --locked --manifest-path tests/fuzz/Cargo.toml --format-version 1 >/dev/null
	cargo deny --locked --all-features check bans licenses sources
	@$(MAKE) --no-print-directory advisories UNREACHABLE=told
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --all-features
	cargo build --locked --bin airudder-gateway --all-features
	@for file in conf/gateway.toml; do $(SAMPLE_ENV) $(GATEWAY) check --config $$file; done
	cargo test --locked --all-features
	tests/fuzz/run 10

# See tests/fuzz/README.md.
SECONDS_EACH ?= 3600
fuzz: setup setup-fuzz
	tests/fuzz/run $(SECONDS_EACH)

# See tests/mutants.md. Each room by its own unit tests, built without the rooms above it.
SHARD ?= 0/1
ROOMS ?= envelope token limit inbox
mutants: setup
	@$(MAKE) --no-print-directory cargo-tools CARGO_TOOLS=cargo-mutants@27.1.0
	@status=0; for room in $(ROOMS); do tests/mutants $$room --shard $(SHARD) || status=$$?; done; exit $$status

# Whether a crate that we use is known to be unsafe. A database that cannot be reached is a failure, because then nothing
# is known; `make test` only tells it (UNREACHABLE=told), because it runs without a network, too.
DENY_CONFIG ?= deny.toml
advisories: cargo-tools
	@if GIT_TERMINAL_PROMPT=0 timeout 120 cargo deny --config $(DENY_CONFIG) fetch db 2>/dev/null; then \
	  cargo deny --locked --all-features --config $(DENY_CONFIG) check advisories; \
	else \
	  echo "advisories: NOT CHECKED, the database of deny.toml cannot be reached from here"; \
	  [ "$(UNREACHABLE)" = told ]; \
	fi

sbom: cargo-tools
	@packaging/sbom

# What is watched for the profile is the work of the benches, so it takes what they take.
release: setup
	packaging/release

# What nobody could look up is not handed to others: UNREACHABLE=told builds it all the same, and says so.
package: setup cargo-tools
	@$(MAKE) --no-print-directory advisories
	@$(MAKE) --no-print-directory release
	@packaging/sbom
	cargo deb --locked --no-build --strip --output target/debian/

# The same stories as in `make test`, told more often: 200 kills, 200 power cuts, 67 failed syncs, 20 upgrades, 10,000 idle
# connections across one; and two minutes of an overload by itself, with the exact bound.
test-crash: setup-test
	cargo build --locked --bin airudder-gateway
	CRASHES=200 cargo test --locked --test it durable:: -- --nocapture
	CONSERVATION_CALLBACKS=100000 cargo test --locked --test it delivery::conservation -- --nocapture
	UPGRADES=20 IDLE_CONNECTIONS=10000 cargo test --locked --test it upgrade:: -- --nocapture
	OVERLOAD_SECONDS=120 cargo test --locked --test it limiting::fairness -- --nocapture --test-threads=1

bench: setup-test
	cargo bench --locked --bench admission
	cargo bench --locked --bench envelope
	cargo bench --locked --bench inbox
	cargo bench --locked --bench programs

bench-delivery: setup
	cargo build --locked --release --bin airudder-gateway
	benches/delivery

bench-memory: setup
	cargo build --locked --release --bin airudder-gateway
	benches/memory

# What is handed out is measured, and what is measured is handed out.
bench-peers: release
	benches/peers/setup
	benches/peers/run

# The first run fills an inbox with a million callbacks, in target/bench-scale.
bench-scale: setup
	benches/peers/setup
	cargo build --locked --release --bin airudder-gateway
	benches/scale

bench-acknowledge: setup
	cargo build --locked --release --bin airudder-gateway
	benches/acknowledge

# What an operator waits for with 100,000 callbacks in the inbox.
bench-pages: setup
	cargo build --locked --release --bin airudder-gateway
	benches/pages

# The pictures of docs/images, from the demo.
images: setup-test
	cargo build --locked --bin airudder-gateway
	docs/images/take

bench-oracle: setup
	cargo build --locked --release --bin airudder-gateway
	benches/oracle

bench-scrape: setup
	@command -v wrk >/dev/null || $(MAKE) --no-print-directory install PACKAGES="wrk"
	cargo build --locked --release --bin airudder-gateway
	benches/scrape
