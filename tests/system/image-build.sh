#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-build.sh - images from recipes: built once, whole or not at all, locked
# TIMEOUT: 600
# REQUIRES: root mmdebstrap qemu-img qemu-system-x86_64 imagetool
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"

DIR=$LABD_STATE/images LAYERS=$LABD_STATE/layers
mkdir -p "$DIR"

# build WHAT NAME [fresh]: progress goes to NAME.txt
build()
{
	imagetool build "$1" "$DIR/$2" ${3:+"$3"} 2>"$TEST_DIR/$2.txt"
}

no_partial()
{
	check_eq "partial directories" "" "$(find "$LABD_STATE" -name '*.tmp')"
	check_eq "mounts" "" "$(awk -v d="$LABD_STATE" 'index($5, d "/") == 1 { print $5 }' /proc/self/mountinfo)"
}

recipe()
{
	cat >"$TEST_DIR/$1.yaml"
}

say "tiny, for real"
build tiny tiny
no_partial
check_eq "what an image has" "build.json build.log disk.qcow2 initrd.img manifest.json vmlinuz" \
	"$(cd "$DIR/tiny" && echo *)"
check_eq "mode of the disk" 444 "$(stat -c %a "$DIR/tiny/disk.qcow2")"
[ "$(stat -c %s "$DIR/tiny/disk.qcow2")" -lt $((60 << 20)) ] || fail "tiny is larger than 60 MB"
check_eq "digest of the disk" "$(sha256sum <"$DIR/tiny/disk.qcow2" | cut -d' ' -f1)" \
	"$(jq -r .disk.sha256 "$DIR/tiny/manifest.json")"
jq -e '.packages | length > 5 and all(.sha256 | length == 64)' "$DIR/tiny/manifest.json" >/dev/null ||
	fail "packages without digest"
check_eq "recipe" "$(imagetool digest tiny)" "$(jq -r .recipe "$DIR/tiny/manifest.json")"
qemu-img convert -O raw "$DIR/tiny/disk.qcow2" "$TEST_DIR/tiny.raw"
e2fsck -fn "$TEST_DIR/tiny.raw" >/dev/null
rm "$TEST_DIR/tiny.raw"

say "it boots"
qemu-system-x86_64 -M q35 -accel tcg -cpu Nehalem -m 128 -nodefaults -display none \
	-kernel "$DIR/tiny/vmlinuz" -initrd "$DIR/tiny/initrd.img" \
	-append "$(jq -r .cmdline "$DIR/tiny/manifest.json") systemd.hostname=probe" \
	-drive "file=$DIR/tiny/disk.qcow2,format=qcow2,if=virtio,snapshot=on" \
	-serial "file:$TEST_DIR/console.txt" &
guest=$!
wait_for "its login line" 60 grep -q "tiny login ready: probe" "$TEST_DIR/console.txt"
kill $guest
wait $guest || true

say "the same again: nothing is unpacked, the same bytes"
build tiny again
if grep -q unpacking "$DIR/again/build.log"; then fail "its layer was made twice"; fi
cmp "$DIR/tiny/manifest.json" "$DIR/again/manifest.json"
say "made anew: the same bytes"
build tiny anew fresh
grep -q unpacking "$DIR/anew/build.log" || fail "its layer was not made anew"
cmp "$DIR/tiny/manifest.json" "$DIR/anew/manifest.json"

say "another recipe starts where that one ended"
recipe child <<'YAML'
image: child
from: tiny
files:
  - { path: /etc/motd, content: hello, mode: 0640 }
script: |
  test "$(cat /etc/motd)" = hello
  rm /etc/acpi/PWRF/00000080
  # no network but loopback
  test "$(busybox ip -o link | busybox wc -l)" = 1
  busybox ping -c 1 127.0.0.1
  sleep 1000 &
YAML
build "$TEST_DIR/child.yaml" child
if grep -q unpacking "$DIR/child/build.log"; then fail "its parent's layer was made again"; fi
check_eq "its base" tiny "$(jq -r .from "$DIR/child/manifest.json")"
qemu-img convert -O raw "$DIR/child/disk.qcow2" "$TEST_DIR/child.raw"
check_eq "its file" hello "$(debugfs -R "cat /etc/motd" "$TEST_DIR/child.raw" 2>/dev/null)"
check_match "what it removed" "File not found" \
	"$(debugfs -R "stat /etc/acpi/PWRF/00000080" "$TEST_DIR/child.raw" 2>&1)"
rm "$TEST_DIR/child.raw"

say "a script that fails"
recipe broken <<'YAML'
image: broken
from: tiny
script: |
  echo words of the command
  /bin/nothing-like-it
YAML
check_fails 1 "recipe broken: script: .* failed with status 127.*words of the command.*nothing-like-it.*whole log" \
	imagetool build "$TEST_DIR/broken.yaml" "$DIR/broken"
[ -s "$LABD_STATE/log/build-broken.log" ] || fail "no log is kept"
no_partial
[ ! -e "$DIR/broken" ] || fail "a broken image is there"
recipe nopackage <<'YAML'
image: nopackage
variant: extract
packages: [no-such-package]
YAML
check_fails 1 "Unable to locate package no-such-package" \
	imagetool build "$TEST_DIR/nopackage.yaml" "$DIR/nopackage"
recipe large <<'YAML'
image: large
from: tiny
size: 32M
script: dd if=/dev/urandom of=/usr/x bs=1048576 count=40
YAML
check_fails 1 "does not fit" imagetool build "$TEST_DIR/large.yaml" "$DIR/large"
no_partial

