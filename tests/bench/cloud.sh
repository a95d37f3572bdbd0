#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cloud.sh - the cloud of stack/labs/core.yaml: its image from nothing, against the same by
# hand; first boot, a server, golden and back; and `spread`. BENCH_PARTS="image core spread"
# TIMEOUT: 10800
# REQUIRES: root tun dnsmasq curl jq openstack mmdebstrap imagetool
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
PARTS=${BENCH_PARTS:-image core spread}
ROUNDS=${BENCH_N:-5}
HAND=$TEST_DIR/hand

seconds_since()
{
	awk "BEGIN { printf \"%.1f\", ($(now_ms) - $1) / 1000 }"
}

# ---- the image ------------------------------------------------------------------------

# what the catalogue makes of core's services: a recipe with packages, files and scripts
composed()
{
	local names
	names=$(sed -n '/^instances:/,$p' "$LABD_DATA/labs/core.yaml" | grep -oE '^ *- [a-z-]+|services: \[.*\]' |
		grep -oE '[a-z-]{4,}' | grep -v services | sort -u | paste -sd,)
	printf 'image: core\nfrom: debian-12\nservices: [%s]\n' "$names" >"$TEST_DIR/core.yaml"
	imagetool check "$TEST_DIR/core.yaml" >"$TEST_DIR/spec.json"
	jq -e '.packages | length > 20' "$TEST_DIR/spec.json" >/dev/null
}

# a hook of mmdebstrap: the files of the recipe in the root $1, then its script there
write_hook()
{
	cat >"$HAND/hook" <<-HOOK
		#!/bin/bash
		set -eu
		jq -r '.files[] | [.path, .owner, (.mode // 420), (.content | @base64)] | @tsv' "$TEST_DIR/spec.json" |
		while IFS=\$'\t' read -r path owner mode content; do
			mkdir -p "\$1\$(dirname "\$path")"
			base64 -d <<<"\$content" >"\$1\$path"
			chmod "\$(printf %o "\$mode")" "\$1\$path"
			chroot "\$1" chown "\$owner" "\$path"
		done
		chroot "\$1" sh -eu <"$HAND/script"
	HOOK
	chmod +x "$HAND/hook"
}

