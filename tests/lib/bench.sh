# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench.sh - helpers of tests/bench; needs lib.sh
#
# A figure is one line:
#	figure NAME ours=V [peer=NAME:V ratio=R] bar=B unit=U n=N ok|short

now_ms()
{
	echo $((${EPOCHREALTIME/./} / 1000))
}

# median NUMBER...
median()
{
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 }
		END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# figure NAME OURS BAR UNIT N: ours is to be at most the bar
figure()
{
	awk -v name="$1" -v ours="$2" -v bar="$3" -v unit="$4" -v n="$5" 'BEGIN {
		printf "figure %s ours=%s bar=%s unit=%s n=%s %s\n", name, ours, bar, unit, n,
			ours + 0 <= bar + 0 ? "ok" : "short" }'
}

# figure_ratio NAME OURS PEER-NAME PEER BAR UNIT N: ours / peer is to be at most the bar
figure_ratio()
{
	awk -v name="$1" -v ours="$2" -v who="$3" -v peer="$4" -v bar="$5" -v unit="$6" -v n="$7" 'BEGIN {
		ratio = ours / peer
		printf "figure %s ours=%s peer=%s:%s ratio=%.3f bar=%s unit=%s n=%s %s\n", name, ours,
			who, peer, ratio, bar, unit, n, ratio <= bar ? "ok" : "short" }'
}

# figure_faster NAME OURS PEER-NAME PEER BAR UNIT N: peer / ours is to be at least the bar
figure_faster()
{
	awk -v name="$1" -v ours="$2" -v who="$3" -v peer="$4" -v bar="$5" -v unit="$6" -v n="$7" 'BEGIN {
		ratio = peer / ours
		printf "figure %s ours=%s peer=%s:%s ratio=%.1f bar=%s unit=%s n=%s %s\n", name, ours,
			who, peer, ratio, bar, unit, n, (ratio >= bar ? "ok" : "short") }'
}

# percentile P NUMBER...: nearest rank
percentile()
{
	local p=$1
	shift
	printf '%s\n' "$@" | sort -n | awk -v p="$p" '{ v[NR] = $1 }
		END { i = int(NR * p / 100 + 0.999999); print v[i < 1 ? 1 : i] }'
}

# running N [IMAGE [MORE]]: a lab "many" of as many small guests, up; MORE is added to each
running()
{
	local image=${2:-tiny}
	[ "$image" != tiny ] || need tiny
	{
		echo "lab: many"
		echo "networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }"
		echo "instances:"
		seq -f "  i%03.0f: { image: $image, memory: 96M, networks: [mgmt]${3:+, $3} }" 1 "$1"
	} >"$TEST_DIR/many.yaml"
	labctl up -q "$TEST_DIR/many.yaml" >/dev/null
	say "$1 instances are up"
}

# ---- time ------------------------------------------------------------------------

# us COMMAND...: how long it takes
us()
{
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null 2>&1 || true
	echo $((${EPOCHREALTIME/./} - start))
}

# in_turns N BEFORE COMMAND...: TOOK[COMMAND] is the median of ms that it takes, of N rounds in
# which each has its turn, so that what else the machine does falls on all. They go there and back,
# as one that follows a certain other may have it easier. "BEFORE COMMAND" comes before each; a
# command is a function without parameters
declare -A TOOK
in_turns()
{
	local n=$1 before=$2 i who order
	local -A times=()
	shift 2
	for ((i = 0; i < n; i++)); do
		mapfile -t order < <(printf '%s\n' "$@" | { [ $((i % 2)) = 0 ] && cat || tac; })
		for who in "${order[@]}"; do
			"$before" "$who"
			times[$who]+=" $(us "$who")"
		done
	done
	for who; do
		say "$who:${times[$who]} us"
		# shellcheck disable=SC2034,SC2086 # several; for who sources this
		TOOK[$who]=$(median ${times[$who]} | awk '{ printf "%.2f\n", $1 / 1000 }')
	done
}

# ---- what a process uses -----------------------------------------------------------

# own_labfs: the pid of this test's
own_labfs()
{
	local p
	for p in $(pgrep -x labfs); do
		! grep -qzx "TEST_ID=${TEST_ID:?}" "/proc/$p/environ" || { echo "$p"; return; }
	done
	fail "no labfs runs"
}

# rss PID: MiB
rss()
{
	awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"
}

# "TID COUNT" of every thread
wakes()
{
	local t
	for t in "/proc/$1/task/"*; do
		awk -v t="${t##*/}" '/^voluntary_ctxt/ { print t, $2 }' "$t/status" 2>/dev/null || true
	done
}

# woken BEFORE AFTER: how often; the end of a thread counts as once
woken()
{
	awk 'NR == FNR { before[$1] = $2; next }
		{ n += $2 - before[$1]; delete before[$1] }
		END { for (t in before) n++; print n + 0 }' <(echo "$1") <(echo "$2")
}

# idle PREFIX: figures of labd, and of a labfs through which somebody has looked at everything, when
# nothing happens: how often any of their threads woke in 10 s
idle()
{
	local labfs before after labd_before
	mkdir "$TEST_DIR/m"
	labctl mount "$TEST_DIR/m"
	on_exit labctl umount "$TEST_DIR/m"
	find "$TEST_DIR/m/labs" -type f -name state -exec cat {} + >/dev/null
	labctl status >/dev/null
	labfs=$(own_labfs)
	# what the commands above left running comes to its end: idle workers, connections
	pause "${BENCH_SETTLE:-30}"
	labd_before=$(wakes "$LABD_PID") before=$(wakes "$labfs")
	pause 10
	after=$(wakes "$labfs")
	figure "$1labd-wakeups" "$(woken "$labd_before" "$(wakes "$LABD_PID")")" 0 per-10s 1
	figure "$1labfs-wakeups" "$(woken "$before" "$after")" 0 per-10s 1
	figure "$1labfs-rss" "$(rss "$labfs")" 10 MiB 1
}
