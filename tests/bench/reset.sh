#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reset, up from golden, clone and snapshot of running debian-12 instances that have
# dirtied 50 MB each, BENCH_INSTANCES=20 of 2 GB nominal; against virsh
# snapshot-revert and restore and QEMU's own loadvm, of BENCH_PEERS=3 of the same guests, one after
# the other
# TIMEOUT: 7200
# REQUIRES: root tun dnsmasq curl jq libvirtd virtlogd virsh
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/virsh.sh"
ROUNDS=${BENCH_N:-10}
COUNT=${BENCH_INSTANCES:-20}
PEERS=${BENCH_PEERS:-3}
need debian-12

{
	echo "lab: lab"
	echo "networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }"
	echo "instances:"
	seq -f '  i%02.0f: { image: debian-12, memory: 2G, networks: [mgmt], ready: [{ agent: true, timeout: 1200 }] }' \
		1 "$COUNT"
} >"$TEST_DIR/lab.yaml"

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

# processor time of labd, keeper and guests, in seconds
cpu()
{
	awk '/^usage_usec/ { printf "%.1f", $2 / 1e6 }' "$TEST_CGROUP/cpu.stat" 2>/dev/null || echo 0
}

# ---- libvirt: guests of the same image ------------------------------------------------

# monitor GUEST COMMAND: as a hand at QEMU's monitor would
monitor()
{
	virsh -q qemu-monitor-command "$1" --hmp "$2" >/dev/null
}

agent()
{
	virsh -q qemu-agent-command "$1" "$2"
}

virsh_guest()
{
	local image
	image=$(api GET /v1/images/debian-12 | jq -r .path)
	qemu-img create -q -f qcow2 -F qcow2 -b "$image/disk.qcow2" "$TEST_DIR/$1.qcow2"
	cat >"$TEST_DIR/$1.xml" <<-XML
		<domain type='qemu'>
		<name>$1</name><memory unit='MiB'>2048</memory><vcpu>1</vcpu>
		<os><type arch='x86_64' machine='q35'>hvm</type><kernel>$image/vmlinuz</kernel>
		<initrd>$image/initrd.img</initrd><cmdline>$(jq -r .cmdline "$image/manifest.json")</cmdline></os>
		<features><acpi/></features><cpu mode='custom'><model>qemu64</model></cpu>
		<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
		<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
		<source file='$TEST_DIR/$1.qcow2'/><target dev='vda' bus='virtio'/></disk>
		<serial type='file'><source path='$TEST_DIR/$1.log'/></serial>
		<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
		<memballoon model='none'/></devices></domain>
	XML
	virsh -q create "$TEST_DIR/$1.xml"
	wait_for "$1: agent" 300 agent "$1" '{"execute":"guest-ping"}'
}

dirtied()
{
	agent "$1" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$2}}" |
		jq -e .return.exited >/dev/null
}

# VIRSH_REVERT, VIRSH_RESTORE, HAND_LOADVM: ms a guest, in the mean
virsh_measure()
{
	local i start pid revert=0 restore=0 loadvm=0
	virsh_start
	for ((i = 1; i <= PEERS; i++)); do
		virsh_guest "p$i"
		virsh -q snapshot-create-as "p$i" s
		monitor "p$i" "savevm hand"
		pid=$(agent "p$i" '{"execute":"guest-exec","arguments":{"path":"/bin/sh",
			"arg":["-c","yes $(cat /proc/sys/kernel/random/uuid) | head -c 50M >/dev/shm/x"]}}' |
			jq .return.pid)
		wait_for "p$i: 50 MB to be dirty" 60 dirtied "p$i" "$pid"
		start=$(now_ms)
		virsh -q snapshot-revert "p$i" s
		revert=$((revert + $(now_ms) - start))
		start=$(now_ms)
		monitor "p$i" stop
		monitor "p$i" "loadvm hand"
		monitor "p$i" cont
		loadvm=$((loadvm + $(now_ms) - start))
		virsh -q save "p$i" "$TEST_DIR/p$i.save"
		start=$(now_ms)
		virsh -q restore "$TEST_DIR/p$i.save"
		restore=$((restore + $(now_ms) - start))
		virsh -q destroy "p$i"
	done
	VIRSH_REVERT=$((revert / PEERS)) VIRSH_RESTORE=$((restore / PEERS)) HAND_LOADVM=$((loadvm / PEERS))
	say "virsh: revert $VIRSH_REVERT ms, restore $VIRSH_RESTORE ms; loadvm by hand $HAND_LOADVM ms a guest"
}

# ---- QEMU by hand: a file that is written and read by exec:cat ---------------------------

