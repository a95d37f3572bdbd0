#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# the port of a forward is taken: said before anything starts, and nothing left
# TIMEOUT: 120
# REQUIRES: root tun dnsmasq curl jq perl
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 80 } }
YAML
taken() { (exec 3<>/dev/tcp/127.0.0.1/18080) 2>/dev/null; }
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalPort => 18080,
	LocalAddr => "127.0.0.1", ReuseAddr => 1) or die; sleep' &
listener=$!
wait_for "the port to be taken" 5 taken

check_fails 1 '18080' labctl up "$TEST_DIR/lab.yaml"
check_eq "processes" "" "$(lab_world | grep ^process || true)"
kill $listener
wait_for "the port to be free" 5 not taken
labctl up "$TEST_DIR/lab.yaml"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
labctl down lab