say "a script that makes the disk itself"
# whole NAME COMMANDS: a recipe of an image that is what they leave at /out/disk
whole()
{
	printf 'image: %s\nfrom: tiny\nsize: 32M\ndisk: /out/disk\nscript: |\n  mkdir /out\n  cd /out\n  %s\n' "$1" "$2" |
		recipe "$1"
}
sector='dd if=/dev/zero of=disk bs=1048576 count=1; printf "\125\252" | dd of=disk bs=1 seek=510 conv=notrunc'
whole whole "$sector; echo words | dd of=disk bs=512 seek=9 conv=notrunc"
build "$TEST_DIR/whole.yaml" whole
check_eq "what such an image has" "build.json build.log disk.qcow2 manifest.json" "$(cd "$DIR/whole" && echo *)"
check_eq "how it boots" "firmware  33554432 null" \
	"$(jq -r '"\(.boot) \(.cmdline) \(.size) \(.kernel)"' "$DIR/whole/manifest.json")"
check_eq "size of the disk" 33554432 "$(qemu-img info --output=json "$DIR/whole/disk.qcow2" | jq '."virtual-size"')"
qemu-img convert -O raw "$DIR/whole/disk.qcow2" "$TEST_DIR/whole.raw"
check_eq "what is on it" words "$(dd if="$TEST_DIR/whole.raw" bs=512 skip=9 count=1 status=none | tr -d '\0')"
rm -r "$TEST_DIR/whole.raw" "$DIR/whole"
while read -r name words; do
	read -r commands
	whole "$name" "$commands"
	check_fails 1 "disk /out/disk: .*$words" imagetool build "$TEST_DIR/$name.yaml" "$DIR/$name"
	[ ! -e "$DIR/$name" ] || fail "image $name is there"
done <<YAML
no-disk the script did not make it
true
dir-disk not a regular file
mkdir disk
pipe-disk not a regular file
mkfifo disk
outside-disk not a regular file
ln -s ../../../../../../../dev disk
odd-disk multiple of 512
$sector; echo x >>disk
large-disk 33 MiB, which does not fit into .size., 32 MiB
$sector; dd if=/dev/zero of=disk bs=1048576 seek=32 count=1
blank-disk no boot sector
dd if=/dev/zero of=disk bs=1048576 count=1
qcow2-disk begins like qcow2
$sector; printf 'QFI\373' | dd of=disk bs=1 conv=notrunc
YAML
no_partial

say "kill -9 while a script runs"
# seconds that name this test's sleepers among all on the machine
nap=$((4000000 + $$))
recipe slow <<YAML
image: slow
from: tiny
script: |
  sleep $nap &
  sleep $nap
YAML
imagetool build "$TEST_DIR/slow.yaml" "$DIR/slow" 2>/dev/null &
tool=$!
wait_for "the script" 60 pgrep -fx "sleep $nap"
kill -9 "$(pgrep -P $tool labbuild)"
wait $tool && fail "the build of a killed builder succeeded"
wait_for "its processes to be gone" 10 not pgrep -fx "sleep $nap"
no_partial
say "kill -9 of both"
imagetool build "$TEST_DIR/slow.yaml" "$DIR/slow" 2>/dev/null &
tool=$!
wait_for "the script" 60 pgrep -fx "sleep $nap"
kill -9 $tool
wait_for "its processes to be gone" 10 not pgrep -fx "sleep $nap"
check_eq "mounts" "" "$(grep "$LABD_STATE/" /proc/self/mountinfo || true)"
check_eq "swept" 2 "$(imagetool sweep)"
no_partial

say "what no image is made of any more"
rm -r "$DIR/child"
: >"$LABD_STATE/apt/bookworm/archives/old_1_all.deb"
imagetool sweep >/dev/null
check_eq "layers" "$(imagetool digest tiny)" "$(cd "$LAYERS" && echo *[!k])"
check_eq "packages" "$(jq -r '.packages[].name' "$DIR/tiny/manifest.json" | sort)" \
	"$(find "$LABD_STATE/apt" -name '*.deb' -printf '%f\n' | sed 's/_.*//' | sort)"

say "locked: no network, the same bytes"
imagetool lock tiny "$DIR/tiny" 2>/dev/null
check_match "state" " locked\$" "$(imagetool digest tiny)"
rm -r "${LABD_STATE:?}/layers" "$LABD_STATE/apt"
unshare --net imagetool build tiny "$DIR/locked" 2>/dev/null
cmp "$DIR/tiny/manifest.json" "$DIR/locked/manifest.json"
say "a pool that was tampered with"
rm -r "${LABD_STATE:?}/layers"
deb=$(echo "$LABD_STATE"/pool/tiny/busybox-static_*.deb)
cp "$deb" "$TEST_DIR/keep.deb"
truncate -s -1 "$deb"
check_fails 1 "busybox-static.*" imagetool build tiny "$DIR/tampered"
cp "$TEST_DIR/keep.deb" "$deb"
no_partial

say "disk full"
mkdir "$TEST_DIR/small"
mount -t tmpfs -o size=70M none "$TEST_DIR/small"
on_exit umount "$TEST_DIR/small"
cp -r "$LABD_STATE/pool" "$LABD_STATE/locks" "$TEST_DIR/small/"
check_fails 1 "No space left on device" env "LABD_STATE=$TEST_DIR/small" \
	imagetool build tiny "$TEST_DIR/small/tiny"
check_eq "what is left" "" "$(find "$TEST_DIR/small" -name '*.tmp' -o -name 'disk*')"
