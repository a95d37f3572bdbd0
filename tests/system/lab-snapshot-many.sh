#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# more snapshots of a running instance than can stand on each other; each has its own memory
# TIMEOUT: 600
# REQUIRES: root tun dnsmasq curl jq sqlite3
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], ready: [{ agent: true }] }
YAML

COUNT=66
wholes()
{
	sqlite3 "$LABD_STATE/labd.db" "SELECT count(*) FROM memories WHERE base = ''"
}

labctl up --no-golden "$TEST_DIR/lab.yaml"
for ((i = 1; i <= COUNT; i++)); do
	guest a sh -c "echo $i >/dev/shm/mark"
	labctl snapshot create lab "s$i" >"$TEST_DIR/create.log" 2>&1 || fail "snapshot $i: $(cat "$TEST_DIR/create.log")"
done
check_eq "memories" $COUNT "$(sqlite3 "$LABD_STATE/labd.db" "SELECT count(*) FROM memories")"
check_eq "memories that stand on nothing" 2 "$(wholes)"

for i in $COUNT 64 1 65; do
	labctl snapshot restore lab "s$i"
	check_eq "mark in the guest's memory" "$i" "$(guest a cat /dev/shm/mark)"
done

# what others stand on stays as long as they do
for ((i = 1; i < 64; i++)); do
	labctl snapshot rm lab "s$i" >/dev/null 2>&1
done
labctl snapshot restore lab s64
check_eq "mark in the guest's memory" 64 "$(guest a cat /dev/shm/mark)"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
labctl down lab --kill
labctl rm lab
check_eq "what is left of the lab's files" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
