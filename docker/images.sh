#!/usr/bin/env bash
# Builds the images named (data and train) and prints a line for each: its tag, its id and its size. The log goes to stderr.
# BASE_IMAGE (default: that of docker/Dockerfile), IMAGE_PREFIX (registry.example.org/team/) and IMAGE_NETWORK (the network of the
# build; default: the engine's own, or host where it has none) come from the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
exports=$(docker/engine.sh start); eval "$exports"

base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' docker/Dockerfile)}
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base" >&2; then
  cat >&2 <<MESSAGE
error: the base image $base cannot be pulled. Log in to its registry, name one that you reach (make images BASE_IMAGE=...), or make
one from Debian's packages: make base-image && make images BASE_IMAGE=localhost/python:3.11
MESSAGE
  exit 1
fi
network=${IMAGE_NETWORK:-$(docker network inspect bridge >/dev/null 2>&1 && echo default || echo host)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
commit=$(git rev-parse --verify HEAD 2>/dev/null || true)
# Only what is in the images counts: a change of a test or of dvc.lock does not make them others.
inside=(atelier components pipelines docker .dockerignore pyproject.toml uv.lock)
if [ -n "$commit" ] && [ -n "$(git status --porcelain -- "${inside[@]}")" ]; then commit+=-dirty; fi
short=${commit:0:12}; case $commit in *-dirty) short+=-dirty ;; esac
source=$(git remote get-url origin 2>/dev/null | sed 's#//[^/@]*@#//#' || true)  # without a login

for target in "$@"; do
  tag=${IMAGE_PREFIX:-}atelier-$target:$version${short:+-$short}
  docker build --file docker/Dockerfile --target "$target" --network "$network" --tag "$tag" --build-arg BASE_IMAGE="$base" \
    --build-arg VERSION="$version" --build-arg GIT_COMMIT="$commit" --build-arg SOURCE="$source" . >&2
  docker image inspect --format "$tag {{.Id}} {{.Size}}" "$tag" | awk '{printf "%s %s %.0f MB\n", $1, $2, $3 / 1e6}'
done
