# Targets: run, test, test-fast, test-long, test-newest, test-clients, coverage, lint, lock, docs, site, licenses, bench, fleet, pictures, fuzz, wheels, clean. DATA and PORT of `make run` can be given: make run PORT=9000.

DATA ?= tailrace-data
PORT ?= 8080
PYTHON ?= python3

BIN := .venv/bin
PYTEST := $(BIN)/pytest -n 2 --dist worksteal
# A Spark server and client, which a test asks for tables.
SPARK := .venv/clients/spark
# How long `make fleet` runs, in s.
FLEET_SECONDS ?= 60
# How many times the rounds that the tests name `make test-long` takes.
ROUNDS ?= 3
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
NATIVE := src/tailrace/native/_native.so
CONSOLE := src/tailrace/console/static/.digest
# With the directories, which are newer once a file is deleted.
CONSOLE_SOURCES := $(wildcard console/*.*) $(shell find console/src console/public)
# What the console is checked with, which its build needs not.
CONSOLE_DEV := console/node_modules/typescript
# The console, and JavaScript clients; those of doors apart, as some need other versions of the same packages.
JS := console tests/clients/js tests/clients/js_doors
# The last release with structured queries, beside the present one.
AXIOM_PY_LEGACY := .venv/clients/axiom-py-0.10

# Modules are compiled once, not at each start of a server, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-fast test-long test-newest test-clients coverage lint lock docs site licenses bench fleet pictures fuzz wheels clean javascript
.DEFAULT_GOAL := run

run: $(INSTALLED)
	exec $(BIN)/tailrace serve --data "$(DATA)" --port "$(PORT)"

# With a third of the rounds, as `make test-long` takes many more of the same.
test: javascript lint
	TEST_ROUNDS=0.35 $(PYTEST) -m "not slow"

# The tests that start no process and take no seconds, with a fifth of the rounds: while working on a change.
test-fast: lint
	TEST_ROUNDS=0.2 $(PYTEST) -m "not process and not costly and not slow"

# The crash, fuzz and property tests with more rounds, and the slow ones; HYPOTHESIS_PROFILE=search looks for new examples.
test-long: $(INSTALLED_DEV) .venv/.spark
	TEST_ROUNDS=$(ROUNDS) $(PYTEST) -m "rounds or slow"

# Lines and branches of the way from a body to a table that these packages' quick tests pass, and those that ask a store of
# objects beside them; fails below the bound in pyproject.toml.
coverage: $(INSTALLED_DEV)
	TEST_ROUNDS=0.1 $(PYTEST) -m "(not process or store) and not costly and not slow" --cov --cov-report=term \
		tests/parsing tests/log tests/lake tests/storage tests/backup tests/fleet

# What a library's change could break, against the newest that the ranges of pyproject.toml allow: tells, and does not fail.
test-newest: .venv/bin/uv
	$(BIN)/python tests/newest.py

# The vendors' own suites, fetched from their registries, against a server of this code.
test-clients: $(INSTALLED_DEV) javascript
	$(BIN)/python tests/clients/suites/run.py

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy || { [ $$? = 2 ] && $(BIN)/mypy --num-workers=0; }  # whose workers have 3 s to start
	@if [ -d $(CONSOLE_DEV) ]; then $(BIN)/python hatch_build.py npm run --silent check \
		&& $(BIN)/python hatch_build.py npm test --silent; fi

docs: $(INSTALLED)
	$(BIN)/tailrace config --reference > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m tailrace.query.reference > docs/apl.md.new
	mv docs/apl.md.new docs/apl.md
	$(BIN)/python tests/support/packages.py > docs/architecture.md.new
	mv docs/architecture.md.new docs/architecture.md

# The pages of docs/ as a site of this version, in site/; it asks no other host for anything.
site: .venv/.site
	PYTHONPATH=.venv/site $(BIN)/python deploy/site/build.py

# What Tailrace is made with, and under which licenses; a wheel and the image have it.
licenses: $(INSTALLED)
	$(BIN)/python hatch_build.py licenses THIRD_PARTY_LICENSES

# A whole fleet on this machine under load, of which nodes are killed, paused and stopped all the time; needs PostgreSQL.
fleet: $(INSTALLED_DEV)
	PYTHONPATH=tests $(BIN)/python -m bench.fleet --seconds $(FLEET_SECONDS)

bench: $(INSTALLED_DEV)
	$(BIN)/python -m bench

# The pictures of docs/console.md: needs Chromium and the built console.
pictures: $(INSTALLED_DEV)
	$(BIN)/python -m bench.pictures

# The passes over bytes in C with libFuzzer and sanitizers, for FUZZ_SECONDS (600): needs clang.
fuzz: $(INSTALLED_DEV)
	PYTHONPATH=src:tests $(BIN)/python tests/native/fuzz/run.py

# For Linux with glibc and with musl and for macOS, x86-64 and arm64; and the source.
wheels: .venv/.zig $(INSTALLED)
	rm -rf dist
	$(BIN)/python hatch_build.py wheels dist
	$(BIN)/python -m hatchling build --target sdist

clean:
	rm -rf $(NATIVE) $(dir $(CONSOLE)) .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist site THIRD_PARTY_LICENSES $(addsuffix /node_modules,$(JS))
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed is what the files of requirements/ name, by version and hash, and nothing else: they are the lock.
LOCKED := --require-hashes --no-build-isolation
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# With uv, which takes a twentieth of pip's time; with pip where uv is not to be had, or reaches no index.
INSTALL = { [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(BIN)/python $(1); } || $(PIP) $(1)

.venv/.made: requirements/build.txt
	$(PYTHON) -m venv .venv
	$(PIP) $(LOCKED) -r requirements/build.txt
	-$(PIP) $(LOCKED) --only-binary=:all: -r requirements/lock.txt
	touch $@

# A C compiler as a package, where the machine has none that works, or is to build for others.
.venv/.zig: .venv/.made requirements/zig.txt
	$(call INSTALL,$(LOCKED) -r requirements/zig.txt)
	touch $@

$(NATIVE): .venv/.made hatch_build.py $(wildcard src/tailrace/native/*.[ch])
	@$(BIN)/python hatch_build.py compiler || $(MAKE) .venv/.zig
	$(BIN)/python hatch_build.py native

# Node.js as a package, where the machine has none that is new enough.
.venv/.node: .venv/.made requirements/node.txt
	$(call INSTALL,$(LOCKED) -r requirements/node.txt)
	touch $@

$(CONSOLE): .venv/.made hatch_build.py $(CONSOLE_SOURCES)
	@$(BIN)/python hatch_build.py node || $(MAKE) .venv/.node
	$(BIN)/python hatch_build.py console

$(INSTALLED): .venv/.made pyproject.toml requirements/run.txt | $(NATIVE) $(CONSOLE)
	$(call INSTALL,$(LOCKED) -r requirements/run.txt)
	$(call INSTALL,--no-build-isolation --no-deps --no-index -e .)
	touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements/dev.txt requirements/axiom-py-0.10.txt
	$(call INSTALL,$(LOCKED) -r requirements/dev.txt)
	rm -rf $(AXIOM_PY_LEGACY)
	$(call INSTALL,$(LOCKED) --target $(AXIOM_PY_LEGACY) -r requirements/axiom-py-0.10.txt)
	touch $@

# Where there is no such package for the machine, its test is left out.
.venv/.spark: $(INSTALLED_DEV) requirements/spark.txt
	rm -rf $(SPARK)
	-$(call INSTALL,$(LOCKED) --no-deps --target $(SPARK) -r requirements/spark.txt)
	touch $@

.venv/.site: .venv/.made requirements/site.txt
	rm -rf .venv/site
	$(call INSTALL,$(LOCKED) --target .venv/site -r requirements/site.txt)
	touch $@

.venv/bin/uv: requirements/lock.txt | .venv/.made
	$(PIP) $(LOCKED) -r requirements/lock.txt
	touch $@

# Each file holds every platform and Python that the project runs on; dev.txt comes first, as the others follow it.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'

lock: .venv/bin/uv
	$(LOCK) pyproject.toml --group dev --all-extras -o requirements/dev.txt >/dev/null
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/run.txt >/dev/null
	$(LOCK) -c requirements/dev.txt pyproject.toml --all-extras -o requirements/image.txt >/dev/null
	$(LOCK) -c requirements/dev.txt requirements/build.in -o requirements/build.txt >/dev/null
	$(LOCK) requirements/zig.in -o requirements/zig.txt >/dev/null
	$(LOCK) requirements/node.in -o requirements/node.txt >/dev/null
	$(LOCK) requirements/axiom-py-0.10.in -o requirements/axiom-py-0.10.txt >/dev/null
	$(LOCK) --no-deps -c requirements/dev.txt requirements/spark.in -o requirements/spark.txt >/dev/null
	$(LOCK) --group lock -o requirements/lock.txt >/dev/null
	$(LOCK) --group site -o requirements/site.txt >/dev/null

# The tests of JavaScript clients, and the checks of the console, are left out on a machine without Node.js.
javascript:
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		for project in $(JS); do \
			if [ ! -f $$project/node_modules/.package-lock.json ] \
				|| [ $$project/package-lock.json -nt $$project/node_modules/.package-lock.json ] \
				|| { [ $$project = console ] && [ ! -d $(CONSOLE_DEV) ]; }; then \
				npm ci --prefix $$project --no-audit --no-fund & started="$$started $$!"; \
			fi; \
		done; \
		for each in $$started; do wait $$each || exit 1; done; \
	fi
