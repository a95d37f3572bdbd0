#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# kill -9 of labd at random moments of up, reset and down; each time the next
# labd repairs, and in the end down leaves nothing
# TIMEOUT: 1200
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
KILLS=${CHAOS_KILLS:-20}
RANDOM=${CHAOS_SEED:-$$}
say "CHAOS_SEED=${CHAOS_SEED:-$$}"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, uplink: nat }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 80 } }
  b: { image: tiny, memory: 128M, needs: [a], networks: [mgmt] }
YAML
before=$(lab_world)
settled() { api GET /v1/jobs | jq -e 'all(.[]; .state != "running" and .state != "queued")'; }

for ((n = 1; n <= KILLS; n++)); do
	case $((RANDOM % 3)) in
	0) what=(up "$TEST_DIR/lab.yaml") ;;
	1) what=(reset lab) ;;
	2) what=(down lab) ;;
	esac
	labctl --no-start "${what[@]}" >/dev/null 2>&1 &
	client=$!
	# most of what is interesting happens in the first two seconds
	pause "$((RANDOM % 3)).$(printf %03d $((RANDOM % 1000)))"
	labd_kill
	wait $client || true
	say "kill $n during ${what[0]}"
	labd_start
	wait_for "labd to have repaired" 60 settled
	state=$(api GET /v1/labs/lab 2>/dev/null | jq -r .state) || state=none
	check_match "state after kill $n" '^(none|null|down|up|degraded|failed)$' "$state"
done

# whatever it is now: both up and down accept it
labctl up "$TEST_DIR/lab.yaml"
check_eq "a sees b" b "$(guest b hostname)"
check_match "packets" "1 packets received" "$(guest a ping -c 1 -W 5 b)"
labctl down lab
labctl rm lab
check_eq "world after" "$before" "$(lab_world)"
