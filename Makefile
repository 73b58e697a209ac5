# One verb for each thing to do; `make help` lists them. Works with GNU make and a POSIX shell.

# Looked up here, before the environment's own Python comes first in the path.
ifndef PYTHON
PYTHON := $(shell command -v python3)
endif
UV ?= .tools/bin/uv
UV_VERSION := 0.13.9
PORT ?= 5000
OUTPUT ?= pipeline.yaml
WORKERS ?= 2
MINUTES ?= 4
SECONDS ?= 60
SEED ?= 0

# MLflow's migrations cannot be read below a %, DVC's queue takes its folder for a URL, and PATH ends a folder at a colon.
HASH := \#
ifneq ($(strip $(foreach sign,% : ? $(HASH),$(findstring $(sign),$(CURDIR)))),)
$(error MLflow, DVC and PATH take no folder with one of % : ? $(HASH) in its name; rename $(CURDIR))
endif

BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .tools/peers/.installed
RESTORATION_PEERS := .tools/restoration-peers/.installed
BASE := data/base/manifest.json
SETS := data/fashion/manifest.json data/emoji/manifest.json
DONE := registration
PROJECT ?= .

PYTEST := OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --max-worker-restart 0 -q

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PYTHONUNBUFFERED := 1

# A proxy's own certificate is in the system's store or in SSL_CERT_FILE; uv does not read the one by itself, pip and requests the other.
ifdef SSL_CERT_FILE
export PIP_CERT ?= $(SSL_CERT_FILE)
export REQUESTS_CA_BUNDLE ?= $(SSL_CERT_FILE)
else ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= true
endif
UNREACHED = { echo "the package index could not be used. Behind a proxy: HTTPS_PROXY=http://..., and for a certificate of its own" \
	"SSL_CERT_FILE=/path/to/bundle.pem. A mirror: PIP_INDEX_URL and UV_DEFAULT_INDEX. Then run it again; what was fetched stays" >&2; exit 1; }

# Libraries want a home that can be written to and a user's name; in a container there may be none.
ifneq ($(shell [ -d "$$HOME" ] || echo none),)
export HOME := $(CURDIR)/.tools/home
else ifneq ($(shell [ -w "$$HOME" ] || echo none),)
export XDG_CACHE_HOME ?= $(CURDIR)/.tools/home/.cache
endif
ifeq ($(USER)$(LOGNAME),)
export LOGNAME := $(shell id -un 2>/dev/null)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo new test test-all test-families test-parity fuzz bench-metrics bench-train bench-translation bench-restoration bench-limits bench-memory bench-scale bench-threads bench-prepare bench-large bench-s3 bench-finetune bench-finetune-translation bench-provenance gpu-check recipes zoo test-containers test-cluster pipeline-containers lint types hooks ui serve gallery compile report clean
.PHONY: images wheel services services-stop

help: ## list the verbs
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-26s %s\n", $$1, $$2}'

setup: $(STAMP) ## make the environment .venv from uv.lock (the first time some minutes, then nothing)

demo: $(STAMP) ## from images to a registered, fine-tuned generator; again: runs only what changed, shows the table
	@python -m atelier.machine.room
	@dvc repro
	@python -m components.register --show $(DONE)

new: $(STAMP) ## copy a recipe into projects/NAME, a project of your own (RECIPE=fashion NAME=shoes)
	@echo "$(RECIPE)" | grep -Eqx '[A-Za-z0-9_-]+' && [ -f "recipes/$(RECIPE)/params.yaml" ] || \
		{ echo "give a recipe: make new RECIPE=... NAME=...; there are $$(ls recipes | tr '\n' ' ')" >&2; exit 1; }
	@echo "$(NAME)" | grep -Eqx '[A-Za-z][A-Za-z0-9_-]*' || \
		{ echo "give it a name of letters, digits, - and _ that begins with a letter: NAME=..." >&2; exit 1; }
	@[ ! -e "projects/$(NAME)" ] || { echo "projects/$(NAME) is there already; choose another NAME, or remove it" >&2; exit 1; }
	@mkdir -p "projects/.$(NAME).tmp"
	@find "recipes/$(RECIPE)" -maxdepth 1 -type f ! -name dvc.lock ! -name '*mlflow.db*' -exec cp {} "projects/.$(NAME).tmp/" ';'
	@sed -E "s/((experiment|name): )$(RECIPE)/\1$(NAME)/" "recipes/$(RECIPE)/params.yaml" > "projects/.$(NAME).tmp/params.yaml"
	@mv "projects/.$(NAME).tmp" "projects/$(NAME)"
	@echo "projects/$(NAME): cd there; python get_images.py; dvc repro   (or edit params.yaml first; README.md says what is what)"

test: $(STAMP) ## the quick tests, each in one process (7 minutes)
	@$(PYTEST) tests/unit

test-all: $(STAMP) ## the tests that start servers and processes, or take long (45 minutes)
	@$(PYTEST) --durations=25 tests/integration

