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

# twenty: a lab of 20 small guests, up
twenty()
{
	need tiny
	{
		echo "lab: twenty"
		echo "networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }"
		echo "instances:"
		seq -f '  i%02.0f: { image: tiny, memory: 96M, networks: [mgmt] }' 1 20
	} >"$TEST_DIR/twenty.yaml"
	labctl up "$TEST_DIR/twenty.yaml" >/dev/null
	say "20 instances are up"
}
