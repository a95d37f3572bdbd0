#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a golden of which a file was damaged, or of another QEMU, is not used: the lab boots
# TIMEOUT: 600
# REQUIRES: root tun dnsmasq curl jq qemu-system-x86_64
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], ready: [{ agent: true }] }
YAML

golden_id()
{
	api GET /v1/labs/lab/snapshots | jq '.[] | select(.name == "golden").id'
}

golden_dir()
{
	echo "$LABD_STATE/snapshots/$(golden_id)/$(inst a id)"
}

# The log of the newest job
job_log()
{
	api GET "/v1/jobs/$(api GET /v1/jobs | jq 'map(.id) | max')/log"
}

ended()
{
	api GET "/v1/jobs/$1" | jq -e '.state == "done" or .state == "failed"'
}

# reset_as JSON: labctl has no word for all that the API knows
reset_as()
{
	local job
	job=$(api POST /v1/labs/lab/reset "$1" | jq .job)
	wait_for "the reset to end" 60 ended "$job"
	check_eq "reset" "done" "$(api GET "/v1/jobs/$job" | jq -r '.state + .error')"
}

# Whether it is the guest of the golden: something is in its memory that is on no disk
check_mark()
{
	check_eq "mark in the guest's memory" "$1" "$(guest a sh -c 'cat /dev/shm/mark 2>/dev/null || echo none')"
}

# check_booted WORDS: the newest job said so, and booted
check_booted()
{
	check_match "log of the job" "the golden is not used: $1" "$(job_log)"
	check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"
	check_mark none
}

# All of the golden but what is damaged, and the image, which others link meanwhile; a disk
# loses its other name when the QEMU that wrote it ends
others()
{
	find "$dir" -type f ! -path "$dir/$1" ! -name root.qcow2 -printf '%p %s %T@ %C@ %m %U\n' | sort
	find "$dir/root.qcow2" "$LABD_STATE/images/" -type f ! -path "$dir/$1" -printf '%p %s %T@ %m %U\n' | sort
	find "$dir" "$LABD_STATE/images/" -type f ! -path "$dir/$1" -exec sha256sum {} + | sort
}

# damaged FILE WORDS COMMAND...: the command damages it; the lab boots. Then it is whole again
damaged()
{
	local file=$1 words=$2 before
	shift 2
	say "$file: $*"
	cp -a "$dir/$file" "$TEST_DIR/saved"
	before=$(others "$file")
	"$@"
	if [ "${how:-reset}" = up ]; then
		labctl down lab --kill
		labctl up lab --no-golden
	else
		reset_as '{"golden": false}'
	fi
	check_booted "$words"
	check_eq "all other files" "$before" "$(others "$file")"
	check_eq "golden" "$id" "$(golden_id)"
	cp -a "$TEST_DIR/saved" "$dir/$file"
}

flip() # FILE OFFSET
{
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\x$(printf %x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

labctl up "$TEST_DIR/lab.yaml"
check_match "log of up" "golden" "$(job_log)"
first=$(golden_id)
guest a sh -c 'echo here >/dev/shm/mark'
labctl golden lab
id=$(golden_id)
dir=$(golden_dir)
check_eq "a golden replaces the one before" false "$(jq -n "$first == $id")"
check_eq "files" "manifest.json ram root.qcow2 state.qcow2" "$(cd "$dir" && echo *)"

page=$((16 << 20)) # where kernels are, or a hole: that is as good
damaged ram "instance a: $dir/ram is damaged" flip "$dir/ram" "$((page + 5))"
damaged ram "instance a: $dir/ram is damaged" truncate -s $((127 << 20)) "$dir/ram"
damaged state.qcow2 "instance a: $dir/state.qcow2 is damaged" truncate -s -1 "$dir/state.qcow2"
damaged root.qcow2 "instance a: $dir/root.qcow2 is damaged" flip "$dir/root.qcow2" "$(($(stat -c %s "$dir/root.qcow2") / 2))"
damaged manifest.json "instance a: $dir/manifest.json is damaged" truncate -s -2 "$dir/manifest.json"
how=up damaged ram "instance a: $dir/ram" rm "$dir/ram"
damaged manifest.json "instance a: $dir/manifest.json" rm "$dir/manifest.json"
qemu=$(qemu-system-x86_64 --version | sed -n 's/QEMU emulator version //p')
damaged manifest.json "instance a: .*saved with QEMU 6\.0\.0 .*, and this is ${qemu%% *}" \
	sed -i 's/"qemu": "[0-9.]*/"qemu": "6.0.0/' "$dir/manifest.json"

# whole again, with other times: it is looked at anew, and used
labctl reset lab
check_mark here
labctl reset lab
check_mark here

# now the guest maps the file. A bit of it that is lost: boot, and a new golden
flip "$dir/ram" "$((page + 5))"
labctl reset lab
check_booted "instance a: $dir/ram is damaged"
[ "$(golden_id)" != "$id" ] || fail "the golden that was damaged is the golden still"
[ ! -e "${dir%/*}" ] || fail "left of the one before: $(find "${dir%/*}")"
guest a sh -c 'echo again >/dev/shm/mark'
labctl golden lab
labctl reset lab
check_mark again

# its end is lost while it is mapped: the guest's memory is gone, and reset heals it
dir=$(golden_dir)
truncate -s 1M "$dir/ram"
wait_state a failed
check_match "why" "SIGBUS|signal 7|Bus error" "$(inst a error)"
labctl reset lab
check_booted "instance a: $dir/ram is damaged"
labctl reset lab
check_match "log of the job" "all run after" "$(job_log)"
check_eq "state of the lab" up "$(api GET /v1/labs/lab | jq -r .state)"

labctl down lab
labctl rm lab
check_eq "what is left of the lab's files" "" "$(find "$LABD_STATE/labs" "$LABD_STATE/snapshots" -mindepth 1 2>/dev/null)"
