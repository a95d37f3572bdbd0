#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of labd: guests go on, no packet is lost, the next labd adopts them
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 80 } }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"
pids="$(inst a pid) $(inst b pid)"
console=$(inst a console_log)
guest a sh -c 'ping -c 20 b >/tmp/ping 2>&1 &'

labd_kill
for pid in $pids; do
	alive "$pid" || fail "a guest died with labd"
done
# the lab lives without labd: forwards work, consoles are recorded
answer() { [ "$(curl -s --max-time 2 http://127.0.0.1:18080/)" = a ]; }
wait_for "the forwarded port without labd" 10 answer
size=$(stat -c %s "$console")

start=$EPOCHREALTIME
labd_start
check_eq "a" running "$(inst a state)"
took=$(awk "BEGIN { print $EPOCHREALTIME - $start }")
say "adopted after $took s"
[ -n "${ASAN_RUN:-}" ] || awk "BEGIN { exit !($took < 1.0) }" || fail "adopting took $took s"
check_eq "processes" "$pids" "$(inst a pid) $(inst b pid)"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"

guest a sh -c 'echo after-the-crash >/dev/console'
grown() { tail -c +"$((size + 1))" "$console" | grep -q after-the-crash; }
wait_for "the console to be recorded" 10 grown
wait_for "the ping to end" 60 guest a grep received /tmp/ping
check_match "packets" "20 packets transmitted, 20 packets received" "$(guest a cat /tmp/ping)"

# everything works as before
labctl reset lab
[ "$(inst a pid)" != "${pids% *}" ] || fail "reset did not restart a"
wait_state b running
labctl down lab
check_eq "processes" "" "$(lab_world | grep ^process || true)"
