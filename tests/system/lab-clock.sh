#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# guests of debian-12 have the lab's time, an hour behind the host's, and agree on it
# SLOW
# TIMEOUT: 600
# REQUIRES: root tun dnsmasq curl jq clocktool
. "${SRCDIR:-.}/tests/lib.sh"
need debian-12

HOUR=3600000000
cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
  data: { cidr: 10.20.1.0/24, uplink: none }
instances:
  a: { image: debian-12, memory: 512M, networks: [mgmt, data] }
  b: { image: debian-12, memory: 512M, networks: [data] }
YAML

now_us() { echo "${EPOCHREALTIME/[.,]/}"; }

keeper_answers()
{
	RUN=$(dirname "$(find "$LABD_RUN" -name keeper.sock)") && clocktool "$RUN"
}

# Guests read the host's time when they start: their clocks have to step back
labctl up --boot --no-golden "$TEST_DIR/lab.yaml" &
up=$!
wait_for "the keeper" 30 keeper_answers
clocktool "$RUN" -$HOUR
wait $up
say "up"

# The guest's clock lies between these two readings of the host's, an hour ago
check_clock()
{
	local before after guest
	before=$(now_us)
	guest=$(($(guest "$1" date +%s%N) / 1000))
	after=$(now_us)
	say "$1 is $(((guest - before + HOUR) / 1000)) ms after the question, answered in $(((after - before) / 1000)) ms"
	[ $guest -ge $((before - HOUR - 100000)) ] || fail "the clock of $1 is behind"
	[ $guest -le $((after - HOUR + 100000)) ] || fail "the clock of $1 is ahead"
}

synchronised() { guest "$1" chronyc waitsync 1 0.1; }

for i in a b; do
	wait_for "chrony of $i" 120 synchronised $i
	check_clock $i
	check_match "servers of $i" '10\.20\.1\.1' "$(guest $i chronyc -n sources)"
done
check_match "servers of a" '10\.20\.0\.1' "$(guest a chronyc -n sources)"

# What was a step in the beginning is none later
count_steps() { guest "$1" journalctl -b -u chrony -o cat | grep -c 'stepped by'; }
steps=$(count_steps a) # grep fails if there was none
clocktool "$RUN" $((2000000 - HOUR))
behind() { guest a chronyc tracking | grep -q 'slow of NTP time' && ! synchronised a; }
wait_for "chrony of a to see the lab's new time" 120 behind
check_eq "steps" "$steps" "$(count_steps a)"

labctl down lab
