#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reset of guests that write, fork and count; clocks never go back; a QEMU that is
# killed while it is loaded
# TIMEOUT: 400
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
for i in a b; do
	labctl exec -i lab/$i -- sh -c 'cat >/run/load' <<-'SH'
		while :; do dd if=/dev/urandom of=/root/f bs=64k count=40 2>/dev/null; sync; done &
		while :; do (true); (true); usleep 1000; done &
		while :; do
			now=$(cut -d' ' -f1 /proc/uptime | tr -d .)
			[ "$now" -ge "${last:-0}" ] || echo "$now after $last" >>/run/backwards
			last=$now
			tick=$((tick + 1))
			echo $tick >/run/tick.new && mv /run/tick.new /run/tick
			usleep 10000
		done &
	SH
	guest $i sh -c 'setsid sh /run/load >/dev/null 2>&1 </dev/null &'
done
tick() { guest "$1" cat /run/tick; }
ticks() { [ "$(tick a)" -gt 20 ] && [ "$(tick b)" -gt 20 ]; }
wait_for "the load" 60 ticks
labctl golden lab
golden=$(tick a)

for n in 1 2 3 4 5; do
	at=$(tick a)
	later() { [ "$(tick a)" -gt $((at + 100)) ]; }
	wait_for "the load to go on" 60 later
	labctl reset lab
	now=$(tick a)
	[ "$now" -lt $((at + 100)) ] || fail "tick $now after a reset, before it more than $((at + 100))"
	say "round $n: golden was at about $golden, goes on at $now"
	for i in a b; do
		check_eq "clock of $i that went back" "" "$(guest $i sh -c 'cat /run/backwards 2>/dev/null; true')"
		check_eq "errors of $i" "" "$(guest $i sh -c 'dmesg | grep -iE "i/o error|ext4-fs error|oops|BUG:"; true')"
	done
	# what was asked first is not later than what was asked in the middle, and so on
	first=$(guest a date +%s) middle=$(guest b date +%s) last=$(guest a date +%s)
	[ "$first" -le $((middle + 1)) ] && [ "$middle" -le $((last + 1)) ] ||
		fail "clocks differ: $first, $middle, $last"
done
say "file systems are whole"
for i in a b; do
	guest $i sh -c 'pkill -f /run/load; killall dd; sync; mount -o remount,ro / 2>/dev/null; true'
done
labctl down lab --kill

say "a QEMU that is killed while it is loaded"
hit=0
# ours: other tests have a lab of that name as well
starts() { pgrep -f "guest=lab/a,.*path=$LABD_RUN/" >"$TEST_DIR/pid"; }
for ((n = 0; n < 20 && !hit; n++)); do
	labctl up lab >"$TEST_DIR/up.log" 2>&1 &
	client=$!
	wait_for "its start" 30 starts
	pause "0.$(printf %03d $((n * 10)))"
	kill -9 "$(cat "$TEST_DIR/pid")" 2>/dev/null || true
	if wait $client; then
		# it was loaded by then: a guest that ends is seen in its state
		labctl down lab --kill
		continue
	fi
	hit=1
	grep -q "instance a" "$TEST_DIR/up.log" || fail "the message does not name it: $(cat "$TEST_DIR/up.log")"
	wait_state b running
	wait_state a failed
done
[ $hit = 1 ] || fail "no kill hit the load"
labctl reset lab
check_eq "states" "running running" "$(inst a state) $(inst b state)"
guest a true
labctl down lab --kill
labctl rm -y lab
