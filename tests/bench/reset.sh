#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reset, up from golden, snapshot of running debian-12 instances that have
# dirtied 50 MB each, BENCH_INSTANCES=20 of 2 GB nominal
# TIMEOUT: 7200
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
ROUNDS=${BENCH_N:-10}
COUNT=${BENCH_INSTANCES:-20}
need debian-12

{
	echo "lab: lab"
	echo "networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }"
	echo "instances:"
	seq -f '  i%02.0f: { image: debian-12, memory: 2G, networks: [mgmt], ready: [{ agent: true, timeout: 1200 }] }' \
		1 "$COUNT"
} >"$TEST_DIR/lab.yaml"

# percentile P NUMBER...: nearest rank
percentile()
{
	local p=$1
	shift
	printf '%s\n' "$@" | sort -n | awk -v p="$p" '{ v[NR] = $1 }
		END { i = int(NR * p / 100 + 0.999999); print v[i < 1 ? 1 : i] }'
}

# what the log of the newest job says: job_says "all run after"
job_says()
{
	local id
	id=$(api GET /v1/jobs | jq '.[0].id')
	api GET "/v1/jobs/$id/log" | sed -n "s/.*$1 \([0-9.]*\).*/\1/p" | tail -1
}

dirty()
{
	local pids=() i
	for i in $(seq -f 'i%02.0f' 1 "$COUNT"); do
		guest "$i" sh -c 'yes "$(cat /proc/sys/kernel/random/uuid)" | head -c 50M >/dev/shm/x' &
		pids+=($!)
	done
	wait "${pids[@]}"
}

api_up()
{
	api POST /v1/labs "$(jq -n --rawfile text "$TEST_DIR/lab.yaml" '{ text: $text, up: true, force: true }')"
}

total_written()
{
	find "$LABD_STATE/snapshots" -newer "$1" -type f -printf '%b\n' |
		awk '{ n += $1 } END { print n * 512 }'
}

start=$(now_ms)
labctl wait "$(api_up | jq .job)" >/dev/null
say "up of $COUNT instances by booting, and golden: $((($(now_ms) - start) / 1000)) s"

resets=() agents=()
for ((n = 1; n <= ROUNDS; n++)); do
	dirty
	start=$(now_ms)
	labctl reset lab >/dev/null
	agents+=($(($(now_ms) - start)))
	resets+=("$(job_says 'all run after')")
	say "round $n: reset: all run after ${resets[-1]} ms, all ready after ${agents[-1]} ms"
done
figure reset-last-cont-p95 "$(percentile 95 "${resets[@]}")" 1500 ms "$ROUNDS"
figure reset-agents-p95 "$(percentile 95 "${agents[@]}")" 3000 ms "$ROUNDS"

pauses=() ratios=()
for n in 1 2 3; do
	dirty
	touch "$TEST_DIR/mark"
	labctl snapshot create lab "s$n" >/dev/null
	pauses+=("$(job_says 'paused for')")
	ratios+=("$(total_written "$TEST_DIR/mark" | awk -v n="$COUNT" '{ print $1 / (n * 50 * 1048576) }')")
	say "snapshot $n: paused ${pauses[-1]} ms, ${ratios[-1]} x the dirty bytes"
	labctl reset lab >/dev/null
done
figure snapshot-pause "$(percentile 95 "${pauses[@]}")" 300 ms 3
figure snapshot-written-per-dirty "$(percentile 95 "${ratios[@]}")" 1.2 x 3

ups=()
for n in 1 2 3; do
	labctl down lab --kill >/dev/null
	labctl up lab >/dev/null
	ups+=("$(job_says 'all run after')")
	say "up from golden $n: all run after ${ups[-1]} ms"
done
figure up-from-golden "$(percentile 95 "${ups[@]}")" 2000 ms 3
labctl status lab | head -5
labctl rm lab >/dev/null
