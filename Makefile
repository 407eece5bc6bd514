# make demo   the demo desktop, from nothing: one virtual environment with what the program needs
# make test   all tests, from nothing: another one with the tests' needs too
# make check  formatting, lint, types, import directions
# make peers  (Debian, as root) the real clients and servers that tests talk to; without them those tests are skipped
# make bench  the benchmarks          make lock  new lock files          make clean  away with all of it
#
# ARGS="..." goes to the command that is run: make test ARGS="-k reconnect", make demo ARGS="--trace-dir traces"

# The first that is new enough; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
DEMO_VENV ?= .venv-demo
DEV_VENV ?= .venv
JOBS ?= auto
ARGS ?=

# No question to a registry beyond what the lock files pin, no build environment of its own, no compiled files for
# modules that are never imported.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-input --no-compile
INSTALL_LOCKED = $(PIP_INSTALL) --require-hashes --no-deps -r
# Editable, so that a second run needs no installation. Building needs setuptools alone, which the lock files have.
INSTALL_PROJECT = $(PIP_INSTALL) --no-deps --no-build-isolation --no-index -e .
BUILT_FROM = pyproject.toml $(wildcard setup.py) $(wildcard rdpprov/codecs/*.c)

.PHONY: demo test check peers bench examples lock clean
.DELETE_ON_ERROR:

demo: $(DEMO_VENV)/.installed
	@exec $(DEMO_VENV)/bin/rdpprov demo $(ARGS)

test: $(DEV_VENV)/.installed
	$(DEV_VENV)/bin/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

check: $(DEV_VENV)/.installed
	$(DEV_VENV)/bin/ruff format --check .
	$(DEV_VENV)/bin/ruff check .
	$(DEV_VENV)/bin/mypy
	$(DEV_VENV)/bin/python -m pytest -q tests/test_imports.py

bench: $(DEV_VENV)/.installed
	$(DEV_VENV)/bin/python benchmarks/connect.py $(ARGS)
	$(DEV_VENV)/bin/python benchmarks/input.py

$(DEMO_VENV)/.installed: requirements.lock $(BUILT_FROM)
$(DEV_VENV)/.installed: requirements-dev.lock $(BUILT_FROM)

%/.installed:
	@test -n "$(PYTHON)" || { echo "rdpprov needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv $(@D) || { echo "$(PYTHON) cannot make virtual environments (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(@D)/bin/python $(INSTALL_LOCKED) $<
	@$(@D)/bin/python $(INSTALL_PROJECT)
	@touch $@

SUDO = $(if $(filter 0,$(shell id -u)),,sudo)
PEERS = freerdp2-x11 freerdp2-shadow-x11 rdesktop xrdp tshark \
	xvfb xauth xdotool x11-utils x11-xkb-utils xkb-data imagemagick

peers:
	$(SUDO) apt-get update -q
	DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q -y --no-install-recommends $(PEERS)

# Needs uv. UPGRADE=--upgrade takes the newest versions, otherwise only what pyproject.toml forces is changed.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(UPGRADE)

lock:
	$(LOCK) --group build --output-file requirements.lock pyproject.toml
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf $(DEMO_VENV) $(DEV_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f rdpprov/codecs/*.so
