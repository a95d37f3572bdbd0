#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 1000 resets of 3 instances, one behind the other: the golden stays what it was, nothing grows,
# none is slow
# TIMEOUT: 7200
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
ROUNDS=${BENCH_N:-1000}
[ "$ROUNDS" -ge 550 ] || fail "$ROUNDS resets are too few to see whether something grows"
need tiny

{
	echo "lab: lab"
	echo "networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }"
	echo "instances:"
	seq -f '  i%.0f: { image: tiny, memory: 128M, networks: [mgmt] }' 1 3
} >"$TEST_DIR/lab.yaml"
labctl up "$TEST_DIR/lab.yaml" >/dev/null

digest() { find "$LABD_STATE/snapshots" -type f | sort | xargs sha256sum | sha256sum; }
keeper() { api GET /v1/labs/lab | jq .keeper; }
# open descriptors, threads, resident KiB of labd and the keeper
usage()
{
	local pid
	for pid in "$LABD_PID" "$(keeper)"; do
		find "/proc/$pid/fd" | wc -l
		awk '/^Threads|^VmRSS/ { print $2 }' "/proc/$pid/status"
	done | paste -sd' '
}

# the least of each, of samples: what is held at all times
least()
{
	awk '{ for (i = 1; i <= NF; i++) if (NR == 1 || $i < x[i]) x[i] = $i }
		END { for (i = 1; i <= NF; i++) printf "%s%s", x[i], i < NF ? " " : "\n" }'
}

golden=$(digest)
times=()
for ((n = 1; n <= ROUNDS; n++)); do
	start=$(now_ms)
	labctl reset lab >/dev/null 2>&1
	times+=($(($(now_ms) - start)))
	[ $((n % 10)) != 0 ] || usage >>"$TEST_DIR/usage"
	[ $((n % 100)) != 0 ] || say "$n resets: $(usage)"
done
check_eq "digest of the golden" "$golden" "$(digest)"
# as many jobs as labd remembers, and some more, have been when it begins
before=$(sed -n "15,35p" "$TEST_DIR/usage" | least)
after=$(tail -n 20 "$TEST_DIR/usage" | least)
say "descriptors, threads, KiB of labd; of the keeper: $before, then $after"
growth=$(awk -v a="$before" -v b="$after" 'BEGIN {
	n = split(a, x); split(b, y)
	for (i = 1; i <= n; i++) { g = (y[i] - x[i]) * 100 / x[i]; if (g > max) max = g }
	printf "%.2f", max }')
figure resets-growth "$growth" 2 % "$ROUNDS"
p50=$(percentile 50 "${times[@]}") p99=$(percentile 99 "${times[@]}")
say "p50 $p50 ms, p99 $p99 ms"
figure resets-p99-per-p50 "$(awk "BEGIN { print $p99 / $p50 }")" 2 x "$ROUNDS"
labctl rm lab -y >/dev/null
