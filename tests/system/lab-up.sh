#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# up, exec, names, a second up, a changed file, down: the life of a lab
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a:
    image: tiny
    memory: 128M
    networks: [mgmt]
    forward: { 18080: 80 }
  b:
    image: tiny
    memory: 128M
    needs: [a]
    networks: [mgmt]
YAML
before=$(lab_world)

labctl up "$TEST_DIR/lab.yaml"
say "up"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
for i in a b; do
	check_eq "state of $i" running "$(inst $i state)"
	check_eq "ready of $i" yes "$(inst $i ready)"
done
labctl status

# exec: streams, exit code, environment of its own
check_eq "exec" "a" "$(guest a hostname)"
check_eq "standard error" "" "$(guest a sh -c 'echo x >&2' 2>/dev/null)"
check_eq "input" "through" "$(echo through | labctl exec -i lab/a -- cat)"
status=0
guest a sh -c 'exit 7' || status=$?
check_eq "exit code" 7 $status
check_fails 1 "no-such-program" guest a no-such-program

# names and fixed addresses
addr_a=$(inst a addr) addr_b=$(inst b addr)
check_match "address of a" '^10\.20\.0\.[0-9]+$' "$addr_a"
check_match "a sees b" "1 packets received" "$(guest a ping -c 1 -W 5 b)"
check_match "b sees a by its full name" "1 packets received" "$(guest b ping -c 1 -W 5 a.lab)"
check_match "lease" "$addr_b" "$(guest b ip -4 addr)"

# a port of the guest on the host
answer() { [ "$(curl -s --max-time 2 http://127.0.0.1:18080/)" = a ]; }
wait_for "the forwarded port" 10 answer

# the same again changes nothing
pids="$(inst a pid) $(inst b pid)"
labctl up "$TEST_DIR/lab.yaml"
check_eq "processes after a second up" "$pids" "$(inst a pid) $(inst b pid)"

# what differs changes, and nothing else
sed -i '/^  b:/,$ s/memory: 128M/memory: 144M/' "$TEST_DIR/lab.yaml"
check_match "plan" 'b.*memory' "$(labctl plan "$TEST_DIR/lab.yaml")"
labctl up "$TEST_DIR/lab.yaml"
check_eq "process of a" "${pids% *}" "$(inst a pid)"
[ "${pids#* }" != "$(inst b pid)" ] || fail "b was not restarted with its new memory"
check_eq "memory of b" $((144 << 20)) "$(inst b memory)"
check_eq "address of b" "$addr_b" "$(inst b addr)"

# an instance leaves the file
sed -i '/^  b:/,$ d' "$TEST_DIR/lab.yaml"
labctl up "$TEST_DIR/lab.yaml"
check_eq "instances" a "$(api GET /v1/labs/lab | jq -r '[.instances[].name] | join(" ")')"
check_eq "process of a" "${pids% *}" "$(inst a pid)"

labctl down lab
check_eq "state of the lab" down "$(api GET /v1/labs/lab | jq -r .state)"
check_eq "processes" "" "$(lab_world | grep ^process || true)"
labctl down lab
say "down twice"
labctl rm lab
check_eq "world after" "$before" "$(lab_world)"
