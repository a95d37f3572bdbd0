#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a QEMU that is killed, and one that hangs: noticed, and nobody else suffers
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
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"

kill -9 "$(inst a pid)"
wait_state a failed 5
check_match "error of a" "signal 9|SIGKILL|[Kk]illed" "$(inst a error)"
check_eq "b" running "$(inst b state)"
check_eq "state of the lab" degraded "$(api GET /v1/labs/lab | jq -r .state)"
labctl start lab/a
wait_state a running
wait_for "a to be ready" 60 guest a true
check_eq "error of a" "" "$(inst a error)"

# hung: commands to it fail in time, all else goes on, down ends it
pid=$(inst a pid)
kill -STOP "$pid"
check_eq "b answers" b "$(guest b hostname)"
start=$SECONDS
labctl status >/dev/null
[ $((SECONDS - start)) -le 2 ] || fail "status took $((SECONDS - start)) s beside a hung QEMU"
start=$SECONDS
labctl down lab
say "down with a hung QEMU: $((SECONDS - start)) s"
! alive "$pid" || fail "the hung QEMU is still there"
check_eq "processes" "" "$(lab_world | grep ^process || true)"
