#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A snapshot is one instant: nothing is received that was not sent, nothing of the
# abandoned run arrives, and streams go on. a counts to b, over UDP and over TCP.
# TIMEOUT: 400
# SLOW
# REQUIRES: root tun dnsmasq curl jq cc
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
ROUNDS=${CUT_ROUNDS:-8}

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up "$TEST_DIR/lab.yaml"

# Over UDP numbers may be lost, but they only grow: a number that comes again was sent
# twice (the cut was not one) or comes from a run that was abandoned.
# Over TCP not one may be missing.
cc -static -O2 -s -o "$TEST_DIR/udpcount" "$SRCDIR/tests/tools/udpcount.c"
for i in a b; do
	labctl exec -i "$LAB/$i" -- sh -c 'cat >/root/udpcount; chmod 755 /root/udpcount' <"$TEST_DIR/udpcount"
done
labctl exec -i "$LAB/b" -- sh -c 'cat >/run/receive' <<'SH'
/root/udpcount receive 9000 /run/udp /run/bad &
# an end of input would end the connection
tail -f /dev/null | nc -l -p 9001 | while read n; do
	[ "$n" -eq $((${prev:-0} + 1)) ] || echo "tcp $n after $prev" >>/run/bad
	prev=$n
	echo "$n" >/run/tcp.new && mv /run/tcp.new /run/tcp
done &
SH
labctl exec -i "$LAB/a" -- sh -c 'cat >/run/send' <<'SH'
count()
{
	while :; do
		n=$((n + 1))
		echo $n
		[ $((n % 20)) != 0 ] || usleep 20000
	done
}
/root/udpcount send "$1" 9000 &
count | nc b 9001 >/dev/null &
SH
guest b sh -c 'setsid sh /run/receive >/dev/null 2>&1 </dev/null &'
guest a sh -c "setsid sh /run/send $(inst b addr) >/dev/null 2>&1 </dev/null &"

got() { guest b cat "/run/$1"; }
grows()
{
	local before
	before=$(got "$1")
	wait_for "$1 to go on after $before" 30 sh -c "[ \$(labctl exec lab/b -- cat /run/$1) -gt $before ]"
}
arrives() { [ "$(got udp)" -gt 0 ] && [ "$(got tcp)" -gt 0 ]; }
wait_for "numbers to arrive" 60 arrives

for ((n = 1; n <= ROUNDS; n++)); do
	grows udp
	grows tcp
	labctl snapshot create lab "s$n"
	at=$(got tcp)
	grows tcp
	labctl snapshot restore lab "s$((n > 2 ? n - RANDOM % 2 : n))"
	say "round $n: snapshot at $at, after the restore at $(got tcp)"
	grows udp
	grows tcp
	check_eq "numbers out of order" "" "$(guest b sh -c 'cat /run/bad 2>/dev/null; true')"
done
labctl down lab --kill
labctl rm -y lab
