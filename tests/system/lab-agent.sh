#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# exec when the guest's agent is gone, hangs, or floods
# TIMEOUT: 180
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$LABD_PID/status"; }

# all links cut: the agent needs no network
guest a sh -c 'for l in /sys/class/net/*; do ip link set "${l##*/}" down; done'
check_eq "exec without network" a "$(guest a hostname)"

# a flood of output is streamed, not kept
before=$(rss)
bytes=$(guest a sh -c 'yes | head -c 1000000' | wc -c)
check_eq "bytes of a flood" 1000000 "$bytes"
[ -n "${ASAN_RUN:-}" ] || [ $(($(rss) - before)) -lt 8192 ] ||
	fail "labd grew by $(($(rss) - before)) KiB"

# two programs at once
labctl exec -i lab/a -- sh -c 'read -r x; echo "got $x"; sleep 3' < <(echo late) >"$TEST_DIR/slow.txt" &
slow=$!
check_eq "a second program meanwhile" a "$(guest a hostname)"
wait $slow
check_eq "input" "got late" "$(cat "$TEST_DIR/slow.txt")"

# no agent any more: said within the time given, and only for this guest
guest a sh -c 'kill -STOP $(pidof qemu-ga)' || true
start=$SECONDS
check_fails 1 "agent" timeout 60 labctl exec --timeout 5 lab/a -- true
say "gave up after $((SECONDS - start)) s"
check_eq "the other guest" b "$(guest b hostname)"
labctl status >/dev/null
labctl down lab
