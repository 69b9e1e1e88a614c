# Exhibit. `make help` lists what can be asked for; docs/developing.md says more.

CARGO ?= cargo
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 30
# The demo runs what `make test` has built; PROFILE=release takes longer to build and less to run.
PROFILE ?= dev

.DEFAULT_GOAL := help
.PHONY: help setup demo build deb test lint soak bench fuzz

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install everything that the other targets need (Debian; root or sudo)
	scripts/setup test

demo: ## the whole job on this machine with real footage: dock, receipt, ledger, bundle, a forgery caught
	scripts/setup demo
	$(CARGO) build --locked --profile $(PROFILE) --bins
	$(CARGO) run --locked --quiet --profile $(PROFILE) --package exhibit -- demo

build: ## the three programs, optimised, in target/release
	scripts/setup build
	$(CARGO) build --locked --release

deb: build ## the Debian package, in target/debian
	scripts/deb target/release target/debian

test: ## everything that must hold: lints, then tests of every room and of the whole
	scripts/setup test
	$(MAKE) --no-print-directory lint
	$(CARGO) test --locked --workspace

lint: ## formatting and lints, warnings refused
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

soak: ## every random kill and hostile input, not a tenth of them
	scripts/setup test
	EXHIBIT_SOAK=1 $(CARGO) test --locked --package tests --test kills --test several -- --nocapture
	EXHIBIT_SOAK=1 $(CARGO) test --locked --package transcode --test hostile_footage -- --nocapture

bench: ## measurements beside peers, in one run
	scripts/setup bench
	$(CARGO) run --locked --release --package benches

fuzz: ## every parser of foreign bytes, FUZZ_SECONDS each
	scripts/setup fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz
