#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reset gives fresh disks; a snapshot of a stopped instance brings its disk back
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"
addr=$(inst a addr)
guest a sh -c 'echo one >/root/mark && sync'
labctl stop lab/a
wait_state a stopped
check_eq "pid of a stopped instance" 0 "$(inst a 'pid // 0')"

# a stopped and started instance keeps its disk
labctl snapshot create lab before-two
labctl start lab/a
wait_for "a to answer" 60 guest a true
check_eq "mark" one "$(guest a cat /root/mark)"
guest a sh -c 'echo two >/root/mark && sync'
labctl stop lab/a
wait_state a stopped

# the snapshot has what was then
labctl snapshot restore lab before-two
labctl start lab/a
wait_for "a to answer" 60 guest a true
check_eq "mark after restore" one "$(guest a cat /root/mark)"

# reset: as new
labctl reset lab
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
check_fails 1 "" guest a cat /root/mark
check_eq "address" "$addr" "$(inst a addr)"
labctl down lab
labctl up lab
check_eq "a after down and up" running "$(inst a state)"
labctl down lab
labctl rm lab
check_eq "what is left of the lab's files" "" "$(find "$LABD_STATE/labs" -mindepth 1 2>/dev/null)"
