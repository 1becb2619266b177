# What one does with this project. Each target installs what it lacks (scripts/require.sh), and nothing where all is there.

# Programs of packages and of rustup are found also where a bare environment does not look for them.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/bin:/sbin

# Tests at a time. Many wait for time to pass (an expiry, a retirement) and cost nothing meanwhile.
TEST_THREADS ?= 12

# The etcd of tests, bench and cluster is the first in PATH. ETCD=3.5 or ETCD=3.6: that version, built from source with Go 1.21 or newer, in
# place of the one of the machine. A variable ETCD of the environment counts too; `make ETCD= …` ignores it.
etcd := etcd
ifdef ETCD
ifneq ($(ETCD),3.5)
ifneq ($(ETCD),3.6)
$(error ETCD is 3.5 or 3.6, and not "$(ETCD)". A value of the environment is ignored with `make ETCD= …`)
endif
endif
etcd := etcd-$(ETCD)
export PATH := $(CURDIR)/target/tools/$(etcd):$(PATH)
endif

# Faults at a time: with more the machine stands still for longer than clients wait. The soak takes 20 minutes, others pass
# meanwhile.
FAULT_THREADS ?= 4

.PHONY: help run test faults conformance console-test screenshots bench cluster troubles dist deb dist-test dist-twice deb-test deploy-check

help:
	@echo "make run      build, and serve on 127.0.0.1:30100 with the embedded store (./data)"
	@echo "make test     format, lints and all tests"
	@echo "make faults   the fault and property tests, longer and wider"
	@echo "make conformance  running nodes against their OpenAPI document, with schemathesis"
	@echo "make console-test  only the tests of the console in a real browser; prints times and memory"
	@echo "make screenshots   a picture of each page of the console into docs/images/"
	@echo "make bench    what the daemon does on this machine, beside its targets (benches/README.md)"
	@echo "make dist     dist/service-center-VERSION-linux-amd64.tar.gz, its debug symbols and checksums"
	@echo "make deb      dist/service-center_VERSION_amd64.deb"
	@echo "make dist-test   unpacks the archive and follows docs/cluster.md; lints scripts and the unit of systemd"
	@echo "make dist-twice  builds the archive in two folders and compares the bytes"
	@echo "make deb-test    installs, starts, upgrades and removes the package in a Debian of its own (as root)"
	@echo "    ETCD=3.6 (or 3.5) after test, faults, bench, cluster: with that etcd, built from source (needs Go 1.21 or newer)"
	@echo "make cluster  two nodes on one etcd, on this machine, until Ctrl-C"
	@echo "make troubles  such a cluster with faults, to try docs/troubleshooting.md"
	@echo "make deploy-check  the files for containers and Kubernetes, by the tools of their fields (needs Go and Python)"

run:
	@scripts/require.sh cc make protoc
	cargo run --locked --profile quick

test:
	@scripts/require.sh cc make protoc $(etcd) etcdctl prometheus wrk chromium curl openssl python3 objcopy systemd-analyze rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked -- --test-threads=$(TEST_THREADS)

faults:
	@scripts/require.sh cc make protoc $(etcd) etcdctl
	SC_FAULTS=long cargo test --locked --test store_embedded --test store_etcd -- --test-threads=$(TEST_THREADS)
	SC_FAULTS=long cargo test --locked --lib -- --test-threads=$(TEST_THREADS) clock lease guard watch::tests
	SC_FAULTS=long cargo test --locked --test it -- --test-threads=$(FAULT_THREADS) fault:: property::

TOOLS := target/tools/conformance

$(TOOLS)/installed: scripts/conformance/requirements.txt
	@scripts/require.sh venv
	rm -rf $(TOOLS)
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r scripts/conformance/requirements.txt
	touch $@

# Schemathesis sends requests that the OpenAPI document allows and requests that it does not allow, and compares the answers with the
# document. EXAMPLES=100: more cases of each operation. MODES=plain: only without accounts.
conformance: $(TOOLS)/installed
	@scripts/require.sh cc make protoc
	cargo build --locked
	@python3 scripts/conformance/run.py target/debug/service-center $(TOOLS)/bin/schemathesis

# A part of `make test`, which prints no figures. With two tests at a time the figures say more.
console-test:
	@scripts/require.sh cc make protoc chromium $(etcd) etcdctl openssl
	cargo test --locked --test console -- --nocapture --test-threads=2

screenshots:
	@scripts/require.sh cc make protoc chromium openssl
	SC_SCREENSHOTS=docs/images cargo test --locked --test console pictures::

# ROWS=find,register: rows whose names begin so. STORES=embedded: one store. SAVE=1: append to benches/RESULTS.md.
# SHORT=1: tiny counts, only whether each row works. ETCD_FLAGS=--backend-batch-interval=100ms: flags of etcd that win over the recommended.
bench:
	@scripts/require.sh cc make protoc $(etcd) etcdctl wrk
	cargo bench --locked --bench daemon -- $(if $(ROWS),--rows $(ROWS)) $(if $(STORES),--stores $(STORES)) \
		$(if $(SHORT),--short) $(if $(SAVE),--save)

cluster:
	@scripts/require.sh cc make protoc $(etcd)
	cargo build --locked --profile quick
	@scripts/cluster.sh

troubles:
	@scripts/require.sh cc make protoc $(etcd) python3
	cargo build --locked --profile quick
	@scripts/troubles.py

dist:
	@scripts/require.sh cc make protoc python3 objcopy
	@scripts/dist.sh archive

deb:
	@scripts/require.sh cc make protoc python3 objcopy dpkg-deb cargo-deb
	@scripts/dist.sh deb

dist-test: dist
	@scripts/require.sh $(etcd) shellcheck
	shellcheck --severity=warning scripts/*.sh deploy/archive/*.sh deploy/debian/postrm .ci/*
	@scripts/dist-test.sh

dist-twice: dist
	@scripts/dist-twice.sh

deb-test: dist deb
	@scripts/require.sh debootstrap systemd-nspawn
	@scripts/deb-test.sh

# Not a part of `make test`, because it needs Go, Python, and (for IMAGE=1) root, buildah and podman.
deploy-check:
	@scripts/require.sh cc make protoc
	cargo build --locked --release
	@scripts/deploy-check.sh
	$(if $(IMAGE),@scripts/deploy-check.sh image)
