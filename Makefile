# Targets: run, test, lint, docs, bench, clean. DATA and PORT of `make run` can be given: make run PORT=9000.

DATA ?= tailrace-data
PORT ?= 8080
PYTHON ?= python3

BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
JS := tests/clients/js
# The last release with structured queries, beside the present one.
AXIOM_PY_LEGACY := .venv/clients/axiom-py-0.10

# Modules are compiled once, not at each start of a server, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint docs bench clean javascript
.DEFAULT_GOAL := run

run: $(INSTALLED)
	exec $(BIN)/tailrace serve --data "$(DATA)" --port "$(PORT)"

test: lint javascript
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/tailrace config --reference > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m tailrace.query.reference > docs/apl.md.new
	mv docs/apl.md.new docs/apl.md

bench: $(INSTALLED_DEV)
	$(BIN)/python -m bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist $(JS)/node_modules
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Dependency groups need pip 25.1, which the pip of an older Python is not.
.venv/.made:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(INSTALLED): .venv/.made pyproject.toml
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(INSTALLED_DEV): .venv/.made pyproject.toml tests/clients/axiom-py-0.10.txt
	$(BIN)/python -m pip install --quiet --group dev -e .
	rm -rf $(AXIOM_PY_LEGACY)
	$(BIN)/python -m pip install --quiet --target $(AXIOM_PY_LEGACY) -r tests/clients/axiom-py-0.10.txt
	touch $(INSTALLED) $@

# The tests of JavaScript clients skip themselves on a machine without Node.js.
javascript:
	@if command -v node >/dev/null && command -v npm >/dev/null && [ -f $(JS)/package-lock.json ]; then \
		if [ ! -f $(JS)/node_modules/.package-lock.json ] \
			|| [ $(JS)/package-lock.json -nt $(JS)/node_modules/.package-lock.json ]; then \
			npm ci --prefix $(JS) --no-audit --no-fund; \
		fi; \
	fi
