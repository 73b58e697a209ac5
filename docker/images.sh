#!/usr/bin/env bash
# Builds the images named (data and train) and prints a line for each: its tag, its id and its size. The log goes to stderr.
# From the environment come BASE_IMAGE (default: that of docker/Dockerfile, or where it cannot be pulled that of base-image.sh),
# IMAGE_PREFIX (registry.example.org/team/) and IMAGE_NETWORK (of the build; default: the engine's own, or host where it has none).
set -euo pipefail
cd "$(dirname "$0")/.."
exports=$(docker/engine.sh start); eval "$exports"

base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' docker/Dockerfile)}
if ! docker image inspect "$base" >/dev/null 2>&1 && ! docker pull --quiet "$base" >&2; then
  if [ -n "${BASE_IMAGE:-}" ]; then
    echo "error: the base image $base cannot be pulled; log in to its registry, or leave BASE_IMAGE out" >&2; exit 1
  fi
  echo "warning: the base image $base cannot be pulled; takes one made from Debian's packages instead" >&2
  base=$(docker/base-image.sh)
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
    --build-arg VERSION="$version" --build-arg GIT_COMMIT="$commit" --build-arg SOURCE="$source" \
    --label org.opencontainers.image.base.name="$base" . >&2
  docker image inspect --format "$tag {{.Id}} {{.Size}}" "$tag" | awk '{printf "%s %s %.0f MB\n", $1, $2, $3 / 1e6}'
done
