# The front door. `make help` lists what there is; scripts/ holds how.
.DEFAULT_GOAL := help
.PHONY: help run-local test conformance node-suite cases crash link load podman fuzz bench break images lint fmt docs clean clean-local

FOR ?=
WHAT ?=
DISK ?=
export FOR WHAT DISK

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run-local: ## hub, edge, two modules, a leaf device on this machine [FOR=60: end by itself] [DISK=128M]
	@scripts/run-local.sh

test: ## all tests: unit, actor, integration, real Docker, real SDK clients
	@scripts/test.sh

conformance: ## the real SDK clients' scenarios against hub and gateway [SCENARIOS=file.py]
	@scripts/conformance.sh

node-suite: ## the Node SDKs' scenarios against hub and gateway [ONLY=name,name]
	@scripts/node-suite.sh

cases: ## the tables of cases [EDGE_CASES_DIR=folder]
	@scripts/cases.sh

crash: ## the fault loops: kill -9, power cuts, disk errors, bad links, clocks that jump [CYCLES=50] [SEED=1] [SWAPS=500] [CUTS=3] [PEERS=1]
	@scripts/crash.sh

link: ## many identities over a link that is cut again and again [LINK_IDENTITIES=200] [LINK_SECONDS=20]
	@scripts/link.sh

load: ## many TLS clients: connect rate, memory for each, a message of each [CLIENTS=5000]
	@scripts/load.sh

podman: ## the tests of the agent against Podman in Docker's place
	@scripts/podman.sh

fuzz: ## libFuzzer on packets, topics, bags, log-ins [RUNS=1000000] [TARGET=codec]
	@scripts/fuzz.sh

bench: ## benchmarks beside mosquitto and rumqttd [BENCH_QUICK=1] [BENCH="load pace idle stored disk link-bytes agent"]
	@scripts/bench.sh

break: ## while run-local runs: break something and watch it come back WHAT=link|hub|runtime|module|disk
	@scripts/break.sh

images: ## the sample modules' images, from scratch
	@scripts/images.sh

lint: ## formatting, clippy, licences and bans of dependencies, shell scripts
	@scripts/lint.sh

fmt: ## format the code
	@cargo fmt --all

docs: ## the code's documentation, in target/doc
	@cargo doc --workspace --no-deps

clean: ## remove everything that was built (and run-local's state)
	@cargo clean

clean-local: ## remove run-local's state
	@rm -rf target/run-local