test-families: $(STAMP) ## every family through dvc repro and the pipeline of Kubeflow, on tiny data; more healthy seeds (a quarter of an hour)
	@OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) -q tests/e2e/families

test-parity: $(STAMP) ## the metrics beside torch-fidelity, pytorch-fid and prdc, from image files to numbers (2 minutes)
	@OMP_NUM_THREADS=1 python -m pytest -q -rP tests/integration/metrics/test_parity.py

bench-metrics: $(STAMP) ## time an FID beside torch-fidelity and pytorch-fid, with memory and parity (a quarter of an hour)
	@python -m benchmarks.metrics

bench-train: $(STAMP) $(BASE) $(SETS) $(PEERS) ## time training beside a plain loop and mimicry on three sets, which it fetches, with memory, start and distance (an hour)
	@python -m benchmarks.train --peer
	@python -m benchmarks.train --data data/fashion data/emoji --families dcgan r3gan

bench-translation: $(STAMP) ## time CycleGAN, FastCUT and pix2pix beside loops as public code writes them, on sets that it fetches (half an hour)
	@python -m benchmarks.translation

bench-restoration: $(STAMP) $(RESTORATION_PEERS) ## time SRResNet and RRDB beside a loop as public code writes it and BasicSR, and pictures in tiles, on photos that it fetches (half an hour)
	@python -m benchmarks.restoration

bench-limits: $(STAMP) $(BASE) ## compare the arithmetic of training steps with what this machine can do, and say what takes the rest (2 minutes)
	@python -m benchmarks.limits

bench-prepare: $(STAMP) ## time the packing of 10,000 images beside a loop with Pillow, with memory and repeated bytes (minutes)
	@python -m benchmarks.prepare

bench-large: $(STAMP) ## pack, kill, resume and train on 200,000 made pictures, with memory and the cost of an image (10 minutes and more)
	@python -m benchmarks.large

bench-s3: $(STAMP) ## list and read 100,000 objects of an S3 server beside boto3 alone (the server of `make -s services`)
	@python -m benchmarks.s3

bench-memory: $(STAMP) ## measure what a model of 256 px needs, with micro-batches and activations computed again (a quarter of an hour)
	@python -m benchmarks.memory

bench-scale: $(STAMP) ## measure what more data and more ranks cost, and draw it (5 minutes)
	@python -m benchmarks.scale --plot docs/images/scale.png

bench-threads: $(STAMP) $(BASE) ## compare how threads may wait for each other, alone and beside busy processes (6 minutes)
	@python -m benchmarks.threads

bench-provenance: $(STAMP) ## time labels and signatures of images of four sizes (half a minute)
	@python -m benchmarks.provenance

bench-finetune: $(STAMP) ## compare ways of fine-tuning from 100, 300 and 1,000 images with training from scratch, after make demo (half an hour)
	@python -m benchmarks.finetune --images 100 300 1000 --ways all --seeds 40 41 42

bench-finetune-translation: $(STAMP) ## compare ways of fine-tuning a translator to a new style from 50 pictures with training from scratch, on sets that it fetches (half an hour)
	@python -m benchmarks.finetune_translation --ways all --grid docs/images/finetune-translation.png

gpu-check: $(STAMP) ## try and measure everything on a GPU: write docs/gpu.json and docs/gpu.md (at most 8 minutes)
	@python -m benchmarks.gpu

recipes: $(STAMP) $(BASE) $(SETS) ## compare recipes at equal minutes on three data sets, which it fetches; goes on where it stopped (two hours)
	@python -m benchmarks.recipes

zoo: $(STAMP) $(BASE) ## train every family for MINUTES (4), write docs/zoo.md and docs/zoo.html; goes on where it stopped (an hour and a quarter)
	@python -m benchmarks.zoo --minutes $(MINUTES)

fuzz: $(STAMP) ## feed damaged files, bodies and records to all that reads them, for SECONDS (60), and keep what ends wrongly in .fuzz/
	@python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

test-containers: $(STAMP) ## build the images and test them, the services and the pipeline in containers (minutes, 20 GB)
	@OMP_NUM_THREADS=1 python -m pytest --durations=10 -q tests/e2e/container

test-cluster: $(STAMP) ## what a user sees on the cluster of KFP_HOST, with IMAGE, DATA_IMAGE and TRACKING_URI (docs/kubeflow.md)
	@[ -n "$$KFP_HOST" ] || { echo "no cluster is named: set KFP_HOST, IMAGE, DATA_IMAGE and TRACKING_URI (docs/kubeflow.md)" >&2; exit 1; }
	@OMP_NUM_THREADS=1 python -m pytest -q -rs tests/cluster

pipeline-containers: $(STAMP) ## run the whole pipeline of Kubeflow in the images, against the services, on tiny data
	@OMP_NUM_THREADS=1 python -m pytest -q tests/e2e/container/test_pipeline.py

lint: $(STAMP) ## style and formatting
	@ruff check . && ruff format --check .

