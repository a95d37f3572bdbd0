#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-server.sh - the image of the cloud's servers: in a lab, and as a cloud would start it
# TIMEOUT: 420
# REQUIRES: root tun dnsmasq curl jq qemu-system-x86_64 qemu-img debugfs ssh ssh-keygen genisoimage mformat mcopy
. "${SRCDIR:-.}/tests/lib.sh"
need server

IMAGE=$(echo "$LABD_STATE"/images/*/disk.qcow2)
cd "$TEST_DIR"

say "what it is"
labctl image manifest server >manifest.json
check_eq "boot" firmware "$(jq -r .boot manifest.json)"
check_eq "kernel beside it" null "$(jq -r .kernel manifest.json)"
check_eq "size of the disk" $((128 << 20)) "$(qemu-img info --output=json "$IMAGE" | jq '."virtual-size"')"
labctl image export server ./server.qcow2
size=$(stat -c %s server.qcow2)
say "the image has $size bytes"
[ "$size" -le 25000000 ] || fail "the image has $size bytes, which is more than 25 MB"

# ---- what it makes of JSON --------------------------------------------------------

say "JSON"
qemu-img convert -O raw "$IMAGE" disk.raw
dd if=disk.raw of=root.raw bs=1M skip=32 status=none
debugfs -R "dump /bin/busybox busybox" root.raw 2>/dev/null
debugfs -R "dump /lib/server/json.awk json.awk" root.raw 2>/dev/null
chmod +x busybox

# json FILE: as the server reads it; by_jq FILE: what it should be
json() { ./busybox awk -f json.awk "$1"; }
by_jq()
{
	jq -r 'def clean: gsub("[\u0001-\u001f\u007f]"; " ") | gsub("\u0000"; " ") | sub(" +$"; "");
		paths(type | . != "object" and . != "array") as $p
		| ($p | map(if type == "string" then clean | gsub("/"; "_") else tostring end) | join("/"))
		  + "\t" + (getpath($p) | if type == "string" then clean else tostring end)' "$1"
}
cat >good.json <<'JSON'
{"uuid": "8367", "hostname": "a\nuuid\tevil", "public_keys": {"my/key\n": "ssh-ed25519 AAA me\nssh-rsa EVIL\n",
 "b": "\u0041\u00e9\u20ac\ud83d\ude00\"\\\/\b\f\u0001x"}, "e": {}, "f": [], "g": [1, -2.5e3, true, false, null, [[], {"h": "]}"}]],
 "": "empty name", "quote\"d": "{\"uuid\": 1}" , "last":"" }
JSON
json good.json >have.txt
by_jq good.json | sed 's/-2500$/-2.5e3/' >want.txt
diff want.txt have.txt || fail "JSON is read as something else"
check_eq "lines that name the uuid" 1 "$(grep -c ^uuid have.txt)"
while IFS= read -r text; do
	printf '%s' "$text" >bad.json
	if json bad.json >have.txt; then fail "taken for JSON: $text"; fi
done <<'TEXTS'

{
{"a"}
{"a": }
{"a": 1,}
{"a": "x}
{"a": "\x"}
{"a": "\u12g4"}
{"a": 1} x
{"a": nope}
<html>404</html>
[1 2]
TEXTS
printf '[%.0s' {1..1000} >bad.json
if json bad.json; then fail "a thousand brackets are taken for JSON"; fi

# ---- in a lab -----------------------------------------------------------------------

cat >lab.yaml <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, mtu: 1442 }
instances:
  s:
    image: server
    memory: 128M
    networks: [mgmt]
    forward: { 18080: 80 }
    ready: [{ console: "^LAB-SERVER-READY host=s addr=10.20.0.10 metadata=none" }, { http: ":80/", body: s }]
YAML
labctl up lab.yaml
check_match "console" "login: " "$(labctl logs lab/s)"
check_eq "its page" s "$(curl -s --max-time 5 http://127.0.0.1:18080/)"

# on_console: a session on the console of the lab's server, typed to by type_in
mkfifo keys
on_console()
{
	labctl console lab/s --tail 0 <keys >console.txt 2>&1 &
	CONSOLE=$!
	exec 5>keys
}
type_in() { printf '%s\r' "$1" >&5; }
shows() { grep -aq -- "$1" console.txt; }
leave_console()
{
	exec 5>&-
	kill $CONSOLE
	wait $CONSOLE || true
}

# Enter until somebody listens and the prompt is shown again
prompted()
{
	type_in ''
	shows 's login: $'
}

log_in()
{
	wait_for "the prompt" 20 prompted
	type_in lab
	wait_for "the question for the password" 20 shows 'Password:'
	type_in lab
	wait_for "a shell" 20 shows 'lab@s:~\$'
}

say "a user on the console"
on_console
log_in
# shellcheck disable=SC2016
type_in 'echo kept >marker; cat /sys/class/net/eth0/mtu; id -un; cat /etc/shadow; echo end-$((20 + 3))'
wait_for "the commands" 20 shows '^end-23'
for line in '^1442' '^lab' 'shadow.*Permission denied'; do
	shows "$line" || fail "no $line on the console: $(cat console.txt)"
done
type_in 'su -c "id -un"'
asked_twice() { [ "$(grep -ac Password: console.txt)" = 2 ]; }
wait_for "su to ask" 20 asked_twice
type_in lab
wait_for "root" 20 shows '^root'
leave_console

say "the power button"
begin=$SECONDS
labctl stop lab/s
[ $((SECONDS - begin)) -lt 15 ] || fail "it took $((SECONDS - begin)) s to stop"
check_match "console" "reboot: Power down" "$(labctl logs lab/s)"
labctl start lab/s
on_console
log_in
# shellcheck disable=SC2016
type_in 'echo found-$(cat marker)'
wait_for "the file that was written before" 20 shows '^found-kept'
leave_console
labctl rm -y lab

# ---- as a cloud does ------------------------------------------------------------------

for key in one two; do
	ssh-keygen -q -t ed25519 -N '' -f $key
done

# metadata DIR UUID NAME KEY: what Nova puts on a config-drive
metadata()
{
	mkdir -p "$1/openstack/latest"
	jq -n --arg uuid "$2" --arg name "$3" --arg key "$(cat "$4.pub")"$'\n' --arg seed "$(head -c 512 /dev/urandom | base64 -w0)" '
		{random_seed: $seed, uuid: $uuid, availability_zone: "nova", keys: [{data: $key, type: "ssh", name: "key"}],
		 hostname: "\($name).novalocal", launch_index: 0, devices: [], public_keys: {key: $key, odd: "$(reboot) `reboot`"},
		 name: $name}' >"$1/openstack/latest/meta_data.json"
	cat >"$1/openstack/latest/user_data"
}

# server NAME DISK UUID QEMU-ARGUMENTS...: one that is started as Nova does, with 96 MB
server()
{
	local name=$1 disk=$2 uuid=$3
	shift 3
	mkfifo "$name".serial.{in,out} "$name".mon.{in,out}
	qemu-system-x86_64 -accel tcg,tb-size=64 -cpu qemu64 -m 96 -nodefaults -display none -vga std \
		-drive "file=$disk,format=qcow2,if=${BUS:-virtio},id=disk" -uuid "$uuid" \
		-netdev "user,id=net${NETDEV:-},hostfwd=tcp:127.0.0.1:10022-:22,hostfwd=tcp:127.0.0.1:10080-:80" \
		-device virtio-net-pci,netdev=net,romfile= -serial "pipe:$name.serial" -monitor "pipe:$name.mon" "$@" &
	QEMU=$!
	cat "$name.serial.out" >"$name.txt" &
	cat "$name.mon.out" >/dev/null &
	SERVER=$name
}
says() { grep -aq -- "$1" "$SERVER.txt"; }
monitor() { printf '%s\n' "$@" >"$SERVER.mon.in"; }
in_server()
{
	local key=$1
	shift
	ssh -i "$key" -p 10022 -o BatchMode=yes -o StrictHostKeyChecking=no -o "UserKnownHostsFile=$SERVER.hosts" -o LogLevel=ERROR \
		-o ConnectTimeout=20 "$@"
}
power_button()
{
	monitor system_powerdown
	timeout 30 tail --pid=$QEMU -f /dev/null || fail "$SERVER does not heed the power button"
	wait $QEMU
}

say "a config-drive as a CD, 96 MB, the machine that Nova gives by default"
ID=83679162-1378-4288-a2d4-70e13ec132a
metadata cd ${ID}1 web-1 one <<'SH'
#!/bin/sh
echo "user-data of $(hostname) by $(id -un)"
echo again >>/root/count
SH
genisoimage -quiet -ldots -allow-lowercase -allow-multidot -l -J -r -V config-2 -o cd.iso cd 2>/dev/null
qemu-img create -q -f qcow2 -F qcow2 -b "$IMAGE" first.qcow2 1G
server first first.qcow2 ${ID}1 -machine pc -drive file=cd.iso,if=ide,media=cdrom,format=raw,readonly=on
wait_for "its ready line" 90 says '^LAB-SERVER-READY host=web-1 addr=10.0.2.15 metadata=config-drive'
says 'web-1 login: ' || fail "no prompt with its name: $(cat first.txt)"
says "reboot.*is not a key, ignored" || fail "what is no key is taken for one"
check_eq "its page" web-1 "$(curl -s --max-time 5 http://127.0.0.1:10080/)"
check_eq "ssh as lab" lab "$(in_server one lab@127.0.0.1 id -un)"
check_eq "ssh as root" "root web-1" "$(in_server one root@127.0.0.1 'echo $(id -un) $(hostname)')"
check_eq "user-data" "user-data of web-1 by root" "$(in_server one root@127.0.0.1 cat /var/log/user-data.log)"
check_fails 255 "Permission denied" in_server two root@127.0.0.1 true

say "a user at the screen"
screen() { in_server one root@127.0.0.1 fold -w 80 /dev/vcs1 | sed 's/ *$//' | grep -qx -- "$1"; }
press() { monitor "${@/#/sendkey }"; }
wait_for "the prompt" 30 screen "web-1 login:"
press l a b ret
wait_for "the question for the password" 30 screen "Password:"
press l a b ret
wait_for "a shell" 30 screen 'lab@web-1:~\$'
press i d spc minus u ret
wait_for "the answer" 30 screen 1000
press e x i t ret

say "a nic that is plugged in later"
monitor "netdev_add user,id=late,net=10.0.9.0/24" "device_add virtio-net-pci,netdev=late,id=late"
has_nic() { in_server one root@127.0.0.1 ip -o -4 addr show eth1 | grep -q 10.0.9.15; }
wait_for "its address" 30 has_nic
check_match "the way out is still the first nic's" "^default via 10.0.2.2 dev eth0" "$(in_server one root@127.0.0.1 ip route)"
monitor "device_del late"
no_nic() { in_server one root@127.0.0.1 'test ! -e /sys/class/net/eth1 && ! ps | grep -q "[u]dhcpc -i eth1"'; }
wait_for "it to be gone" 30 no_nic

say "a copy of its disk while it runs"
in_server one lab@127.0.0.1 'echo kept >/home/lab/marker'
has_marker()
{
	rm -f copy.qcow2
	qemu-img convert -U -O qcow2 first.qcow2 copy.qcow2 && qemu-img convert -O raw copy.qcow2 copy.raw &&
		dd if=copy.raw of=root.raw bs=1M skip=32 count=96 status=none || return 1
	# what is in the journal only is there as well, as for the kernel
	e2fsck -p root.raw
	[ "$(debugfs -R "cat /home/lab/marker" root.raw 2>/dev/null)" = kept ]
}
wait_for "what was written to be on the disk" 20 has_marker
power_button
says "reboot: Power down" || fail "it did not shut down: $(cat first.txt)"

say "a new server made of the copy; a config-drive as a disk"
metadata vfat ${ID}2 web-2 two <<'SH'
#!/bin/sh
cat /home/lab/marker
echo again >>/root/count
SH
truncate -s 16M vfat.raw
mformat -i vfat.raw -v config-2 -T 32768 -h 64 -s 32 ::
mcopy -s -i vfat.raw vfat/openstack ::
server second copy.qcow2 ${ID}2 -machine pc -drive file=vfat.raw,if=virtio,format=raw,readonly=on
wait_for "its ready line" 90 says '^LAB-SERVER-READY host=web-2 addr=10.0.2.15 metadata=config-drive'
check_eq "its page" web-2 "$(curl -s --max-time 5 http://127.0.0.1:10080/)"
check_eq "what user-data found" kept "$(in_server two root@127.0.0.1 cat /var/log/user-data.log)"
check_eq "times that user-data ran, with the first server's" 2 "$(in_server two root@127.0.0.1 cat /root/count | wc -l)"
! cmp -s first.hosts second.hosts || fail "two servers have one host key"
in_server two root@127.0.0.1 reboot
lines() { [ "$(grep -ac -- "$1" "$SERVER.txt")" = "$2" ]; }
wait_for "its second boot" 90 lines '^LAB-SERVER-READY host=web-2' 2
check_eq "times that user-data ran, after a reboot" 2 "$(in_server two root@127.0.0.1 cat /root/count | wc -l)"
power_button

say "metadata from the network, which does not answer at first; q35"
metadata http ${ID}3 web-3 one <<'SH'
#!/bin/sh
echo over http
SH
cat >httpd <<EOF2
#!/bin/bash
read -r _ path _
echo "\$path" >>"$TEST_DIR/asked"
file="$TEST_DIR/http\$path"
if [ "\$(wc -l <"$TEST_DIR/asked")" -gt 1 ] && [ -f "\$file" ]; then
	printf 'HTTP/1.0 200 OK\r\nContent-Length: %s\r\n\r\n' "\$(stat -c %s "\$file")"
	cat "\$file"
else
	printf 'HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n'
fi
EOF2
chmod +x httpd
qemu-img create -q -f qcow2 -F qcow2 -b "$IMAGE" third.qcow2
NETDEV=",net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:$TEST_DIR/httpd" \
	server third third.qcow2 ${ID}3 -machine q35
wait_for "its first ready line" 90 says '^LAB-SERVER-READY host=server addr=169.254.2.15 metadata=none'
wait_for "its second ready line" 60 says '^LAB-SERVER-READY host=web-3 addr=169.254.2.15 metadata=http'
check_eq "user-data" "over http" "$(in_server one root@127.0.0.1 cat /var/log/user-data.log)"
power_button

say "all disks behind a SCSI controller"
qemu-img create -q -f qcow2 -F qcow2 -b "$IMAGE" fourth.qcow2
BUS=none server fourth fourth.qcow2 ${ID}1 -machine q35 -device virtio-scsi-pci -device scsi-hd,drive=disk \
	-drive file=cd.iso,if=none,id=cd,media=cdrom,format=raw,readonly=on -device scsi-cd,drive=cd
wait_for "its ready line" 90 says '^LAB-SERVER-READY host=web-1 addr=10.0.2.15 metadata=config-drive'
power_button
