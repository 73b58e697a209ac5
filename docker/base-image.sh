#!/usr/bin/env bash
# Makes localhost/python:3.11, Debian 12 with its Python, from Debian's packages: the base for where no image registry is reached.
# Takes over this machine's certificates, so that a build passes the same proxies. Needs root (debootstrap) and Debian or Ubuntu.
# The name is on stdout.
set -euo pipefail
name=localhost/python:3.11
say() { echo "base image: $*" >&2; }

cd "$(dirname "$0")/.."
exports=$(docker/engine.sh start); eval "$exports"
if docker image inspect $name >/dev/null 2>&1; then echo $name; exit; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say 'needs root on Debian or Ubuntu; elsewhere give a base that your registry has: make images BASE_IMAGE=...'; exit 1
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
if ! command -v debootstrap >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } \
    >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
fi
say 'fetching the packages of Debian 12 ...'
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
  { tail -5 "$work/log" >&2; exit 1; }
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"; fi
ln -sf python3 "$work/root/usr/bin/python"
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
tar -C "$work/root" --numeric-owner -c . |
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["python3"]' - $name >/dev/null
echo $name
