#!/bin/sh
# Adds kfp, in the version of uv.lock, to the environment of a step. A task needs kfp.dsl.executor alone, so nothing that
# kfp requires as a client is installed, and its pins bind nobody.
set -eu
uv export --frozen --quiet --only-group image-kfp --output-file /tmp/kfp.txt
uv pip install --python /opt/venv --no-deps --constraint /tmp/kfp.txt kfp
