#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-table.sh - the live tree does what the tables of labfs(5) say, path by path, and has nothing else
# TIMEOUT: 120
# REQUIRES: root fuse tun dnsmasq mke2fs jq
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt I=$TEST_DIR/mnt/labs/t/instances
MAN=$SRCDIR/docs/labfs.5.scd

# tables HEADING: the rows below headings that begin so, one a line: what follows in the
# heading, and the cells, with tabs between
tables()
{
	awk -v want="## $1" '
		function flush() { if (row != "") print row; row = "" }
		/^#/ { flush(); in_it = index($0, want) == 1; where = substr($0, length(want) + 1)
			where = where == "" ? "-" : where }
		!in_it { next }
		/^\|  / { flush(); row = where "\t" substr($0, 4) }
		/^:  / { row = row "\t" substr($0, 4) }
		/^$/ { flush() }' "$MAN"
}

# live PATH: with the names of this test's objects
live()
{
	local p=$1
	case $p in */SERVICE/*) p=${p/LAB/u} ;; esac
	p=${p/LAB/t} p=${p/NAME/w} p=${p/IMAGE/img} p=${p/NIC/eth0} p=${p/NETWORK/default}
	p=${p/SNAPSHOT/s} p=${p/SERVICE/cache} p=${p/DISK/root} p=${p/PORT/w:eth0}
	echo "$M$p"
}

# call EXPECTED CALL PATH [ARGUMENT]
call()
{
	local want=$1 got
	shift
	got=$(callname "$@" 2>/dev/null)
	[ "$got" = "$want" ] || fail "$1 ${*:2}: expected $want, got $got; error: $(cat "$M/error")"
	CALLS=$((CALLS + 1))
}
CALLS=0

is()
{
	[ "$(cat "$2")" = "$1" ]
}

# reads_as KIND PATH
reads_as()
{
	local kind=${1%\?} path=$2 text regex
	[ "$kind" = bytes ] && { cat "$path" >/dev/null; return; }
	text=$(cat "$path")
	if [ -z "$text" ]; then
		[ "$kind" != "$1" ] || fail "$path is empty"
		return 0
	fi
	case $kind in
	number) regex='^[0-9]+(\.[0-9]+)?$' ;;
	word) regex='^[^[:space:]]+$' ;;
	words) regex='^[^[:space:]]+( [^[:space:]]+)*$' ;;
	keys) regex='^([a-z_]+ [^
]+(
|$))+$' ;;
	text) regex=. ;;
	json)
		jq . "$path" >/dev/null || fail "$path is no JSON"
		return
		;;
	*) fail "labfs(5) says '$kind' of $path: unknown to this test" ;;
	esac
	check_match "$path" "$regex" "$text"
	[ "$(tail -c 1 "$path" | od -An -tx1)" = " 0a" ] || fail "$path: no newline at its end"
}

# refuses VALUE ERRNO PATH: and says why, beside it and at the top
refuses()
{
	local before
	before=$(cat "$3" 2>/dev/null || true)
	call "$2" write "$3" "$1"
	[ -s "${3%/*}/error" ] || fail "$3 refuses '$1', and error does not say why"
	check_match "/error" "^${3#"$M"/}: .+" "$(cat "$M/error")"
	check_eq "$3 after a refusal" "$before" "$(cat "$3" 2>/dev/null || true)"
}

idle()
{
	[ "$(api GET /v1/jobs | jq '[.[] | select(.state == "running" or .state == "queued")] | length')" = 0 ]
}

takes()
{
	local path=$1 value=$2
	case $value in
	=) value=$(cat "$path") ;;
	'""') value= ;;
	IMAGE) value=img ;;
	esac
	call 0 write "$path" "$value
"
	[ -n "$(idle && echo yes)" ] || wait_for "what that started" 20 idle
	check_eq "${path%/*}/error after '$value' was taken" "" "$(cat "${path%/*}/error")"
}

# row MODE READING OPENING TAKES REFUSES PATH
row()
{
	local mode=$1 reading=$2 opening=$3 take=$4 refuse=$5 path=$6 one
	local -a list=()
	if [ "$mode" = link ]; then
		[ -L "$path" ] || fail "$path is no link"
		return
	fi
	[ -f "$path" ] || fail "$path is no file"
	check_eq "mode of $path" "$mode" "0$(stat -c %a "$path")"
	if [ "$mode" = 0200 ]; then
		call "$reading" openr "$path"
	else
		reads_as "$reading" "$path"
	fi
	if [ "$opening" != yes ]; then
		call "$opening" openw "$path"
		call "$opening" openrw "$path"
		call "$opening" truncate "$path" 0
		return
	fi
	[ "$take" != - ] && [ "$refuse" != - ] || fail "labfs(5) does not say what $path takes"
	IFS=, read -ra list <<<"$refuse"
	for one in "${list[@]}"; do
		one=${one# }
		refuses "${one% *}" "${one##* }" "$path"
	done
	refuses "$(printf '\377')" EINVAL "$path"
	if [ "${path##*/}" = spec ]; then
		refuses "$(printf '%070000d' 0)" E2BIG "$path"
	else
		refuses "$(printf '%05000d' 0)" E2BIG "$path"
	fi
	takes "$path" "$take"
}

