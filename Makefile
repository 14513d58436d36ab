# One door to everything; CI goes through it too. `make` alone lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO      ?= go
TOOL    := $(GO) tool -modfile=.ci/tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
CHART   := deploy/helm/sira
# The oldest Kubernetes that the chart is for: helm renders for a still older one when not told.
KUBE    := 1.27.0

# Arguments for run, demo, up and bench: make up ARGS="--config sira.yaml".
ARGS ?=
# The least ratio to the bare loop that `make gate` lets pass. Runs differ by a tenth, so it is a quarter below what
# docs/performance.md says; raise it with that figure.
FLOOR ?= 0.3
# How long each fuzz target runs.
FUZZTIME ?= 60s

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

##@ Build and run

.PHONY: build
build: ## Build bin/sira
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sira ./cmd/sira

.PHONY: run
run: build chdb ## Show what Sira does in one terminal: no key, no Docker, no Java
	./bin/sira demo $(ARGS)

.PHONY: demo
demo: run ## The same as run

.PHONY: up
up: build chdb ## Run every role with embedded Kafka, ClickHouse and simulated providers
	./bin/sira up $(ARGS)

.PHONY: image
image: ## Build the container image sira:VERSION
	docker build -f deploy/Dockerfile --build-arg VERSION='$(VERSION)' -t 'sira:$(VERSION)' -t sira:latest .

##@ Test

.PHONY: test
test: chdb ## Run all unit tests
	$(GO) test ./...

.PHONY: race
race: chdb ## Run all unit tests under the race detector
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v '/integration')

.PHONY: integration
integration: build chdb kafka ## Run the suites against Apache Kafka itself (needs Java 17 and Maven)
	SIRA_INTEGRATION=1 $(GO) test -count=1 -timeout 40m -skip '$(LONGER)' ./integration/...

# The suites that take minutes each.
LONGER := NetworkFaults|RollingRestart|LoseTheirLeader|EveryRoleWorks|SlowCallsAreInFlight|StayFlat|Spenders|KilledWorkersSettle|PredictionHalves|TwentyDeadRecorders

.PHONY: integration-longer
integration-longer: build chdb kafka ## Run the suites of integration that take minutes each: faults, brokers, rights, load
	SIRA_INTEGRATION=1 $(GO) test -count=1 -timeout 60m -run '$(LONGER)' -v ./integration/

.PHONY: integration-llm
integration-llm: llm ## Send 50 requests through Kafka and Sira to a real model on this machine
	SIRA_LLM=1 SIRA_INTEGRATION=1 $(GO) test -count=1 -timeout 20m -run 'RealModel|OfflineQuickStart' -v ./integration/
.PHONY: simulate
simulate: ## Live through SEEDS worlds of virtual time from seed FIRST on, and through planted mistakes
	SIRA_SEEDS=$(or $(SEEDS),200) SIRA_FIRST=$(or $(FIRST),1) $(GO) test -count=1 -timeout 20m -run TestNothing ./integration/simulation
	SIRA_MUTANTS=$(if $(FIRST),,1) $(GO) test -count=1 -timeout 20m -run TestPlanted ./integration/simulation

.PHONY: exchanges
exchanges: ## Replay recorded calls to real vendors through the adapters: make exchanges DIR=folder
	$(GO) run ./integration/exchanges $(or $(DIR),../shared/data/providers)

.PHONY: soak
soak: ## Send SOAK_REQUESTS requests through worker processes; fail if one is lost or doubled, or memory grows
	$(GO) run ./integration/soak -requests $(or $(SOAK_REQUESTS),2000000)

.PHONY: kill
kill: build chdb kafka ## Run the kill tests alone: workers, recorder and broker die at random, nothing is lost or doubled
	SIRA_INTEGRATION=1 $(GO) test -count=1 -timeout 20m -run WholeKillPromise -v ./integration/

.PHONY: faults
faults: chdb ## Disturb every connection in every way and print the table of docs/faults.md
	SIRA_INTEGRATION=1 $(GO) test -count=1 -timeout 20m -run NetworkFaults -v ./integration/

.PHONY: fuzz
fuzz: chdb ## Run every fuzz target for FUZZTIME, one after another
	@GO='$(GO)' .ci/fuzz '$(FUZZTIME)'

.PHONY: bench
bench: chdb ## Measure throughput and latency of the whole gateway
	$(GO) run ./integration/bench $(ARGS)

.PHONY: questions
questions: chdb ## Load ROWS requests into ClickHouse and ask ten questions; fail if an answer takes too long
	$(GO) run ./integration/questions -rows $(or $(ROWS),5000000) $(ARGS)

.PHONY: gate
gate: ## Fail if a request allocates more than it did, or Sira fell behind the bare loop
	$(GO) test -count=1 -run Allocations ./integration
	$(GO) run ./integration/bench -part throughput -requests 20000 -floor $(FLOOR)

##@ Keep in order

.PHONY: fmt
fmt: ## Format the Go code
	$(TOOL) golangci-lint fmt ./...

.PHONY: vet
vet: ## Run go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## Run the linters and look whether go.mod is tidy
	$(TOOL) golangci-lint run ./...
	$(GO) mod tidy -diff

.PHONY: chart
chart: ## Lint the Helm chart and render it
	$(TOOL) helm lint --strict --kube-version $(KUBE) $(CHART)
	$(TOOL) helm template sira $(CHART) --kube-version $(KUBE) >/dev/null
	$(TOOL) helm template sira $(CHART) --kube-version $(KUBE) --values $(CHART)/ci/all-on.yaml >/dev/null

.PHONY: check
check: ## Do what a reviewer would ask for: fmt, vet, lint, test, and none of them changes a file
	@before=$$(.ci/fingerprint); \
	$(MAKE) fmt vet lint test; \
	[[ $$before == "$$(.ci/fingerprint)" ]] || { git status --short; echo 'check: the files above have changed; look at them and commit'; exit 1; }

.PHONY: clean
clean: ## Remove what was built; the caches stay
	rm -rf bin

##@ Fetch

.PHONY: chdb
chdb: ## Fetch the embedded ClickHouse engine (needs npm, once)
	@.ci/fetch-chdb >/dev/null

.PHONY: kafka
kafka: ## Fetch Apache Kafka (needs Maven, once)
	@.ci/fetch-kafka >/dev/null

.PHONY: llm
llm: ## Fetch a small model and build a server for it (needs pip and CMake, once)
	@.ci/fetch-llm >/dev/null