# hand_qemu OPTION...: with its monitor at $HAND_MONITOR
hand_qemu()
{
	local image
	image=$(api GET /v1/images/debian-12 | jq -r .path)
	coproc HAND {
		exec qemu-system-x86_64 -nodefaults -display none -machine q35 -cpu qemu64 -m 2048 \
			-kernel "$image/vmlinuz" -initrd "$image/initrd.img" \
			-append "$(jq -r .cmdline "$image/manifest.json")" \
			-drive "file=$TEST_DIR/hand.qcow2,if=virtio" -serial "file:$TEST_DIR/hand.log" \
			-monitor stdio "$@"
	}
	HAND_SAYS=${HAND[0]} HAND_MONITOR=${HAND[1]} HAND_QEMU=$!
}

# hand_is STATUS: whether the monitor says that
hand_is()
{
	local line
	echo "info status" >&"$HAND_MONITOR"
	while read -r -t 5 -u "$HAND_SAYS" line; do
		case $line in *"VM status: $1"*) return 0 ;; *"VM status:"*) return 1 ;; esac
	done
	return 1
}

hand_end()
{
	echo quit >&"$HAND_MONITOR"
	wait "$HAND_QEMU" || true
}

# HAND_RESTORE: ms until one guest runs again
hand_measure()
{
	local start
	qemu-img create -q -f qcow2 -F qcow2 -b "$(api GET /v1/images/debian-12 | jq -r .path)/disk.qcow2" \
		"$TEST_DIR/hand.qcow2"
	hand_qemu
	wait_for "a guest by hand" 300 grep -q 'login:' "$TEST_DIR/hand.log"
	echo "migrate \"exec:cat >$TEST_DIR/hand.save\"" >&"$HAND_MONITOR"
	wait_for "its state to be in a file" 60 hand_is "paused (postmigrate)"
	hand_end
	start=$(now_ms)
	hand_qemu -incoming "exec:cat $TEST_DIR/hand.save"
	wait_for "it to run" 60 hand_is running
	HAND_RESTORE=$(($(now_ms) - start))
	hand_end
	say "restore by hand: $HAND_RESTORE ms a guest"
}

start=$(now_ms)
labctl wait "$(api_up | jq .job)" >/dev/null
say "up of $COUNT instances by booting, and golden: $((($(now_ms) - start) / 1000)) s"

resets=() agents=()
for ((n = 1; n <= ROUNDS; n++)); do
	dirty
	start=$(now_ms) used=$(cpu)
	labctl reset lab >/dev/null
	agents+=($(($(now_ms) - start)))
	resets+=("$(job_says 'all run after')")
	say "round $n: reset: all run after ${resets[-1]} ms, all ready after ${agents[-1]} ms, $(awk "BEGIN { print $(cpu) - $used }") s of processor time"
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
	labctl up lab --force >/dev/null
	ups+=("$(job_says 'all run after')")
	say "up from golden $n: all run after ${ups[-1]} ms"
done
figure up-from-golden "$(percentile 95 "${ups[@]}")" 2000 ms 3
labctl status lab
labctl rm lab -y >/dev/null

say "a clone of one instance, its first idle"
sed -i '/  i0[^1]\|  i[12]/d' "$TEST_DIR/lab.yaml"
labctl up "$TEST_DIR/lab.yaml" >/dev/null
clones=() private=()
for n in 1 2 3 4 5; do
	start=$(now_ms)
	labctl clone lab "c$n" --from golden >/dev/null
	clones+=($(($(now_ms) - start)))
	private+=("$(awk '/^Private_Dirty/ { n += $2 } END { print n / 1024 }' "/proc/$(inst "c$n/i01" pid)/smaps")")
	labctl rm "c$n" -y >/dev/null
done
figure clone-agent "$(median "${clones[@]}")" 250 ms 5
figure clone-private "$(median "${private[@]}")" 45 MiB 5
labctl rm lab -y >/dev/null

virsh_measure
hand_measure
figure_faster reset-all "$(median "${resets[@]}")" virsh-revert $((VIRSH_REVERT * COUNT)) 20 ms "$ROUNDS"
figure_faster up-all "$(median "${ups[@]}")" virsh-restore $((VIRSH_RESTORE * COUNT)) 10 ms 3
say "reset against loadvm by hand, which leaves files, links and clocks as they are: $(awk "BEGIN {
	printf \"%.1f\", $((HAND_LOADVM * COUNT)) / $(median "${resets[@]}") }") x faster"
say "up from golden against exec:cat by hand, which has the disk as it is now: $(awk "BEGIN {
	printf \"%.1f\", $((HAND_RESTORE * COUNT)) / $(median "${ups[@]}") }") x faster"
say "what they cannot do: all of them take back one guest after another, so that these hear of each" \
	"other's future; links, forwards and clocks stay as they are; each file holds all memory that is" \
	"not zero. virsh snapshot-revert of Debian 12 refuses external snapshots, virsh save ends the" \
	"guest, exec:cat knows no disks"
