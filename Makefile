# The few commands that anybody needs. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# How much `make bench` measures: `BENCH=quick`, `ROWS=main,memory`, `REPEATS=5`, `BASELINE=` another tickcast binary.
BENCH ?=
ROWS ?=
REPEATS ?=
BASELINE ?=

# What is in front of the demo's replicas: nginx or haproxy.
PROXY ?= nginx

# What a load test is aimed at, and the options of ours.
TARGET ?= http://localhost:3000
ARGS ?=

VENDOR := static/vendor
LIBRARIES := socket.io.js socket.io.js.map socket.io.min.js socket.io.min.js.map socket.io.esm.min.js socket.io.esm.min.js.map

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: vendor ## Build and run the server with its dashboard on http://localhost:3000 (other settings: PORT=4000 make run)
	cargo run --release

.PHONY: demo
demo: build ## Redis, two replicas (:3000, :3001) and nginx on :8080, without Docker (REPLICAS=4, PROXY=haproxy)
	tests/setup.sh redis-server $(PROXY)
	PROXY=$(PROXY) node demo/run.mjs

.PHONY: rolling
rolling: build node_modules/.all ## Restart each replica of a demo in turn under CLIENTS=1000 clients, who count what they miss
	tests/setup.sh redis-server $(PROXY)
	PROXY=$(PROXY) node demo/rolling.mjs

.PHONY: build
build: vendor ## Build the release binary: target/release/tickcast
	cargo build --release

.PHONY: test
test: format ## Check and test everything (installs what it lacks: Debian packages, npm packages)
	# Each time two side by side: one compiles, the other downloads; one waits, the other compiles; both wait now and then.
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-binaries test-tools
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-rust clippy
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-pages test-servers

.PHONY: lint
lint: format clippy ## Formatting, clippy, and the front end's checks

.PHONY: format
format: vendor node_modules/.all
	cargo fmt --all --check
	npm run --silent lint
	npm run --silent types

.PHONY: clippy
clippy: vendor
	nice -n 19 cargo clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: test-rust
test-rust: vendor ## Unit tests, and the integration tests in Rust, of the server and of the load tester
	cargo test --workspace --quiet

.PHONY: test-js
test-js: test-parts ## The official clients, a browser, Redis, nginx, HAProxy, Prometheus, Artillery and the load tester against the real server
	# Side by side: both wait now and then.
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-pages test-servers

.PHONY: test-pages
test-pages: test-parts
	node --test --test-concurrency=1 tests/browser/*.test.mjs

.PHONY: test-servers
test-servers: test-parts
	node --test --test-concurrency=2 $(filter-out tests/browser/%,$(wildcard tests/*/*.test.mjs))

.PHONY: test-parts
test-parts: test-tools test-binaries

.PHONY: test-tools
test-tools: node_modules/.all loadtest/node_modules/.all loadtest/peers/node/node_modules/.all
	tests/setup.sh chromium redis-server nginx haproxy prometheus openssl nftables:nft
	[ tests/.python -nt tests/python.sh ] || tests/python.sh

.PHONY: test-binaries
test-binaries: vendor
	# With the tests, so that what `test-rust` has built is good for it: alone, the binaries need their libraries built anew.
	cargo build --workspace --bins --tests --quiet

.PHONY: security
security: vendor node_modules/.all ## Attack the server at length (some minutes; `make test` has a short form), and say what was tried
	tests/setup.sh openssl
	cargo build --quiet
	SECURITY=long node --test --test-concurrency=1 --test-reporter=spec tests/security/*.test.mjs

.PHONY: chaos
chaos: vendor node_modules/.all ## Break a cluster at random for CHAOS_SECONDS (300), and say what clients saw (CHAOS_SEED draws the same again)
	tests/setup.sh redis-server nginx nftables:nft
	cargo build --quiet
	node tests/chaos/run.mjs

.PHONY: fuzz
fuzz: ## Fuzz everything that parses clients' bytes, FUZZ_SECONDS (60) each (`make test` has a short form)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} cargo test --lib --quiet -- --nocapture --test-threads=2 fuzz

.PHONY: loadtest
loadtest: ## Load a server that runs (TARGET=http://localhost:8080 for another one, ARGS="--help" for the options)
	cargo build --release --quiet -p tickcast-loadtest
	SERVER_URL=$${SERVER_URL:-$(TARGET)} target/release/tickcast-loadtest $(ARGS)

.PHONY: artillery
artillery: loadtest/node_modules/.all ## The same with Artillery, for a hundred clients
	cd loadtest && TARGET=$(TARGET) npm test --silent

.PHONY: bench
bench: vendor node_modules/.all loadtest/peers/node/node_modules/.all ## Measure against Node.js, plain rooms and the floor: half an hour (BENCH=quick: minutes)
	cargo build --release
	cargo build --release -p tickcast-loadtest -p tickcast-peer-floor -p tickcast-peer-rooms
	node bench/run.mjs --json bench.json --markdown bench.md $(if $(BENCH),--$(BENCH)) \
	  $(if $(ROWS),--rows $(ROWS)) $(if $(REPEATS),--repeats $(REPEATS)) $(if $(BASELINE),--baseline $(BASELINE))
	$(if $(ROWS),,tests/setup.sh chromium && node bench/page.mjs --markdown bench.md)

.PHONY: bench-redis
bench-redis: ## Measure what one Redis carries: its CPU for a tick, and for a replica that reads it
	tests/setup.sh redis-server
	node bench/redis.mjs

.PHONY: vendor
vendor: $(addprefix $(VENDOR)/,$(LIBRARIES) lightweight-charts.js) ## Fetch the client libraries that the server hosts, and the dashboard's chart library

$(VENDOR)/%: node_modules/.served
	@mkdir -p $(VENDOR)
	cp node_modules/socket.io-client/dist/$* $@

$(VENDOR)/lightweight-charts.js: node_modules/.served
	@mkdir -p $(VENDOR)
	cp node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.mjs $@

# What the server hosts alone, and that with the tools of the tests. The second has the first in it.
node_modules/.served: package-lock.json
	npm ci --omit=dev --ignore-scripts --no-fund --no-audit
	touch $@

node_modules/.all: package-lock.json
	npm ci --ignore-scripts --no-fund --no-audit
	touch node_modules/.served $@

loadtest/peers/node/node_modules/.all: loadtest/peers/node/package-lock.json
	cd loadtest/peers/node && npm ci --ignore-scripts --no-fund --no-audit
	touch $@

loadtest/node_modules/.all: loadtest/package-lock.json
	cd loadtest && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --ignore-scripts --no-fund --no-audit
	touch $@

.PHONY: clean
clean: ## Remove what was built and fetched
	rm -rf target node_modules loadtest/node_modules loadtest/peers/node/node_modules tests/.python $(VENDOR)