by_hand()
{
	rm -rf "$HAND"
	mkdir "$HAND"
	jq -r .script "$TEST_DIR/spec.json" >"$HAND/script"
	write_hook
	imagetool check "$SRCDIR/stack/images/debian-12.yaml" >"$TEST_DIR/base.json"
	mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
		"--include=$(jq -rs 'map(.packages) | add | unique | join(",")' "$TEST_DIR/base.json" "$TEST_DIR/spec.json")" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt=force-unsafe-io "--customize-hook=$HAND/hook \"\$1\"" \
		bookworm "$HAND/root" "$LABD_STATE/apt/bookworm/sources.list" >"$TEST_DIR/hand.log" 2>&1
	rm -rf "${HAND:?}"/root/dev/*
	mke2fs -q -t ext4 -m 0 -d "$HAND/root" "$HAND/disk.raw" 7G
	qemu-img convert -f raw -O qcow2 "$HAND/disk.raw" "$HAND/disk.qcow2"
	rm "$HAND/disk.raw"
	sync "$HAND/disk.qcow2"
}

bench_image()
{
	local start ours theirs
	composed
	start=$(now_ms)
	labctl image build debian-12 >/dev/null
	labctl image build "$TEST_DIR/core.yaml" >/dev/null
	ours=$(seconds_since "$start")
	start=$(now_ms)
	by_hand
	theirs=$(seconds_since "$start")
	rm -rf "$HAND"
	labctl image rm core -y >/dev/null
	figure cloud-image "$ours" 480 s 1
	figure_ratio cloud-image-by-hand "$ours" by-hand "$theirs" 1.2 s 1
}

# ---- the lab ----------------------------------------------------------------------------

service_ready()
{
	[ "$(api GET "/v1/labs/$1/services" | jq -r --arg s "$2" '.[] | select(.name == $s) | .state')" = ready ]
}

# resident memory of all QEMUs, in GiB
resident()
{
	local pid
	for pid in $(api GET "/v1/labs/$1/instances" | jq -r '.[].pid'); do
		awk '/^Rss/ { print $2 }' "/proc/$pid/smaps_rollup"
	done | awk '{ n += $1 } END { printf "%.2f", n / 1048576 }'
}

# processor time of labd, keeper and guests, in seconds
cpu()
{
	awk '/^usage_usec/ { printf "%.2f", $2 / 1e6 }' "$TEST_CGROUP/cpu.stat"
}

idle_share()
{
	local used start
	used=$(cpu) start=$(now_ms)
	pause 60
	awk "BEGIN { printf \"%.0f\", ($(cpu) - $used) * 100000 / ($(now_ms) - $start) }"
}

# build_image LAB: the one of its services, so that only the boot is measured
build_image()
{
	local image
	api POST /v1/labs "$(jq -n --rawfile text "$LABD_DATA/labs/$1.yaml" '{ text: $text, up: false }')" >/dev/null
	image=$(api GET "/v1/labs/$1/instances" | jq -r '.[0].image')
	labctl image build "$image" >/dev/null
	say "image $image is there"
}

first_boot()
{
	local start job token
	start=$(now_ms)
	job=$(api POST /v1/labs "$(jq -n --rawfile text "$LABD_DATA/labs/core.yaml" '{ text: $text, up: true }')" | jq .job)
	wait_for "the first token" 1800 service_ready core identity
	token=$(seconds_since "$start")
	labctl wait "$job" >/dev/null
	figure cloud-first-token "$token" 360 s 1
	figure cloud-first-boot "$(seconds_since "$start")" 720 s 1
}

# a server of the image `server`, as a user makes it
make_server()
{
	labctl image build server >/dev/null
	labctl image export server "$TEST_DIR/server.qcow2" >/dev/null
	eval "$(labctl env core)"
	openstack <<-EOF >/dev/null
		image create --disk-format qcow2 --container-format bare --public --min-ram 96 --property hw_rng_model=virtio --file $TEST_DIR/server.qcow2 server
		flavor create --ram 128 --disk 1 --vcpus 1 small
		network create private
		subnet create --network private --subnet-range 192.168.7.0/24 private
		server create --image server --flavor small --network private first
	EOF
}

server_shows()
{
	openstack console log show first 2>/dev/null | grep -q "$1"
}

server_active()
{
	[ "$(openstack server show first -f value -c status)" = ACTIVE ]
}

bench_core()
{
	local start n ups=() resets=()
	need debian-12
	labctl image build server >/dev/null
	build_image core
	first_boot
	figure cloud-idle-booted "$(idle_share)" 60 % 1
	start=$(now_ms)
	make_server
	wait_for "the server to be active" 1200 server_active
	wait_for "its login prompt" 1800 server_shows 'first login:'
	figure cloud-first-server "$(seconds_since "$start")" 480 s 1
	labctl golden core >/dev/null
	for ((n = 1; n <= ROUNDS; n++)); do
		start=$(now_ms)
		labctl reset core >/dev/null
		resets+=("$(seconds_since "$start")")
		openstack token issue -f value -c expires >/dev/null
		server_active || fail "the server is not active after reset $n"
		labctl down core --kill >/dev/null
		start=$(now_ms)
		labctl up core >/dev/null
		ups+=("$(seconds_since "$start")")
		openstack token issue -f value -c expires >/dev/null
		say "round $n: reset ${resets[-1]} s, up ${ups[-1]} s"
	done
	figure cloud-reset "$(percentile 95 "${resets[@]}")" 5 s "$ROUNDS"
	figure cloud-up-from-golden "$(percentile 95 "${ups[@]}")" 5 s "$ROUNDS"
	figure cloud-resident "$(resident core)" 6 GiB 1
	figure cloud-idle "$(idle_share)" 60 % 1
	labctl rm core -y >/dev/null
}

bench_spread()
{
	local start
	build_image spread
	start=$(now_ms)
	labctl up "$LABD_DATA/labs/spread.yaml" >/dev/null
	say "spread: first boot and golden $(seconds_since "$start") s"
	figure spread-resident "$(resident spread)" 24 GiB 1
	labctl down spread --kill >/dev/null
	start=$(now_ms)
	labctl up spread >/dev/null
	figure spread-up-from-golden "$(seconds_since "$start")" 10 s 1
	labctl check spread
	labctl rm spread -y >/dev/null
}

unset LABD_IMAGE_CACHE # images are part of what is measured
labd_start
for part in $PARTS; do
	say "$part"
	"bench_$part"
done
