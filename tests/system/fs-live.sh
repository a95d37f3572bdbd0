#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tree makes when it is opened: pcap of a nic, screen.png; poll of state; a labfs that is aborted
# TIMEOUT: 120
# REQUIRES: root tun fuse dnsmasq curl jq tcpdump
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
cd "$TEST_DIR"
cat >lab.yaml <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
labctl up -q -G lab.yaml
b=$(inst b addr)
labctl mount mnt
on_exit umount -l mnt
a=mnt/labs/lab/instances/a

captures_are() { [ "$(api GET /v1/captures | jq length)" = "$1" ]; }
has() { grep -Eq "$2" "$1"; }
png() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]; }

# a picture, by labctl and from the tree; each opening makes a new one
labctl screenshot a shot.png
png shot.png || fail "labctl screenshot: no picture"
labctl screenshot a >shot2.png
png shot2.png || fail "labctl screenshot to standard output: no picture"
guest a sh -c 'printf "\033[2J\033[H" >/dev/tty0'
empty_size() { cat $a/screen.png >tree.png && [ "$(stat -c %s tree.png)" -lt 4000 ]; }
wait_for "an empty screen" 10 empty_size
png tree.png || fail "the tree: no picture"
guest a sh -c 'head -c 12000 /dev/urandom | od -An -c | head -n 24 >/dev/tty0'
fuller() { cat $a/screen.png >new.png && [ "$(stat -c %s new.png)" -gt $((2 * $(stat -c %s tree.png))) ]; }
wait_for "the picture to change" 10 fuller
png new.png || fail "the tree: no picture"
check_eq "files of QEMU left" "" "$(find "$LABD_RUN" -name '*.png')"
check_fails 1 "Permission denied" dd if=/dev/zero of=$a/screen.png count=1 conv=notrunc

# a capture grows while it is open, for all who have it open, and ends with the last
check_eq "size of a closed one" 0 "$(stat -c %s $a/nics/eth0/pcap)"
tail -c +1 -f $a/nics/eth0/pcap 2>/dev/null | tcpdump -lnr - icmp >live 2>/dev/null &
live=$!
wait_for "the capture" 10 captures_are 1
exec 7<$a/nics/eth0/pcap
captures_are 1 || fail "a second opening has begun a second capture"
guest a ping -c 2 "$b" >/dev/null
wait_for "tail and tcpdump to tell" 20 has live "> $b: ICMP echo request"
told() { [ "$(tcpdump -nr $a/nics/eth0/pcap icmp 2>/dev/null | wc -l)" = 4 ]; }
wait_for "tcpdump -r to read what there is" 10 told
[ "$(stat -c %s $a/nics/eth0/pcap)" -gt 300 ] || fail "it has no size while it is open"
cp $a/nics/eth0/pcap copy.pcap
tcpdump -nr copy.pcap >/dev/null 2>&1 || fail "a copy is no file that tcpdump reads"
kill "$(pgrep -P $$ -x tail)"
wait $live || true
captures_are 1 || fail "the capture ended although it is open"
exec 7<&-
wait_for "it to end with the last who closes it" 10 captures_are 0
check_fails 1 "Read-only file system" dd if=/dev/zero of=$a/nics/eth0/pcap count=1 conv=notrunc

# poll: a state that changes wakes who waits for it
pollvalue $a/state >polled &
pid=$!
wait_for "it to have read" 10 has polled running
labctl pause a
wait $pid
check_eq "read before and after" "running paused" "$(xargs <polled)"
labctl resume a

# labfs killed while captures run: they end, and mount repairs
exec 7<$a/nics/eth0/pcap
wait_for "the capture" 10 captures_are 1
pid=$(awk '$1 == "pid" { print $2 }' mnt/status)
kill -9 "$pid"
wait_for "it to end with labfs" 10 captures_are 0
exec 7<&-
check_fails 1 "not connected" cat mnt/status
labctl mount mnt
check_eq "after the repair" running "$(cat $a/state)"

# aborted by the kernel's switch, with a read that waits: every call returns, no process hangs
number=$(($(stat -c %d mnt) & 0xff))
control=/sys/fs/fuse/connections
mountpoint -q $control || mount -t fusectl none $control
on_exit umount $control
pid=$(awk '$1 == "pid" { print $2 }' mnt/status)
exec 7<$a/nics/eth0/pcap
[ -w $control/$number/abort ] || fail "no $control/$number: $(ls $control)"
echo 1 >$control/$number/abort
check_fails 1 "not connected|Software caused connection abort" cat mnt/status
exec 7<&-
gone() { ! alive "$pid"; }
wait_for "labfs to end" 10 gone
wait_for "its capture to end" 10 captures_are 0
labctl mount mnt
check_eq "after the abort" running "$(cat $a/state)"

# not running
labctl kill a
no_pcap() { ! [ -e $a/nics/eth0/pcap ] && ! [ -e $a/screen.png ]; }
wait_for "pcap and screen.png to go" 5 no_pcap
status=0
grep -r --exclude=ctl nothing-has-this $a || status=$?
check_eq "grep -r over one that does not run" 1 $status
check_fails 1 "does not run" labctl screenshot a -
check_fails 1 "" labctl screenshot b /no/such/dir/x.png

# labd stopped: opening returns within 5 s, and at once if it is interrupted
kill -STOP "$LABD_PID"
on_exit kill -CONT "$LABD_PID"
b=mnt/labs/lab/instances/b
start=$EPOCHREALTIME
check_fails 124 "" timeout -s INT 0.3 cat $b/nics/eth0/pcap
took=$(awk "BEGIN { print int(($EPOCHREALTIME - $start) * 1000) }")
[ "$took" -lt $((2000 * ${TEST_TIMES:-1})) ] || fail "interrupted after $took ms"
for f in screen.png nics/eth0/pcap; do
	start=$EPOCHREALTIME
	check_fails 1 "Connection timed out" cat $b/$f
	took=$(awk "BEGIN { print int(($EPOCHREALTIME - $start) * 1000) }")
	[ "$took" -lt $((6000 * ${TEST_TIMES:-1})) ] || fail "$f took $took ms"
done
kill -CONT "$LABD_PID"
labctl umount mnt
labctl down -k
