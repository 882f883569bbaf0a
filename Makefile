# Commands of this project. `make serve` needs only Python 3.11+ and make.
# Settings such as PORT and DATA_DIR are environment variables: docs/operating.md.

.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r
IS_SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
# Checks must not use the DATA_DIR or databases of a configured server.
ISOLATED := env -u PRODUCTION -u DEBUG -u DATABASE_URL -u REDIS_URL DATA_DIR=$(CURDIR)/$(VENV)/checks
# One process more than CPUs, since many tests wait for other processes; each takes a run
# of neighbouring tests, which share servers and browsers, and then what others have left.
PROCESSES = $(or $(TEST_PROCESSES),$(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)'))
PYTEST = $(PYTHON) -m pytest -n $(PROCESSES) --maxprocesses 8 --dist worksteal -rs

# Compiled modules are kept: otherwise every process that a command or test starts
# compiles the whole project again.
unexport PYTHONDONTWRITEBYTECODE

# Recreate an environment whose Python is missing, for example after a system upgrade.
ifeq ($(wildcard $(PYTHON)),)
$(shell rm -f $(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-ocr)
endif

.PHONY: help
help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# Installing ------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed $(VENV)/.installed-ocr $(VENV)/bin/signalbox ## Install the requirements of the server into .venv

$(PYTHON):
	@found=; for python in $${PYTHON3:-python3} python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c '$(IS_SUPPORTED)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer is needed. Found: $$(python3 --version 2>&1 || true)"; \
	  echo "Install one, or pass its path: make $(MAKECMDGOALS) PYTHON3=/path/to/python3"; \
	  exit 1; \
	fi; \
	$$found -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: requirements.txt | $(PYTHON)
	@echo "Installing the requirements into $(VENV); the first time takes a minute or two."
	@$(INSTALL) requirements.txt
	@touch $@

# OCR of scans needs these; without them everything else works.
$(VENV)/.installed-ocr: requirements-ocr.txt | $(VENV)/.installed
	@$(INSTALL) requirements-ocr.txt || echo "The OCR packages cannot be" \
	  "installed here: documents without a text layer will need an approval." \
	  "To try again: rm $@"
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt | $(PYTHON)
	@echo "Installing the requirements of the tests into $(VENV); the first time takes some minutes."
	@$(INSTALL) requirements-dev.txt
	@touch $@ $(VENV)/.installed $(VENV)/.installed-ocr

# The command line, from any directory; it needs no server on this machine.
$(VENV)/bin/signalbox: Makefile | $(PYTHON)
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m signalbox "$$@"\n' \
	  '$(CURDIR)' '$(CURDIR)/$(PYTHON)' > $@ && chmod 755 $@

# Running ---------------------------------------------------------------------------------

.PHONY: serve
serve: setup ## Prepare what is missing, serve the pages and execute runs
	@exec $(PYTHON) manage.py serve --prepare

.PHONY: dev
dev: setup ## Serve, and start again when a Python file changes; an error is a page
	@exec $(PYTHON) -m project.dev_server

.PHONY: worker
worker: setup ## Execute runs in a separate process, with servers that share REDIS_URL
	@exec $(PYTHON) manage.py worker

.PHONY: install-systemd
install-systemd: setup ## As root: install the units for systemd, with this directory as their program
	@case "$(CURDIR)" in /home/*|/root/*) \
	  echo "Move the project out of $(CURDIR) first, for example to /opt/signalbox:" \
	    "the services have no access to home directories."; exit 1;; esac
	@install -d "$(DESTDIR)/etc/systemd/system"
	@for unit in deploy/systemd/*; do \
	  sed 's#/opt/signalbox#$(CURDIR)#g' "$$unit" > "$(DESTDIR)/etc/systemd/system/$${unit##*/}" || exit 1; \
	done
	@test -e "$(DESTDIR)/etc/signalbox.env" \
	  || install -m 0600 deploy/signalbox.env.example "$(DESTDIR)/etc/signalbox.env"
	@if [ -z "$(DESTDIR)" ]; then \
	  id signalbox >/dev/null 2>&1 || useradd --system --home-dir /var/lib/signalbox signalbox; \
	  systemctl daemon-reload; \
	fi
	@echo "Fill in /etc/signalbox.env, then start two web processes, a worker and nightly backups:"
	@echo "  systemctl enable --now signalbox@8001 signalbox@8002 signalbox-worker@1 signalbox-backup.timer"

# Testing ---------------------------------------------------------------------------------

.PHONY: test
test: $(VENV)/.installed-dev ## Run all tests but the slow ones; browser tests are skipped without Chromium
	@$(PYTEST) -m "not slow and not types"

.PHONY: test-all
test-all: $(VENV)/.installed-dev ## Run all tests thoroughly, on SQLite and on PostgreSQL
	@HYPOTHESIS_PROFILE=thorough $(PYTEST)
	@TEST_DATABASE=postgres $(PYTEST)

.PHONY: check format lint templates types imports migrations deploy vulnerable
check: format lint templates types imports migrations deploy vulnerable ## Check format, lint, types, imports, migrations and more

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .

templates: $(VENV)/.installed-dev
	$(VENV)/bin/djlint --quiet --check templates
	$(VENV)/bin/djlint --quiet --lint templates

types: $(VENV)/.installed-dev
	$(ISOLATED) $(VENV)/bin/mypy
	@$(PYTHON) -m pytest -q -m types tests/engine/test_typing.py tests/docs/test_authoring.py

imports: $(VENV)/.installed-dev
	$(VENV)/bin/lint-imports

migrations: $(VENV)/.installed-dev
	$(ISOLATED) $(PYTHON) manage.py makemigrations --check --dry-run

deploy: $(VENV)/.installed-dev
	@echo "manage.py check --deploy, in production mode"
	@key=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(64))'); \
	$(ISOLATED) PRODUCTION=1 SECRET_KEY=$$key ALLOWED_HOSTS=runs.example.org \
	  $(PYTHON) manage.py check --deploy --fail-level WARNING

# Without network access this reports that the check was skipped.
vulnerable: $(VENV)/.installed-dev
	@$(PYTHON) -m project.vulnerability_check
