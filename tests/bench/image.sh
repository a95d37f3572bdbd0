#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image.sh - build of debian-12 from nothing, against the same done by hand:
# mmdebstrap with the same packages, mke2fs -d, qemu-img convert
# TIMEOUT: 3600
# REQUIRES: root mmdebstrap qemu-img imagetool jq
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
ROUNDS=${BENCH_N:-3}
HAND=$TEST_DIR/hand

cat >"$TEST_DIR/none.yaml" <<'YAML'
image: none
variant: extract
packages: [no-such-package]
YAML
imagetool check "$SRCDIR/stack/images/debian-12.yaml" >"$TEST_DIR/spec.json"
packages=$(jq -r '.packages | join(",")' "$TEST_DIR/spec.json")
size=$(jq -r '.size' "$TEST_DIR/spec.json")
# where packages come from, as labbuild finds it
imagetool build "$TEST_DIR/none.yaml" "$TEST_DIR/none" 2>/dev/null || true
sources=$TEST_DIR/sources.list
cp "$LABD_STATE/apt/bookworm/sources.list" "$sources"

ours()
{
	rm -rf "$LABD_STATE"
	mkdir -p "$LABD_STATE/images"
	imagetool build debian-12 "$LABD_STATE/images/debian-12" 2>/dev/null
}

# shellcheck disable=SC2016 # the script is for sh in the root
by_hand()
{
	local release
	rm -rf "$HAND"
	mkdir "$HAND"
	jq -r .script "$TEST_DIR/spec.json" >"$HAND/script"
	INITRD=No mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
		"--include=$packages" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt=force-unsafe-io \
		"--customize-hook=chroot \"\$1\" sh -eu <'$HAND/script'" \
		bookworm "$HAND/root" "$sources" >/dev/null 2>&1
	rm -rf "${HAND:?}"/root/dev/*
	mke2fs -q -t ext4 -m 0 -d "$HAND/root" "$HAND/disk.raw" $((size >> 10))k
	qemu-img convert -f raw -O qcow2 "$HAND/disk.raw" "$HAND/disk.qcow2"
	release=$(ls "$HAND/root/lib/modules")
	cp "$HAND/root/boot/vmlinuz-$release" "$HAND/vmlinuz"
	rm "$HAND/disk.raw"
	sync "$HAND/disk.qcow2"
}

mine=() theirs=()
for ((i = 0; i < ROUNDS; i++)); do
	for what in ours by_hand; do
		start=$(now_ms)
		$what
		took=$(awk "BEGIN { print ($(now_ms) - $start) / 1000 }")
		if [ $what = ours ]; then mine+=("$took"); else theirs+=("$took"); fi
		say "round $((i + 1)): $what $took s"
	done
done
figure_ratio image-build "$(median "${mine[@]}")" by-hand "$(median "${theirs[@]}")" 1.15 s "$ROUNDS"
