#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# up, reset, down, again and again: nothing is left, and labd does not grow
# TIMEOUT: 400
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, uplink: nat }
  data: { cidr: 10.20.1.0/24, dhcp: false }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt, data], forward: { 18080: 80 } }
YAML
fds() { find "/proc/$LABD_PID/fd" -mindepth 1 | wc -l; }
round()
{
	labctl up "$TEST_DIR/lab.yaml"
	labctl reset lab
	guest a true
	labctl down lab
	labctl rm lab
}

before=$(lab_world)
round # threads, caches and the like come once
check_eq "world after one round" "$before" "$(lab_world)"
fds=$(fds)
for n in 1 2 3; do
	round
	check_eq "world after round $n" "$before" "$(lab_world)"
	fds_settled() { [ "$(fds)" -le "$fds" ]; }
	wait_for "labd's descriptors to be $fds again" 5 fds_settled
done
