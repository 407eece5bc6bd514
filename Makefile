# make demo   the demo desktop, from nothing: one virtual environment with what the program needs
# make test   all tests, from nothing: another one with the tests' needs too
# make check  formatting, lint, types, import directions
# make docs   the documentation, with warnings as errors: build/docs/html/index.html
# make peers  (Debian, as root) the real clients and servers that tests talk to; without them those tests are skipped
# make bench  the benchmarks          make lock  new lock files          make clean  away with all of it
# make web-assets  noVNC, from its released package to the one file that is shipped
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

.PHONY: demo test check docs peers bench examples lock web-assets clean
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

docs: $(DEV_VENV)/.docs
	$(DEV_VENV)/bin/python -m sphinx --fail-on-warning --quiet -j 2 -d build/docs/doctrees docs build/docs/html $(ARGS)
	@echo "build/docs/html/index.html"

bench: $(DEV_VENV)/.installed
	$(DEV_VENV)/bin/python benchmarks/connect.py $(ARGS)
	$(DEV_VENV)/bin/python benchmarks/input.py

$(DEMO_VENV)/.installed: requirements.lock $(BUILT_FROM)
$(DEV_VENV)/.installed: requirements-dev.lock $(BUILT_FROM)

# Beside the development's: the documentation is made from the package, and from what its tests know.
$(DEV_VENV)/.docs: requirements-docs.lock $(DEV_VENV)/.installed
	@$(DEV_VENV)/bin/python $(INSTALL_LOCKED) $<
	@touch $@

%/.installed:
	@test -n "$(PYTHON)" || { echo "rdpprov needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv $(@D) || { echo "$(PYTHON) cannot make virtual environments (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(@D)/bin/python $(INSTALL_LOCKED) $<
	@$(@D)/bin/python $(INSTALL_PROJECT)
	@touch $@

SUDO = $(if $(filter 0,$(shell id -u)),,sudo)
PEERS = freerdp2-x11 freerdp2-shadow-x11 rdesktop xrdp tshark \
	tigervnc-viewer tigervnc-standalone-server gvncviewer xvfb xauth xdotool x11-utils x11-xkb-utils xkb-data imagemagick \
	chromium

peers:
	$(SUDO) apt-get update -q
	DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q -y --no-install-recommends $(PEERS)

# Needs uv. UPGRADE=--upgrade takes the newest versions, otherwise only what pyproject.toml forces is changed.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(UPGRADE)

lock:
	$(LOCK) --extra rfb --extra web --group build --output-file requirements.lock pyproject.toml
	$(LOCK) --extra rfb --extra web --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --group pyproject.toml:docs --constraint requirements-dev.lock --output-file requirements-docs.lock

# Needs npm and node. The bundle is in the repository, so nobody else does; the same versions give the same bytes.
NOVNC = 1.7.0
ESBUILD = 0.28.2
WEB_STATIC = rdpprov/web/static
WEB_BUILD = build/web-assets
WEB_PACKAGE = $(WEB_BUILD)/node_modules/@novnc/novnc
define NOVNC_ENTRY
export { default as RFB } from './core/rfb.js';
export { default as Keyboard } from './core/input/keyboard.js';
export { default as keysymdef } from './core/input/keysymdef.js';
endef
export NOVNC_ENTRY
NOVNC_BANNER = /*! noVNC $(NOVNC), (C) The noVNC authors, MPL-2.0 and others: see novnc.LICENSE.txt. \
	Source: https://github.com/novnc/noVNC/tree/v$(NOVNC) */

web-assets:
	rm -rf $(WEB_BUILD)
	mkdir -p $(WEB_BUILD)
	npm install --silent --no-save --no-package-lock --ignore-scripts --prefix $(WEB_BUILD) \
		@novnc/novnc@$(NOVNC) esbuild@$(ESBUILD)
	printf '%s\n' "$$NOVNC_ENTRY" > $(WEB_PACKAGE)/rdpprov.js
	$(WEB_BUILD)/node_modules/.bin/esbuild $(WEB_PACKAGE)/rdpprov.js --bundle --minify --format=esm --target=es2022 \
		--charset=utf8 --legal-comments=none --banner:js='$(strip $(NOVNC_BANNER))' --outfile=$(WEB_STATIC)/novnc.js
	cd $(WEB_PACKAGE) && { cat LICENSE.txt; \
		for part in AUTHORS docs/LICENSE.MPL-2.0 vendor/pako/LICENSE; do \
			printf '\n\n======== %s ========\n\n' $$part; cat $$part; done; \
		printf '\n\n======== core/crypto/des.js ========\n\n'; sed '/\*\//q' core/crypto/des.js; \
	} > $(CURDIR)/$(WEB_STATIC)/novnc.LICENSE.txt

clean:
	rm -rf $(DEMO_VENV) $(DEV_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f rdpprov/codecs/*.so
