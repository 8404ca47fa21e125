# make study: the whole study at demo scale, from nothing to a report.   make test: every check, from nothing.
# make torture: the tests that try to break the study in their long forms (an hour); results/reliability.json keeps what they found.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
export PYTHONDONTWRITEBYTECODE :=  # empty: a Python that may not keep what it compiles takes twice as long to start

.PHONY: study test torture lab clean
.DELETE_ON_ERROR:

study: $(BIN)/.installed
	@echo "niny: demo study; a second call runs only what changed"
	@dvc repro --quiet report@demo metrics@demo || { echo "niny: the study is not complete; if nothing above says why, 'dvc repro report@demo' does" >&2; exit 1; }
	@niny summary --scale demo

test: $(BIN)/.installed
	ruff check
	ruff format --check
	mypy
	OMP_NUM_THREADS=1 pytest --numprocesses 2 --no-loadscope-reorder

torture: $(BIN)/.installed
	pytest -m torture

# jupyter/ opens the start page, rendered; our own kernel comes before any other that is called python3
lab: $(BIN)/.installed
	@JUPYTER_CONFIG_PATH="$(CURDIR)/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	JUPYTER_PATH="$(CURDIR)/.venv/share/jupyter$${JUPYTER_PATH:+:$$JUPYTER_PATH}" jupyter lab

$(BIN)/.installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"niny needs Python 3.11 or newer, this is {v[0]}.{v[1]}: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@command -v git >/dev/null || { echo "niny needs git: install it and try again" >&2; exit 1; }
	@echo "niny: installing into .venv (about two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@mkdir -p .venv/etc/jupyter && cp -r jupyter/jupyter_server_config.d .venv/etc/jupyter/
	@touch $@

clean:
	rm -rf .venv build .niny