mkdir "$M"
labd_start
mkdir -p "$LABD_STATE/images"
on_exit umount -l "$M"
labfs "$M"
mkdir "$TEST_DIR/root"
echo hello >"$TEST_DIR/root/hello"
mke2fs -q -t ext4 -d "$TEST_DIR/root" "$TEST_DIR/img.raw" 8M
cp "$TEST_DIR/img.raw" "$M/images/"
wait_for "the image" 20 is ready "$M/images/img/state"
mkdir "$M/labs/t" "$I/w" "$M/labs/u" "$M/labs/u/instances/v"
echo '{"image": "img", "memory": "64M", "ready": []}' >"$TEST_DIR/spec"
cat "$TEST_DIR/spec" >"$I/w/spec"
sed s/64M/256M/ "$TEST_DIR/spec" >"$M/labs/u/instances/v/spec"
echo cache >"$M/labs/u/instances/v/services"
echo running >"$I/w/state"
wait_for "the guest to run" 20 is running "$I/w/state"
mkdir "$M/labs/t/snapshots/s"

# ---- each row of the tables is in the tree, and does as it says
rows=0
paths=()
while IFS=$'\t' read -r dir name mode reading opening take refuse; do
	path=$(live "$dir$name")
	paths+=("$path")
	# only of an instance that runs, with an agent: lab-services.sh
	case $path in */services/cache/log) continue ;; esac
	row "$mode" "$reading" "$opening" "$take" "$refuse" "$path"
	rows=$((rows + 1))
done < <(tables "In ")
say "$rows rows"
[ $rows -gt 70 ] || fail "labfs(5) has only $rows rows"

# ---- each path of the tree is in a row
while read -r path; do
	found=
	for p in "${paths[@]}"; do
		[ "$p" != "$path" ] || found=1
	done
	[ -n "$found" ] || fail "$path is in no table of labfs(5)"
done < <(find "$M" \( -path "$M/labs/u" -o -path "*/p0" -o -path "$M/inspect/labs" \) -prune -o ! -type d -print)

# ---- other calls, with a file and a directory of one that runs
calls=0
file=$I/w/vcpus dir=$I/w copy=$M/images/.copy
while IFS=$'\t' read -r _ name on_file on_dir on_copy; do
	calls=$((calls + 1))
	: >"$copy"
	case $name in
	create | mkdir | symlink | mkfifo)
		call "$on_file" "$name" "$file/new"
		call "$on_dir" "$name" "$dir/new"
		call "$on_copy" "$name" "$copy/new"
		continue
		;;
	link | rename) words=("$name") arg=${file%/*}/new other=$I/new third=$M/images/.other ;;
	"chmod to another mode") words=(chmod) arg=600 other=700 third=644 ;;
	"chmod to the same mode") words=(chmod) arg=644 other=755 third=600 ;;
	"chown to another user") words=(chown) arg=12345 other=12345 third=12345 ;;
	"chown to the same user") words=(chown) arg=$(id -u) other=$arg third=$arg ;;
	write) words=(write) arg=1 other=1 third=1 ;;
	*) words=("$name") arg=0 other=0 third=0 ;;
	esac
	call "$on_file" "${words[@]}" "$file" "$arg"
	call "$on_dir" "${words[@]}" "$dir" "$other"
	call "$on_copy" "${words[@]}" "$copy" "$third"
	[ ! -e "$copy" ] || check_eq "mode of a copy after $name" 600 "$(stat -c %a "$copy")"
	rm -f "$copy" "$M/images/.other"
done < <(tables "Other calls")
[ $calls -gt 15 ] || fail "labfs(5) has only $calls other calls"

# ---- what is open when its object goes is ENODEV
fds=()
while IFS=$'\t' read -r dir name mode _; do
	path=$(live "$dir$name")
	case $mode:$path in
	link:* | 0200:* | *:"$M"/inspect/* | *:*.png | *:*/pcap | *:*/log | *:*.qcow2) continue ;;
	*:"$M"/labs/* | *:"$M"/images/*) ;;
	*) continue ;;
	esac
	exec {fd}<"$path"
	fds+=("$fd")
done < <(tables "In ")
echo kill >"$I/w/ctl"
wait_for "the guest to end" 20 is stopped "$I/w/state"
rm -r "$M/labs/t" "$M/labs/u" "$M/images/img"
[ ${#fds[@]} -gt 50 ] || fail "only ${#fds[@]} files were open"
for fd in "${fds[@]}"; do
	[ "$(callname readfd "$fd" 2>/dev/null)" = ENODEV ] ||
		fail "reading $(readlink "/proc/$$/fd/$fd") of an object that is gone: no ENODEV"
	exec {fd}<&-
	CALLS=$((CALLS + 1))
done
call ENOENT read "$(live /labs/LAB/state)"
check_eq "what is left" "" "$(ls -A "$M/labs")$(ls -A "$M/images")"
say "$CALLS calls did what labfs(5) says"
