# Every command of the project. Run as root on Debian 12; nothing outside the checkout is needed beforehand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test quick tools dev lab site report molecule interop peers hostile fuzz native native-fuzz browser scale bench trials killed lock clean-lab

VENV := .venv
NATIVE := files/mpquic/src/mpquic/native/libmpquic.so
BIN := $(VENV)/bin
# The lab builds and boots Debian machines; the rest is what the playbooks need on the controller.
PACKAGES := python3-venv openssh-client iproute2 nftables systemd-container mmdebstrap dnsmasq-base tinyproxy-bin gcc libc6-dev libssl-dev curl
# Driven by the tests of the status page, and by scripts/make-screenshots.
BROWSER_PACKAGES := chromium chromium-driver
DEV_PACKAGES := tcpdump iputils-ping iperf3 openvpn wireguard-go wireguard-tools ethtool git
# npm of a Node.js that is there already is as good as Debian's, and cannot be installed beside it.
INTEROP_PACKAGES := golang-go golang-github-lucas-clemente-quic-go-dev $(if $(shell command -v npm),,nodejs npm)
INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
export PATH := $(CURDIR)/$(BIN):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTHONDONTWRITEBYTECODE := 1

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: ## Set everything up, run the play on the lab, show the six tunnels
	@scripts/stage demo tools lab site report

test: ## Run every test
	@$(MAKE) --no-print-directory dev peers
	@scripts/run-tests all

quick: dev ## Lint, types, unit and namespace tests
	@scripts/run-tests quick

tools: ## Install what the playbooks and the lab need
	@scripts/install-packages $(PACKAGES)
	@$(MAKE) -s --no-print-directory $(VENV)/.controller

dev: tools ## Install the tools of the test suite as well
	@scripts/install-packages $(DEV_PACKAGES)
	@$(MAKE) -s --no-print-directory $(VENV)/.dev
	@$(MAKE) -s --no-print-directory $(NATIVE)
	@scripts/install-promtool $(BIN)/promtool || test "$${CI:-}" != true
	@$(MAKE) -s --no-print-directory browser

# Where it cannot be had, the tests that need it are skipped; in continuous integration that is a failure.
browser:
	@scripts/install-packages $(BROWSER_PACKAGES) || test "$${CI:-}" != true

native: tools ## Compile the native data plane; MPQUIC_NATIVE=off runs anything without it
	@$(MAKE) -s --no-print-directory $(NATIVE)

$(NATIVE): $(wildcard files/mpquic/native/*)
	@files/mpquic/native/build $@

$(VENV)/.controller: requirements/controller.txt
	@echo "installing ansible-core into $(VENV)"
	@test -x $(BIN)/python || /usr/bin/python3 -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/controller.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt files/mpquic/pyproject.toml | $(VENV)/.controller
	@echo "installing the test tools into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable files/mpquic
	@touch $@

lab: tools ## Boot the lab: client1, vps1, six WANs, six LANs, an internet
	@lab/lab up

site: tools ## Run site.yml on the lab; ARGS='--check --diff' shows what would change
	@ansible-playbook -i inventories/lab site.yml $(ARGS)

report: ## Measure and show the six tunnels of the lab
	@lab/lab report

molecule: dev ## Run every molecule scenario on the lab, at full length
	@scripts/run-tests molecule

interop: dev peers ## Exchange datagrams with foreign QUIC stacks, quic-go and quiche
	@scripts/run-tests interop

# Where these cannot be had, the tests that need them are skipped; in continuous integration that is a failure.
peers: tools
	@scripts/install-packages $(INTEROP_PACKAGES) || test "$${CI:-}" != true

hostile: dev ## Attack whole daemons at full length, and print what it cost them; wants an idle machine
	@MPQUIC_HOSTILE=full python -m pytest -n 0 files/mpquic/tests/hostile

fuzz: dev ## Feed a million inputs to every decoder; COUNT=, SEED=, JOBS=, DECODER='config reads'
	@python files/mpquic/tests/fuzz $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(DECODER)

scale: dev ## Plan 500 clients with 6 tunnels and 6 links of 3 classes each, and say how long that takes
	@python scripts/scale.py $(CLIENTS)

native-fuzz: dev ## Fuzz the native data plane under sanitizers; LIMIT=1800 seconds each, TARGET='open merge'
	@scripts/install-packages clang libclang-rt-14-dev
	@python files/mpquic/tests/native/fuzz --limit $(or $(LIMIT),60) $(TARGET)

bench: dev ## Measure against wireguard-go and OpenVPN in one run; ARGS='--quick' takes 90 s
	@python tests/bench $(ARGS)
	@$(if $(ARGS),:,python tests/bench/lossy.py --json build/bench/lossy.json)

trials: dev ## Cut, flap, unplug and load the WANs of daemons with several paths; ARGS='--only blackhole' picks some
	@python tests/trials $(ARGS)

killed: dev ## Kill the controller at every task of site.yml on the lab, in turn; ARGS='--every 10 --minutes 15'
	@lab/lab up
	@python tests/killed $(ARGS)

lock: dev ## Make the lock files anew
	@scripts/lock

clean-lab: ## Remove the lab and every file of it
	@test ! -x $(BIN)/python || lab/lab purge
