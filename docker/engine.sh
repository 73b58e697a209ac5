#!/usr/bin/env bash
# A Docker engine: the one that answers, or one that this starts where there is none (Debian or Ubuntu, as root, without systemd).
#   eval "$(docker/engine.sh start)"   says on stderr what it did; what is to be exported is on stdout
#   docker/engine.sh stop              ends an engine that it started; images stay until its folder is removed
# ENGINE_HOME holds all that an engine of its own writes.
set -euo pipefail
home=${ENGINE_HOME:-/var/lib/atelier-engine}
socket=$home/docker.sock log=$home/log

say() { echo "engine: $*" >&2; }
answers() { docker version >/dev/null 2>&1; }
own_answers() { DOCKER_HOST=unix://$socket answers; }

install_engine() {
  command -v apt-get >/dev/null || { say 'there is no Docker here; install it from docs.docker.com/engine/install'; exit 1; }
  say 'installing docker.io with apt-get ...'
  # A package may not start what it installs while this file says so.
  local policy=/usr/sbin/policy-rc.d
  [ -e $policy ] && policy='' || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; }
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io; } \
    >"$home/apt.log" 2>&1 || { tail -5 "$home/apt.log" >&2; rm -f $policy; exit 1; }
  rm -f $policy
}

# start_engine OPTIONS...: whether a dockerd with these options answers before it gives up.
start_engine() {
  setsid dockerd --host "unix://$socket" --data-root "$home/data" --exec-root "$home/run" --pidfile "$home/pid" "$@" \
    >"$log" 2>&1 </dev/null &
  local daemon=$!
  for _ in $(seq 300); do
    own_answers && return
    kill -0 "$daemon" 2>/dev/null || return 1
    sleep 0.2
  done
  kill "$daemon"; return 1
}

stop_engine() {
  [ -f "$home/pid" ] || { say 'none that this script started runs'; return; }
  local daemon; daemon=$(cat "$home/pid")
  # An engine that was killed leaves its file, and its number is another process's by and by.
  grep -qsz -- "$home/pid" "/proc/$daemon/cmdline" || { say 'the one that this script started has ended'; rm -f "$home/pid"; return; }
  kill "$daemon" 2>/dev/null || true
  for _ in $(seq 300); do
    # A mount that dockerd leaves would keep the folder from being removed.
    kill -0 "$daemon" 2>/dev/null || { umount "$home/run/netns/default" 2>/dev/null || true; return 0; }
    sleep 0.2
  done
  say "dockerd (process $daemon) does not end; look at $log"; exit 1
}

if [ "${1:-start}" = stop ]; then stop_engine; exit; fi
if answers; then say "Docker $(docker version --format '{{.Server.Version}}') answers"; exit; fi
if ! own_answers; then
  if [ "$(id -u)" != 0 ]; then
    say 'no Docker answers; start it (systemctl start docker), be in the group docker, or run this as root to get one installed'
    exit 1
  fi
  mkdir -p "$home"
  command -v dockerd >/dev/null || install_engine
  if start_engine; then
    say "started dockerd ($log)"
  elif start_engine --iptables=false --ip6tables=false --bridge=none; then
    say "started dockerd ($log) without networks of its own, for which this machine lacks a permission: give containers the network host"
  else
    tail -5 "$log" >&2; say "dockerd does not start; the whole log is $log"; exit 1
  fi
fi
printf 'export DOCKER_HOST=%q\n' "unix://$socket"
