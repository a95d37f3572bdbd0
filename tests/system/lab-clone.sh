#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# clones: beside the first, apart from it, and after it
# TIMEOUT: 300
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
guest a sh -c 'echo first >/run/mark; echo first >/root/mark; sync'

labctl clone lab now
labctl clone lab past --from golden
check_eq "labs" "lab now past" "$(api GET /v1/labs | jq -r '.[].name' | sort | paste -sd' ')"
check_eq "what ran when it was cloned" "first first" "$(guest now/a sh -c 'echo $(cat /run/mark /root/mark)')"
check_fails 1 "" guest past/a test -e /run/mark
for key in addr 'nics[0].mac'; do
	check_eq "$key" "$(inst a "$key")" "$(inst now/a "$key")"
done

say "writes of one are not seen by others"
for lab in lab now past; do
	guest $lab/a sh -c "dd if=/dev/urandom of=/root/x bs=1M count=8 2>/dev/null
		dd if=/dev/urandom of=/run/x bs=1M count=8 2>/dev/null
		sync; md5sum /root/x /run/x" >"$TEST_DIR/$lab.sums"
done
for lab in lab now past; do
	guest $lab/a sh -c 'echo 3 >/proc/sys/vm/drop_caches; md5sum /root/x /run/x' |
		cmp - "$TEST_DIR/$lab.sums" || fail "$lab has not what was written to it"
done

say "networks and forwards of their own"
for lab in lab now past; do
	guest $lab/a sh -c "echo $lab >/run/www/index.html"
done
answer() { [ "$(curl -s --max-time 2 "http://127.0.0.1:$(inst "$1/a" 'forwards[0].host')/")" = "$1" ]; }
for lab in lab now past; do
	wait_for "$lab on its port" 10 answer $lab
	wait_for "$lab to see its b" 20 guest $lab/a ping -c 1 -W 1 b
done

say "reset of a clone, and its life without the first"
labctl down lab --kill
labctl rm -y lab
labctl reset now
check_eq "mark" first "$(guest now/a cat /run/mark)"
check_fails 1 "" guest now/a test -e /root/x
labctl down now
labctl up now
check_eq "mark" first "$(guest now/a cat /run/mark)"

check_fails 1 "already" labctl clone now past
check_fails 1 "cannot be the name" labctl clone now ..
check_fails 1 "has no snapshot" labctl clone now other --from nothing
check_eq "labs" "now past" "$(api GET /v1/labs | jq -r '.[].name' | sort | paste -sd' ')"
for lab in now past; do
	labctl down $lab --kill
	labctl rm -y $lab
done
check_eq "what is left" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
