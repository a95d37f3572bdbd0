#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-user.sh - an ordinary user builds the same image as root, byte for byte
# TIMEOUT: 400
# REQUIRES: root userns mmdebstrap qemu-img newuidmap setpriv imagetool
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"

ID=61234 HOME_DIR=$TEST_DIR/user
mkdir "$HOME_DIR"
# a user of this mount namespace only
for file in passwd subuid subgid; do
	cp "/etc/$file" "$TEST_DIR/$file"
done
echo "labtest:x:$ID:$ID::$HOME_DIR:/bin/sh" >>"$TEST_DIR/passwd"
for file in subuid subgid; do
	echo labtest:3000000:65536 >>"$TEST_DIR/$file"
done
for file in passwd subuid subgid; do
	mount --bind "$TEST_DIR/$file" "/etc/$file"
	on_exit umount "/etc/$file"
done
chown $ID:$ID "$HOME_DIR"

as_user()
{
	setpriv --reuid $ID --regid $ID --clear-groups env "HOME=$HOME_DIR" "LABD_STATE=$HOME_DIR/s" "$@"
}

mkdir -p "$LABD_STATE/images"
as_user mkdir -p "$HOME_DIR/s/images"
# the file system made by labbuild, and a whole disk made by the script
for image in tiny server; do
	as_user imagetool build $image "$HOME_DIR/s/images/$image" 2>>"$TEST_DIR/build.log"
	say "$image is built by uid $ID"
	check_eq "owner" $ID "$(stat -c %u "$HOME_DIR/s/images/$image/disk.qcow2")"
	imagetool build $image "$LABD_STATE/images/$image" 2>>"$TEST_DIR/build.log"
	cmp "$LABD_STATE/images/$image/manifest.json" "$HOME_DIR/s/images/$image/manifest.json"
done

say "a recipe over it, killed, and swept"
nap=$((4000000 + $$)) # seconds that name this test's sleeper among all on the machine
cat >"$TEST_DIR/slow.yaml" <<YAML
image: slow
from: tiny
files:
  - { path: /etc/owned, owner: "1000:1000", content: x }
script: sleep $nap
YAML
as_user imagetool build "$TEST_DIR/slow.yaml" "$HOME_DIR/s/images/slow" 2>>"$TEST_DIR/build.log" &
wait_for "the script" 60 pgrep -fx "sleep $nap"
pkill -9 -U $ID imagetool
wait_for "its processes to be gone" 10 not pgrep -fx "sleep $nap"
check_eq "swept" 2 "$(as_user imagetool sweep)"
check_eq "what is left" "" "$(find "$HOME_DIR/s" -name '*.tmp')"

say "without a range of ids"
sed '/^labtest:/d' "$TEST_DIR/subuid" >"$TEST_DIR/none"
cat "$TEST_DIR/none" >/etc/subuid # not another file: this one is mounted
check_fails 1 "EPERM.*usermod --add-subuids" as_user imagetool build debian-12 "$HOME_DIR/s/images/deb"
