#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-follow.sh - those who watch the tree: tail -f and -F, less +F, watch, inotifywait, a file manager
# TIMEOUT: 120
# REQUIRES: root fuse less inotifywait mc strace tmux watch jq
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images I=$TEST_DIR/mnt/labs/t/instances
export TERM=xterm

# has FILE REGEX
has()
{
	grep -q "$2" "$1"
}

is()
{
	[ "$(cat "$2")" = "$1" ]
}

# screen NAME COMMAND: in a terminal of its own
screen()
{
	tmux -S "$1.sock" -f /dev/null new-session -d -x 100 -y 30 "$2"
	on_exit tmux -S "$1.sock" kill-server
}

# shows NAME REGEX: on its terminal
shows()
{
	tmux -S "$1.sock" capture-pane -p | grep -q "$2"
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
mkdir "$M/labs/t" "$I/w"

# ---- a log that grows and is begun anew, as the keeper does with that of a console
log=$(inst t/w console_log)
mkdir -p "${log%/*}"
echo "line 1" >"$log"
log_of_tree=$I/w/console.log
timeout 60 tail -f "$log_of_tree" >follow 2>follow.err &
follow=$!
timeout 60 tail -F "$log_of_tree" >retry 2>retry.err &
retry=$!
screen less "less +F '$log_of_tree'"
wait_for "tail -f to tell" 10 has follow "line 1"
wait_for "tail -F to tell" 10 has retry "line 1"
wait_for "less +F to tell" 10 shows less "line 1"
echo "line 2" >>"$log"
wait_for "tail -f to follow" 10 has follow "line 2"
wait_for "tail -F to follow" 10 has retry "line 2"
wait_for "less +F to follow" 10 shows less "line 2"
check_eq "size" "$(stat -c %s "$log")" "$(stat -c %s "$log_of_tree")"
mv "$log" "$log.1"
echo new >"$log"
wait_for "tail -f to see that it is shorter" 10 has follow.err "truncated"
wait_for "tail -f to go on" 10 has follow "^new$"
wait_for "tail -F to go on" 10 has retry "^new$"
echo "new 2" >>"$log"
wait_for "tail -f to follow the new one" 10 has follow "^new 2$"
wait_for "tail -F to follow the new one" 10 has retry "^new 2$"
check_eq "what tail -F has told" "line 1 line 2 new new 2" "$(xargs <retry)"
check_eq "what tail -f has told" "line 1 line 2 new new 2" "$(xargs <follow)"
kill $follow $retry
wait $follow $retry || true

# ---- events of labd
timeout 60 tail -n +1 -f "$M/events" >events &
follow=$!
screen watch "watch -n 0.2 cat '$I/w/vcpus'"
wait_for "watch to show the value" 10 shows watch '^1 *$'
echo 2 >"$I/w/vcpus"
wait_for "watch to show the new value" 10 shows watch '^2 *$'
wait_for "the event" 10 has events '"vcpus": *2'
kill $follow
wait $follow || true

# ---- inotify tells what goes through this mount; /events tells the rest
timeout 60 inotifywait -m -q --format '%e %f' "$I" >inotify 2>&1 &
watcher=$!
seen() { mkdir "$I/probe"; rmdir "$I/probe"; has inotify "DELETE,ISDIR probe"; }
wait_for "inotifywait to watch" 10 seen
mkdir "$I/n"
wait_for "inotifywait to tell of mkdir" 10 has inotify "CREATE,ISDIR n"
mv "$I/n" "$I/m"
wait_for "inotifywait to tell of mv" 10 has inotify "MOVED_TO,ISDIR m"
timeout 60 tail -n +1 -f "$M/events" >events2 &
follow=$!
api DELETE /v1/labs/t/instances/m >/dev/null
wait_for "/events to tell of what another removed" 10 has events2 '"action":"remove".*"name":"m"'
kill $follow
wait $follow || true
kill $watcher
wait $watcher || true

# ---- a file manager: it opens images/ and reads nothing but the directory
for i in 1 2 3 4 5 6 7 8; do
	qemu-img create -q -f qcow2 "i$i.qcow2" 8M
	cp "i$i.qcow2" "$N/"
done
wait_for "the last image" 20 is ready "$N/i8/state"
pid=$(awk '$1 == "pid" { print $2 }' "$M/status")
strace -f -qq -o requests -e trace=read,writev,splice -e signal=none -p "$pid" &
tracer=$!
traced() { [ "$(awk '/^TracerPid/ { print $2 }' "/proc/$pid/status")" = $tracer ]; }
wait_for "strace to look" 10 traced
screen mc "mc -d -u '$N' '$TEST_DIR'"
wait_for "mc to show the images" 10 shows mc /i8
answers=$(grep -cE "(writev|splice)\(.* = [0-9]+$" requests)
say "$answers answers of labfs until mc shows 8 images"
[ "$answers" -gt 0 ] && [ "$answers" -lt 250 ] || fail "mc made labfs answer $answers times for 8 images"
kill $tracer
wait $tracer || true

# it copies a disk in, with the mode and times that it sets afterwards
cp i1.qcow2 z.qcow2
tmux -S mc.sock send-keys Tab C-r End
wait_for "mc to see the disk" 10 shows mc z.qcow2
tmux -S mc.sock send-keys F5
wait_for "mc to ask where to" 10 shows mc "Copy file"
tmux -S mc.sock send-keys Enter
wait_for "the copy to be an image" 20 is ready "$N/z/state"
wait_for "mc to be done" 10 not shows mc "Copy file"
if shows mc Error || shows mc "Cannot"; then fail "mc complains: $(tmux -S mc.sock capture-pane -p)"; fi
tmux -S mc.sock send-keys F10
qemu-img compare -q i1.qcow2 "$N/z/disk.qcow2"
