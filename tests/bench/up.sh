#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# up of four debian-12 instances to the login prompt, against the same four
# QEMUs started by hand: same arguments, fresh disks, a bridge, taps, dnsmasq
# TIMEOUT: 3600
# REQUIRES: root tun dnsmasq qemu-img curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
ROUNDS=${BENCH_N:-5}
need debian-12

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, uplink: none }
instances:
  a: { image: debian-12, memory: 384M, networks: [mgmt], ready: { console: "login:", timeout: 600 } }
  b: { image: debian-12, memory: 384M, networks: [mgmt], ready: { console: "login:", timeout: 600 } }
  c: { image: debian-12, memory: 384M, networks: [mgmt], ready: { console: "login:", timeout: 600 } }
  d: { image: debian-12, memory: 384M, networks: [mgmt], ready: { console: "login:", timeout: 600 } }
YAML
HAND=$TEST_DIR/hand
mkdir "$HAND"
declare -A PID

# the arguments of a running instance, as one file a guest
keep_arguments()
{
	local i
	for i in a b c d; do
		tr '\0' '\n' <"/proc/$(inst $i pid)/cmdline" >"$HAND/$i.args"
		api GET /v1/labs/lab/instances/$i >"$HAND/$i.json"
	done
}

# the same command line with our own tap, disk, sockets, and the console in a file
hand_start()
{
	local i=$1 run disk base args=()
	run=$(dirname "$(jq -r .qmp "$HAND/$i.json")")
	disk=$(jq -r '.disks[0].path' "$HAND/$i.json")
	base=$(api GET "/v1/images/debian-12" | jq -r .path)/disk.qcow2
	mkdir -p "$HAND/$i"
	rm -f "$HAND/$i"/*
	qemu-img create -q -f qcow2 -F qcow2 -b "$base" "$HAND/$i/disk.qcow2"
	mapfile -t args < <(sed -e "s|$disk|$HAND/$i/disk.qcow2|g" -e "s|$run|$HAND/$i|g" \
		-e "s|\(tap,.*\)fds\?=[0-9:]*|\1ifname=hand-$i,script=no,downscript=no|" \
		-e 's|^memory-backend-file\(.*\),share=on.*|memory-backend-ram\1|' \
		-e "s|^\(socket,id=serial[^ ]*\)|\1,logfile=$HAND/$i/console|" -e '/^-S$/d' "$HAND/$i.args")
	"${args[@]}" >"$HAND/$i/log" 2>&1 </dev/null &
	PID[$i]=$!
}

logged_in()
{
	kill -0 "${PID[$1]}" || fail "by hand: QEMU ended: $(cat "$HAND/$1/log")"
	grep -q login: "$HAND/$1/console"
}

by_hand()
{
	local i start
	start=$(now_ms)
	ip link add hand type bridge
	ip addr add 10.20.0.1/24 dev hand
	ip link set hand up
	for i in a b c d; do
		ip tuntap add "hand-$i" mode tap
		ip link set "hand-$i" master hand up
	done
	dnsmasq --no-daemon --conf-file=/dev/null --interface=hand --bind-interfaces --user=root \
		--dhcp-range=10.20.0.10,10.20.0.99 --dhcp-leasefile="$HAND/leases" 2>"$HAND/dnsmasq.log" &
	PID[dnsmasq]=$!
	for i in a b c d; do
		hand_start $i
	done
	for i in a b c d; do
		wait_for "by hand: $i to show its login" 600 logged_in $i
	done
	HAND_MS=$(($(now_ms) - start))
	kill "${PID[@]}"
	wait "${PID[@]}" 2>/dev/null || true
	for i in a b c d; do
		ip link del "hand-$i" 2>/dev/null || true
	done
	ip link del hand
}

ours=() hand=()
for ((n = 1; n <= ROUNDS; n++)); do
	start=$(now_ms)
	labctl up --no-golden "$TEST_DIR/lab.yaml" >/dev/null
	ours+=($(($(now_ms) - start)))
	keep_arguments
	labctl down lab >/dev/null
	labctl rm lab >/dev/null
	by_hand
	hand+=("$HAND_MS")
	say "round $n: up ${ours[-1]} ms, by hand ${hand[-1]} ms"
done
figure_ratio up-4 "$(median "${ours[@]}")" qemu-by-hand "$(median "${hand[@]}")" 1.10 ms "$ROUNDS"
