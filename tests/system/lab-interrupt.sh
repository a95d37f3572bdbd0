#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Ctrl-C on up leaves what both up and down accept
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, needs: [a], networks: [mgmt] }
YAML
before=$(lab_world)
busy() { api GET /v1/jobs | jq -e 'any(.[]; .kind == "up" and .state == "running")'; }
idle() { ! busy; }
present() { [ "$(inst a state)" = "$1" ]; }

# interrupt STATE: Ctrl-C when a is in that state
interrupt()
{
	local pid status=0
	# a background job ignores SIGINT unless it is told otherwise
	env --default-signal=INT labctl up "$TEST_DIR/lab.yaml" &
	pid=$!
	wait_for "a to be $1" 30 present "$1"
	kill -INT $pid
	timeout 20 tail --pid=$pid -f /dev/null || fail "labctl did not end after Ctrl-C"
	wait $pid || status=$?
	[ $status != 0 ] || fail "an interrupted up says it succeeded"
	wait_for "the job to stop" 30 idle
	say "after Ctrl-C: lab $(api GET /v1/labs/lab | jq -r .state), a $(inst a state)"
}

interrupt starting
labctl down lab
check_eq "processes" "" "$(lab_world | grep ^process || true)"
interrupt running
labctl up "$TEST_DIR/lab.yaml"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
labctl down lab
labctl rm lab
check_eq "world after" "$before" "$(lab_world)"
