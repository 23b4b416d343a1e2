# dia: `make run` builds and starts it, `make test` runs every test. Both install what they need on a Debian machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help
DEMO_DIR ?= bench/sample
KILLS ?= 50
FAULTS ?=
SEED ?= 1
SET ?=
DIR ?= $(DEMO_DIR)
PEERS ?=
MODE ?= embedded
FILES ?= 240
MOST ?= 8
SECONDS ?= 60
ITEMS ?= 100000
MUTATIONS ?= 10000
ONLY ?=
BOUNDED ?=

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
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet

test: setup  ## every test, the lints, and the crash harness with 50 kills, at least 200 faults of a fleet, a full disk, and attacks
	cargo build --workspace --all-targets --locked
	cargo test --workspace --locked --no-fail-fast
	$(MAKE) lint
	$(MAKE) crash KILLS=$(KILLS)
	$(MAKE) crash MODE=fleet KILLS=10 FAULTS=200
	$(MAKE) crash-full-disk
	$(MAKE) abuse BOUNDED=1
	$(MAKE) demo
	$(MAKE) demo MODE=fleet

demo:  ## a fresh server (MODE=fleet: doors and workers), the walk of the README over DEMO_DIR, one JSON object as the last line
	@scripts/setup $(if $(filter fleet,$(MODE)),test,run)
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-demo" "$(DEMO_DIR)" $(if $(filter fleet,$(MODE)),--fleet)

crash:  ## kill the server KILLS times while it ingests, answers, rebuilds and purges; MODE=fleet: doors, workers and services
	@scripts/setup $(if $(filter fleet,$(MODE)),test,run)
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-crash" --kills $(KILLS) --seed $(SEED) $(if $(FAULTS),--faults $(FAULTS)) $(if $(filter fleet,$(MODE)),--fleet)

soak: KILLS = 1000
soak: crash  ## the same with 1,000 kills (KILLS=n) and two files a kill

crash-full-disk:  ## let the disk run full under the server; no false promise, and it resumes by itself
	@scripts/setup test
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-crash" --full-disk

authz:  ## every operation and socket with everybody who may knock, at everything there may be; one JSON object as the last line
	@scripts/setup test
	cargo build --workspace --all-targets --locked
	@scripts/authz

audit-check:  ## 64 writers of the audit log at once on both databases, then MUTATIONS (10,000) changes to bundles of it; all must be found
	@scripts/setup test
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-audit-check" $(MUTATIONS)

abuse:  ## attack a server as outsiders do: ONLY=class,… for some classes, BOUNDED=1 for the part that `make test` runs
	@scripts/setup $(if $(BOUNDED),test,abuse)
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-abuse" $(if $(BOUNDED),--bounded) $(if $(ONLY),--only $(ONLY))

autoscale-sim:  ## a burst of FILES (240) before local workers, scaled to at most MOST (8) as `dia autoscale` says; drain time against the ideal
	@scripts/setup test
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/dia-autoscale" $(FILES) $(MOST)

fuzz:  ## look for inputs that break the parsers for SECONDS (60) in all
	@scripts/setup fuzz
	@fuzz/run $(SECONDS)

bench-queue:  ## CPU per job beside a plain loop: make bench-queue [PEERS=1] (Celery, BullMQ and Procrastinate)
	@scripts/setup test
	@PEERS="$(PEERS)" bench/queue/run

bench-retrieval:  ## score a retrieval set: make bench-retrieval SET=dir
	@bench/retrieval/run "$(SET)"

bench-answers:  ## score the chat's answers on a retrieval set with spans: make bench-answers SET=dir
	@scripts/setup run
	cargo build --release --locked --workspace --bins --examples
	@bench/answers/run "$(SET)"

bench-ingest:  ## documents per second, CPU and memory over a folder and over 10,000 e-mails
	@bench/ingest/run

bench-batch:  ## a batch announced by a load file of ITEMS (100,000) lines and fetched by reference, the server killed on the way: memory, CPU
	@scripts/setup run
	cargo build --release --locked --workspace --bins --examples
	@"$$(scripts/target)/release/dia-bench-batch" $(ITEMS)

bench-scale:  ## documents per second of a fleet with 1, 2 and 4 worker processes over the same services
	@scripts/setup test
	cargo build --release --locked --workspace --bins --examples
	@"$$(scripts/target)/release/dia-bench-scale" 2000

bench-sockets:  ## a door with 1,000 WebSockets open: memory, CPU, how soon all hear the news; and how 2,000 slow clients move the others' p99
	@scripts/setup test
	cargo build --release --locked --workspace --bins --examples
	@"$$(scripts/target)/release/dia-bench-sockets" 1000 2000

check-deploy:  ## docker-compose.yml, Dockerfile and the configuration of NGINX, without running them
	@scripts/check-deploy

bench-extract:  ## CPU, memory, success and F1 by format over a folder: make bench-extract DIR=folder [PEERS=1]
	@scripts/setup run
	@PEERS="$(PEERS)" bench/extract/run "$(DIR)"

identify:  ## name every file under DIR by its bytes; compare with extension and libmagic: make identify DIR=folder
	@scripts/setup identify
	cargo build --workspace --all-targets --locked
	@"$$(scripts/target)/debug/examples/identify" "$(DIR)"

bench-search:  ## search latency over 200,000 passages
	@bench/search/run

.PHONY: help run setup lint test authz audit-check abuse demo crash soak crash-full-disk autoscale-sim fuzz bench-queue bench-retrieval bench-answers bench-ingest bench-extract identify bench-search bench-batch bench-scale bench-sockets check-deploy
