#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# two labs with the same networks, addresses and names at the same time
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

for n in 1 2; do
	cat >"$TEST_DIR/$n.yaml" <<YAML
lab: lab$n
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 1808$n: 80 } }
YAML
done
labctl up "$TEST_DIR/1.yaml" &
first=$!
labctl up "$TEST_DIR/2.yaml"
wait $first

check_eq "addresses" "$(inst lab1/a addr)" "$(inst lab2/a addr)"
[ "$(api GET /v1/labs/lab1/instances/a | jq -r '.nics[0].mac')" != \
	"$(api GET /v1/labs/lab2/instances/a | jq -r '.nics[0].mac')" ] ||
	fail "instances of two labs have the same MAC address"
for n in 1 2; do
	guest lab$n/a sh -c "echo lab$n >/run/www/index.html"
done
answer() { [ "$(curl -s --max-time 2 "http://127.0.0.1:1808$1/")" = "lab$1" ]; }
wait_for "lab1 on its port" 10 answer 1
wait_for "lab2 on its port" 10 answer 2

labctl down lab1
check_eq "lab2" up "$(api GET /v1/labs/lab2 | jq -r .state)"
wait_for "lab2 on its port without lab1" 10 answer 2
labctl down lab2
