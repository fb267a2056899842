# `make help` lists what there is. Needs GNU make 4.3 or newer and Go; `demo`
# also git.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory --no-builtin-rules
.ONESHELL:

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PKGS    ?= ./...

# The race detector: auto uses it where cgo works. A machine that has
# everything (SLIPWAY_TEST_ALL=1) must have that, too.
RACE ?= $(if $(filter 1,$(SLIPWAY_TEST_ALL)),on,auto)

# A file to which the tests' counts and skips are appended; see scripts/gotest.
RESULTS ?=

# How many failed tests may run once more, alone; see scripts/gotest.
AGAIN ?= 0

FUZZTIME  ?= 10s
BENCH     ?= .
BENCHTIME ?= 1s

gotest := $(GO) run ./scripts/gotest -race $(RACE) -results "$(RESULTS)" -again $(AGAIN)
tool   := $(GO) tool -modfile=tools/go.mod

.PHONY: demo
demo: ## build and deploy a sample repository on this machine; prints the dashboard's URL
	$(GO) run ./cmd/slipway demo

.PHONY: build
build: ## bin/slipway, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -tags nomsgpack -ldflags '-s -w -X main.version=$(VERSION)' -o bin/slipway ./cmd/slipway

BASE_IMAGE ?= debian:bookworm-slim

.PHONY: image
image: build ## the container image slipway:VERSION, also tagged slipway:latest
	docker build --build-arg BASE_IMAGE=$(BASE_IMAGE) --tag slipway:$(VERSION) --tag slipway:latest .

.PHONY: test
test: ## all tests; what this machine lacks a component for is skipped and counted
	$(gotest) -- -timeout=30m $(PKGS)

.PHONY: check
check: fmt vet staticcheck mod generated arch chart test ## everything CI checks

.PHONY: fmt
fmt: ## every Go file is formatted
	@unformatted=$$(find . -name '*.go' -not -path './.*/*' -print0 | xargs -0 -r gofmt -l -s)
	if [ -n "$$unformatted" ]; then printf 'not formatted, run gofmt -s -w:\n%s\n' "$$unformatted" >&2; exit 1; fi

.PHONY: vet
vet: ## go vet, here and in tools
	$(GO) vet ./...
	$(GO) -C tools vet ./...

.PHONY: staticcheck
staticcheck: ## staticcheck, of the version in tools/go.mod
	$(tool) staticcheck ./...

.PHONY: mod
mod: ## go.mod and go.sum are complete, minimal and what was published
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) -C tools mod tidy -diff

.PHONY: generated
generated: ## files generated from code are up to date
	@GO=$(GO) scripts/generated

.PHONY: generate
generate: ## write the files that are generated from code
	@GO=$(GO) scripts/generated -w

.PHONY: arch
arch: ## packages import only what internal/arch lets them
	$(GO) test ./internal/arch

.PHONY: chart
chart: ## the Helm chart: lint, golden manifests, strict decoding
	$(GO) run ./scripts/gotest -C tools -race off -results "$(RESULTS)" -- ./...

.PHONY: golden
golden: ## rewrite the golden manifests of the chart; read the diff before you commit it
	$(GO) -C tools test ./chart -update

.PHONY: bench
bench: build ## beside their floors: the whole program (bench/run), then go benchmarks; BENCH=regexp, BENCHTIME=1s, PKGS=./queue/...
	$(GO) run ./bench/run -slipway bin/slipway
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(PKGS)

.PHONY: chaos
chaos: ## kill server, runners, Redis and agents 200 times under pushes, approvals and deployments; SLIPWAY_CHAOS_SEED repeats a run
	SLIPWAY_CHAOS=1 $(gotest) -- -timeout 60m -count 1 -run '^TestChaos(Docker)?$$' ./test/e2e

.PHONY: tour
tour: ## pipelines, approvals, a fleet, encryption and comments once, with real processes; by the built-in git host, GitHub and Bitbucket; tells what happens
	$(GO) test -count 1 -v -timeout 10m -run '^TestTour' ./test/e2e | grep -v '^=== '

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME=10s; PKGS=./runner/buildspec
	scripts/fuzz $(FUZZTIME) $(PKGS)

.PHONY: vuln
vuln: ## known vulnerabilities in what we link; needs the vulnerability database
	$(tool) govulncheck ./...

.PHONY: clean
clean: ## remove what build has made
	rm -rf bin

.PHONY: help
help: ## this list
	@bold= plain=
	if [ -t 1 ] && [ -z "$${NO_COLOR:-}" ]; then bold=$$'\e[1m' plain=$$'\e[0m'; fi
	sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) |
		while IFS=$$'\t' read -r name what; do printf '%s%-12s%s %s\n' "$$bold" "$$name" "$$plain" "$$what"; done