types: $(STAMP) ## static types
	@mypy

hooks: $(STAMP) ## have git run ruff and mypy on what a commit changes
	@pre-commit install

ui: $(STAMP) ## MLflow's pages on the runs of this folder, or of PROJECT=projects/..., at http://127.0.0.1:5000 (PORT=...)
	@[ -z "$$MLFLOW_TRACKING_URI" ] || \
		{ echo "MLFLOW_TRACKING_URI is set: the runs are on the pages of $$MLFLOW_TRACKING_URI" >&2; exit 1; }
	@cd "$(PROJECT)" && { [ ! -f mlflow.db ] || python -m atelier.registry relocate; } && \
		mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1

serve: PORT := 8080
serve: $(STAMP) ## serve a registered generator and whoever is promoted after it, at http://127.0.0.1:8080 (NAME=..., PORT=..., PROJECT=...)
	@[ -n "$(NAME)" ] || { echo "give a name: make serve NAME=digits (python -m atelier.registry list shows them)" >&2; exit 1; }
	@cd "$(PROJECT)" && exec python -m atelier.serving "models:/$(NAME)@champion" --port $(PORT)

gallery: PORT := 8080
gallery: PAINT ?= server
gallery: $(STAMP) ## the same, and open its page in a browser: what can be tried with the generator (NAME=digits, PORT=..., PROJECT=..., PAINT=browser)
	@[ -n "$(NAME)" ] || { echo "give a name: make gallery NAME=digits (python -m atelier.registry list shows them)" >&2; exit 1; }
	@[ "$(PAINT)" != browser ] || python -m atelier.serving.browser_runtime
	@cd "$(PROJECT)" && exec python -m atelier.serving "models:/$(NAME)@champion" --port $(PORT) --paint "$(PAINT)" --open

compile: $(STAMP) ## write the pipeline of Kubeflow Pipelines into a file (OUTPUT=pipeline.yaml, PROJECT=...)
	@python -m pipelines compile "$(PROJECT)" --output "$(OUTPUT)"

images: $(STAMP) ## build the images of the steps and print tag, id and size (BASE_IMAGE=..., IMAGE_PREFIX=registry.example.org/team/)
	@python -m atelier.serving.browser_runtime >&2
	@docker/images.sh data train

wheel: $(STAMP) ## build the wheel of this repository into dist/, with what runs generators in browsers
	@python -m atelier.serving.browser_runtime >&2
	@$(UV) build --quiet --wheel --out-dir dist
	@ls dist/*.whl

services: $(STAMP) ## S3 store, PostgreSQL and MLflow on this machine without Docker: eval "$(make services)"
	@python services start

services-stop: $(STAMP) ## stop them; what they stored stays
	@python services stop

report: $(STAMP) ## show the table again and open the reports in a browser (PROJECT=...)
	@cd "$(PROJECT)" && python -m components.register --show $(DONE) --open

clean: ## remove what the pipeline made in this folder; DVC's cache, MLflow's runs and the environment stay
	rm -rf data/base data/target models evaluations registration states cache pipeline-runs dvc_plots

$(UV):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Atelier needs Python 3.11 or newer; $(PYTHON) is older. Give one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "installing uv $(UV_VERSION) into .tools ..." >&2
	@"$(PYTHON)" -m venv .tools || \
		{ echo "$(PYTHON) cannot make environments (on Debian: apt-get install python3-venv); or: make UV=\$$(command -v uv) ..." >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --retries 2 uv==$(UV_VERSION) || $(UNREACHED)

$(STAMP): uv.lock pyproject.toml | $(UV)
	@echo "installing the packages of uv.lock into .venv (about 6 GB) ..." >&2
	@grep -qs "relocatable = true" .venv/pyvenv.cfg || "$(UV)" venv --quiet --relocatable --clear --python "$(PYTHON)" .venv
	@"$(UV)" sync --frozen --compile-bytecode || $(UNREACHED)
	@for site in .venv/lib/python*/site-packages; do rm -f "$$site"/*atelier.pth; echo ../../../.. > "$$site/atelier.pth"; done # moves with the folder
	@! pwd | LC_ALL=C grep -q '[^ -~]' || \
		echo "DVC queues no experiments (dvc exp run --queue) in a folder with letters beyond ASCII; all else works here" >&2
	@touch $@

$(PEERS): benchmarks/peers.txt | $(STAMP) $(UV)
	@echo "installing mimicry, to compare with, into .tools/peers ..." >&2
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python --target .tools/peers -r benchmarks/peers.txt
	@touch $@

$(RESTORATION_PEERS): benchmarks/restoration_peers.txt | $(STAMP) $(UV)
	@echo "installing BasicSR, to compare with, into .tools/restoration-peers ..." >&2
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --target .tools/restoration-peers -r $<
	@touch $@

$(BASE): | $(STAMP)
	@python -m components.prepare --section data.base --output data/base

$(SETS) &: | $(STAMP)
	@python -m benchmarks.sets
