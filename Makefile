# dia: `make run` builds and starts it, `make test` runs every test. Both install what they need on a Debian machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help
DEMO_DIR ?= bench/sample
KILLS ?= 50
SET ?=

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

run:  ## build and start dia on 127.0.0.1:8080 with its data in ~/.local/share/dia
	@scripts/setup run
	cargo build --release --locked --package dia
	exec "$$(scripts/target)/release/dia" serve

setup:  ## install what the tests need
	@scripts/setup test

lint:  ## fmt, clippy with the house lints, docs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet

test: setup  ## every test, the lints, and the crash harness with 50 kills
	cargo build --workspace --all-targets --locked
	cargo test --workspace --locked --no-fail-fast
	$(MAKE) lint
	$(MAKE) crash KILLS=$(KILLS)
	$(MAKE) demo

demo:  ## a fresh server, the walk of the README over DEMO_DIR, one JSON object as the last line
	@scripts/setup run
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-demo" "$(DEMO_DIR)"

crash:  ## kill the server KILLS times while it ingests, check the invariants
	@scripts/setup run
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-crash" --kills $(KILLS)

bench-queue:  ## CPU per job beside a plain loop
	@scripts/setup test
	cargo run --release --locked --package workers --example bench_queue

bench-retrieval:  ## score a retrieval set: make bench-retrieval SET=dir
	@bench/retrieval/run "$(SET)"

bench-ingest:  ## documents per second, CPU and memory over a folder and over 10,000 e-mails
	@bench/ingest/run

.PHONY: help run setup lint test demo crash bench-queue bench-retrieval bench-ingest
