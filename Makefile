# SPDX-License-Identifier: GPL-3.0-or-later
# make demo   sets up, sends Landsat tiles through a GNU Radio flowgraph, fits the semantic loss, writes a report
# make test   sets up, checks the code, runs all tests
# make bench  the long measurements, into results/
# make paper-grid EUROSAT=<folder>   the reference paper's grid, its fit and figures, into results/paper-grid
# make grc    opens the loopback flowgraph in gnuradio-companion
# Each sets up what it needs, once: system packages (apt), .venv, the GNU Radio module in build/ and installed into .venv.

SHELL := /bin/bash
VENV := .venv
BIN := .venv/bin
MODULE_SOURCES := CMakeLists.txt $(shell find gr-djscc -type f -not -name '*.pyc')
export PYTHONPATH :=

.PHONY: all demo test lint bench paper-grid grc clean
all: build/.installed

# the shared parts: environment, then module
$(VENV)/.ready: pyproject.toml requirements.txt setup.sh
	./setup.sh packages
	./setup.sh environment
	@touch $@

build/.built: $(VENV)/.ready $(MODULE_SOURCES)
	@cmake -S . -B build -DCMAKE_INSTALL_PREFIX="$(CURDIR)/.venv" -DPYTHON_EXECUTABLE="$(CURDIR)/.venv/bin/python" -DCMAKE_BUILD_TYPE=Release >build.log 2>&1 \
	  && cmake --build build >>build.log 2>&1 || { cat build.log; exit 1; }
	@mv build.log build/build.log
	@touch $@

build/.installed: build/.built
	@cmake --install build >build/install.log 2>&1 || { cat build/install.log; exit 1; }
	@touch $@

# DATA=<folder of tiles> sends those instead; RUN=<folder> keeps the run elsewhere; the same command goes on after a stop
RUN ?= runs/demo$(if $(DATA),-$(notdir $(DATA:/=)))
demo: build/.installed
	$(BIN)/djscc campaign demo --run $(RUN) $(if $(DATA),--data "$(DATA)")
	@echo
	$(BIN)/djscc fit $(RUN) --metric all --json $(RUN)/model.json
	@echo
	$(BIN)/djscc report $(RUN) --out $(RUN)/report
	@echo "open it in a browser: file://$(CURDIR)/$(RUN)/report/index.html"

lint: $(VENV)/.ready
	$(BIN)/ruff check python_lib gr-djscc tests
	$(BIN)/ruff format --check python_lib gr-djscc tests
	$(BIN)/mypy

# the module's own tests run from the build folder, before it is installed
test: build/.built lint
	ctest --test-dir build --output-on-failure --timeout 120
	@$(MAKE) --no-print-directory build/.installed
	$(BIN)/pytest

# EUROSAT=<folder with eurosat_test.zip> measures the codec on EuroSAT's test tiles, else on the Landsat sample
bench: build/.installed
	$(BIN)/python -m djscc.waveform.bench
	$(BIN)/python -m djscc.channels.bench
	$(BIN)/python -m djscc.virtual_radio.bench
	$(BIN)/python -m djscc.digital.bench --every 2 $(if $(EUROSAT),--data $(EUROSAT)/eurosat_test.zip,--every 1)
	$(BIN)/python -m djscc.codec.bench $(if $(EUROSAT),--data $(EUROSAT)/eurosat_test.zip)
	$(BIN)/python -m djscc.codec.runtimes
	$(if $(EUROSAT),$(BIN)/python -m djscc.tasks.bench --data $(EUROSAT)/eurosat_test.zip,@echo "tasks: give EUROSAT=<folder with eurosat_test.zip>")

# EUROSAT=<folder with eurosat_test.zip>; TASKS="<name> ..." judges what is received by these tasks too; LIMIT=<tiles>. Goes on after a stop
GRID ?= runs/paper-grid
GRID_RESULTS ?= results/paper-grid
paper-grid: build/.installed
	@test -n "$(EUROSAT)" || { echo "paper-grid: give EUROSAT=<folder with eurosat_test.zip>" >&2; exit 2; }
	$(BIN)/djscc campaign paper-grid --run $(GRID) --data $(EUROSAT)/eurosat_test.zip $(addprefix --task ,$(TASKS)) $(if $(LIMIT),--limit $(LIMIT))
	$(BIN)/python -m djscc.campaign.cells $(GRID) --out $(GRID_RESULTS)
	set -o pipefail; $(BIN)/djscc fit $(GRID) --metric all --json $(GRID_RESULTS)/model.json | tee $(GRID_RESULTS)/fit.txt
	for channel in awgn rician-k100; do \
	  $(BIN)/djscc report $(GRID) --figure loss --series "adaptive over $$channel" --out $(GRID_RESULTS)/loss-$$channel.png || exit 1; done

grc: build/.installed
	./setup.sh grc
	PYTHONPATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'):$(CURDIR)/python_lib" \
	  GRC_BLOCKS_PATH="$(CURDIR)/.venv/share/gnuradio/grc/blocks" gnuradio-companion flowgraphs/loopback_simulated.grc

clean:
	rm -rf build .venv
