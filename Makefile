# Everything a contributor or a machine runs. Bare make prints this list.

GO      ?= go
VERSION ?=
TIME    ?= 20s
TAGS    ?= invariants
ROUNDS  ?= 500
SEED    ?= 1

LDFLAGS = -s -w $(if $(VERSION),-X main.version=$(VERSION))

# Packages that start goroutines or are used from several run under the race
# detector, which turns the invariants on as well; it needs cgo and a C compiler.
CONCURRENT = ./actors ./api/... ./cluster/... ./ingest/... ./persistence/...
CC_FOUND  := $(shell command -v $${CC:-cc} 2>/dev/null)
RACE       = $(if $(CC_FOUND),CGO_ENABLED=1 $(GO) test -race,$(GO) test -tags $(TAGS))

.DEFAULT_GOAL := help
.PHONY: help build run test test-go test-sdk test-clients test-release verify torture fuzz bench kafka lint check cross clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r t d; do printf '  %-14s %s\n' "$$t" "$$d"; done

build: ## bin/gemello, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/gemello ./cmd/gemello

run: build ## build, then a demonstration node on loopback
	bin/gemello serve --demo

test: test-go test-sdk ## all tests: units, properties, crashes, layout rules, SDKs

# Two calls, so that each package runs once: those above under the race
# detector, the others with the invariants on. The first does not hide what the
# second finds.
test-go:
	@status=0; \
	rest=$$($(GO) list ./... | grep -vxF "$$($(GO) list $(CONCURRENT))"); \
	echo "$(GO) test -tags $(TAGS): packages without goroutines"; \
	$(GO) test -tags $(TAGS) $$rest || status=1; \
	echo "$(RACE): $(CONCURRENT)"; \
	$(RACE) $(CONCURRENT) || status=1; \
	exit $$status

test-sdk: build ## unmodified Azure SDKs against bin/gemello (needs node and npm)
	@if [ ! -x test/sdk/run.sh ]; then echo "test/sdk/run.sh is absent: no SDK tests"; \
	elif ! command -v npm >/dev/null; then echo "npm is not installed: SDK tests skipped"; \
	else test/sdk/run.sh; fi

test-clients: build ## kcat, Python and Java tools against bin/gemello log, those that are installed
	test/clients/run.sh

test-release: ## the tests as the released binary is built: no tags, no race detector
	CGO_ENABLED=0 $(GO) test ./...

verify: build ## kill nodes at random, then check that nothing is lost or repeated
	bin/gemello verify

# A real Kafka in place of our log: TORTURE='-start "kafka-start.sh ..." -addr HOST:PORT -pid-file FILE'.
torture: build ## kill the log ROUNDS times (500) under transactions, then compare with what clients know
	$(GO) test -v -count=1 -timeout 2h -run Promises ./internal/torture -rounds $(ROUNDS) -seed $(SEED) -binary $(CURDIR)/bin/gemello $(TORTURE)

fuzz: ## every fuzz target for TIME (20s)
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(TIME) $$pkg || exit 1; \
	  done; \
	done

bench: ## all Go benchmarks, lines for benchstat
	$(GO) test -run '^$$' -bench . -benchmem ./...

kafka: ## log tests against a real Kafka: GEMELLO_KAFKA=host:port
	@test -n "$(GEMELLO_KAFKA)" || { echo "set GEMELLO_KAFKA=host:port"; exit 2; }
	GEMELLO_KAFKA=$(GEMELLO_KAFKA) $(GO) test -count=1 -tags $(TAGS) ./persistence/eventlog/... ./actors/... ./test/conformance

lint: ## formatting, vet, layout rules; golangci-lint where it is installed
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt:"; echo "$$out"; exit 1; }
	$(GO) vet -tags $(TAGS) ./...
	$(GO) test ./internal/lint
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: skipped"; fi

cross: ## compile for each supported system without cgo
	@for p in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do \
	  echo "$$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -trimpath -o /dev/null ./cmd/gemello || exit 1; \
	done

check: lint test test-release cross ## what a change must pass; fails when it leaves the tree dirty
	@test -z "$$(git status --porcelain)" || { git status --short; exit 1; }

clean: ## remove what make builds
	rm -rf bin
