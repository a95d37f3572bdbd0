#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl cp and edit: modes, links, names, errors, hostile guests, no network
# TIMEOUT: 600
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny debian-12

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  tiny: { image: tiny, memory: 128M, networks: [mgmt] }
  deb: { image: debian-12, memory: 384M, networks: [mgmt] }
YAML
labctl up -q -G "$TEST_DIR/lab.yaml"
cd "$TEST_DIR"
umask 022

# a tree with everything that a name or a mode can be
mkdir -p tree/sub/empty "tree/a dir"
head -c 700000 /dev/urandom >tree/big
printf 'one\n' >"tree/a dir/-n *?\\ \"'"
printf 'two\n' >"tree/new"$'\n'"line"
: >tree/sub/nothing
printf 'secret\n' >tree/sub/secret
chmod 0600 tree/sub/secret
printf '#!/bin/sh\n' >tree/sub/run
chmod 0755 tree/sub/run
ln -s ../big tree/sub/link
ln -s /nowhere tree/sub/dangling
chmod 0750 tree/sub
seq 600 | while read -r i; do mkdir -p tree/many; echo "$i" >"tree/many/$i"; done

# what find and stat say of a tree; sizes of directories differ
shape() { (cd "$1" && find . ! -type d -printf '%p %y %m %s %l\n' -o -printf '%p %y %m\n' | sort); }

nothing_left()
{
	check_eq "left in $1" "" "$(guest "$1" find / -xdev -name '.labctl-*')"
	check_eq "left here" "" "$(find "$TEST_DIR" -name '.labctl-*')"
}

cut() { nsenter --net="$(api GET /v1/labs/lab | jq -r .netns)" ip link set mgmt "$1"; }
cut down # nothing of it needs a network

for g in tiny deb; do
	labctl cp -r tree $g:/root/
	rm -rf back
	labctl cp -r lab/$g:/root/tree back
	diff -r --no-dereference tree back || fail "$g: the tree changed on its way"
	check_eq "$g: types and modes" "$(shape tree)" "$(shape back)"
	labctl cp -r $g:/root/tree back # into a directory that exists, over what is there
	labctl cp -r $g:/root/tree back
	check_eq "$g: types and modes of a copy in a copy" "$(shape tree)" "$(shape back/tree)"
	nothing_left $g

	# one file: under a name, into a directory, over one that exists, from and to a pipe
	labctl cp tree/sub/secret $g:/root/named
	check_eq "$g: mode" 600 "$(guest $g stat -c %a /root/named)"
	guest $g sh -c 'chown 12:34 /root/named; ln -s named /root/to-named'
	labctl cp tree/sub/run $g:/root/named
	check_eq "$g: mode and owner of a file that existed" "755 12:34" \
		"$(guest $g stat -c '%a %u:%g' /root/named)"
	labctl cp tree/sub/secret $g:/root/to-named
	check_eq "$g: a link is written through" "secret 755" \
		"$(guest $g sh -c 'test -L /root/to-named && cat /root/named; stat -c %a /root/named' | xargs)"
	labctl cp tree/big tree/sub/run $g:/tmp
	labctl cp $g:/tmp/big $g:/tmp/run "$TEST_DIR/a.b" 2>/dev/null && fail "two files to a name"
	mkdir -p got
	labctl cp $g:/tmp/big $g:/tmp/run got
	cmp got/big tree/big
	check_eq "$g: mode here" 755 "$(stat -c %a got/run)"
	labctl cp - $g:/tmp/piped < <(cat tree/big; cat tree/big)
	labctl cp $g:/tmp/piped - | cmp - <(cat tree/big tree/big)
	labctl cp $g:/proc/version version # has no size
	grep -q Linux version || fail "$g: /proc/version came as '$(cat version)'"
	guest $g sh -c 'cp /bin/busybox /tmp/suid 2>/dev/null || cp /bin/true /tmp/suid; chmod 6755 /tmp/suid'
	labctl cp $g:/tmp/suid suid
	check_eq "$g: setuid stays in the guest" 755 "$(stat -c %a suid)"

	# the guest's own words
	check_fails 1 "labctl: /tmp/no: no such directory" labctl cp tree/big $g:/tmp/no/file
	check_fails 1 "labctl: /root/named is not a directory" labctl cp tree/big tree/new* $g:/root/named
	check_fails 1 "labctl: /nofile: no such file" labctl cp $g:/nofile x
	check_fails 1 "tree is a directory: left out without -r" labctl cp tree $g:/tmp
	check_fails 1 "/etc is a directory: left out without -r" labctl cp $g:/etc x
	check_fails 1 "/dev/null is no regular file" labctl cp $g:/dev/null x
	check_fails 1 "labctl: tree/none: No such file or directory" labctl cp tree/none $g:/tmp
	check_fails 1 "labctl: /sys/x: (Operation not permitted|Permission denied)" \
		labctl cp tree/sub/run $g:/sys/x
	guest $g sh -c 'mkdir /tmp/small && mount -t tmpfs -o size=300k small /tmp/small'
	check_fails 1 "labctl: tree/big: .*No space left on device" labctl cp tree/big $g:/tmp/small/big
	check_eq "$g: nothing of it there" "" "$(guest $g ls -A /tmp/small)"
	mkfifo fifo.$g
	check_fails 1 "fifo.$g is no regular file" labctl cp -r fifo.$g $g:/tmp

	# one that cannot be had is left out, the others are copied
	mkdir -p part
	echo x >part/file
	mkfifo part/fifo 2>/dev/null || true
	check_fails 1 "part/fifo is no regular file, and was left out" labctl cp -r part $g:/tmp
	check_eq "$g: the others" x "$(guest $g cat /tmp/part/file)"

	# edit: written back if changed, with owner and mode, and only onto what was read
	guest $g sh -c 'echo old >/etc/conf; chmod 640 /etc/conf; chown 0:5 /etc/conf; ln -sf /etc/conf /tmp/conf'
	EDITOR="sed -i s/old/new/" labctl edit $g:/tmp/conf
	check_eq "$g: edited" "new 640 0:5" "$(guest $g sh -c 'cat /etc/conf; stat -c "%a %u:%g" /etc/conf' | xargs)"
	before=$(guest $g stat -c %i /etc/conf)
	check_fails 0 "/etc/conf: not changed" env EDITOR=true labctl edit lab/$g:/etc/conf
	check_eq "$g: not touched" "$before" "$(guest $g stat -c %i /etc/conf)"
	check_fails 1 "the guest's file is as it was" env EDITOR=false labctl edit $g:/etc/conf
	cat >meanwhile <<EOF
#!/bin/sh
echo mine >"\$1"
labctl exec lab/$g -- sh -c 'echo theirs >/etc/conf'
EOF
	chmod 755 meanwhile
	check_fails 1 "what you wrote is in .*conf.*has changed in the guest meanwhile" \
		env EDITOR="$PWD/meanwhile" labctl edit $g:/etc/conf
	check_eq "$g: theirs stays" theirs "$(guest $g cat /etc/conf)"
	check_eq "$g: mine stays" mine "$(cat "$TMPDIR"/labctl-*/conf)"
	rm -r "$TMPDIR"/labctl-*
	VISUAL="tee <<<fresh" EDITOR=false labctl edit $g:/etc/fresh >/dev/null 2>&1 ||
		EDITOR="sh -c 'echo fresh >\"\$0\"'" VISUAL='' labctl edit $g:/etc/fresh
	check_eq "$g: a new file" "fresh 644" "$(guest $g sh -c 'cat /etc/fresh; stat -c %a /etc/fresh' | xargs)"
	check_fails 1 "/etc is a directory" labctl edit $g:/etc
	check_fails 1 "no such directory" labctl edit $g:/no/such/file
	check_eq "temporary directories" "" "$(find "$TMPDIR" -name 'labctl-*')"
	nothing_left $g
done
cut up

# what can be wrong with the command line
check_fails 1 "tmp: a path in a guest begins with /" labctl cp tree/big tiny:tmp
check_fails 1 "one side must be here" labctl cp tiny:/tmp/big deb:/tmp
check_fails 1 "the sources are in several guests" labctl cp tiny:/tmp/big deb:/tmp/big got
check_fails 1 "none of these is a path|is no path in a guest" labctl cp tree/big got
check_fails 2 "missing" labctl cp tree/big

# Ctrl-C: in good order, and at once
head -c 30000000 /dev/zero >slow
staged() { guest tiny sh -c 'ls -d /tmp/.labctl-*'; }
labctl cp slow tiny:/tmp/slow 2>err &
pid=$!
wait_for "something to be staged" 20 staged
kill -TERM $pid
status=0
wait $pid || status=$?
check_eq "interrupted" "1 labctl: slow: interrupted" "$status $(tail -n 1 err)"
check_fails 1 "" guest tiny test -e /tmp/slow
nothing_left tiny

# a guest that lists what it likes: nothing is written outside of the target
guest deb sh -c 'mkdir /tmp/evil; cp /usr/bin/find /usr/bin/cat /usr/bin/tar /tmp'
evil()
{
	printf '#!/bin/sh\nprintf "%s"\n' "$1" | labctl cp - deb:/tmp/evil.sh
	guest deb sh -c '/tmp/cat /tmp/evil.sh >/usr/bin/find; chmod 755 /usr/bin/find'
}
mkdir -p jail
echo safe >outside
for list in 'f0644 5\n./../../outside\0' 'f0644 5\n/etc/x\0' 'f0644 5\n../outside\0' 'l777 99999\nx\n./a\0' \
	'f0644\n./a\0' 'f99999999 1\n./a\0' 'q0644 1\n./a\0' 'f0644 1\n./a' '' '\0\0\0' 'f0644 1\n.//a\0' \
	'f0644 1\n./a/../../outside\0'; do
	evil "$list"
	check_fails 1 "makes no sense" labctl cp -r deb:/tmp/evil jail
done
evil 'd0755 0\n.\0l0777 2\n..\n./up\0f0644 5\n./up/outside\0'
check_fails 1 "Too many levels of symbolic links|Not a directory" labctl cp -r deb:/tmp/evil jail/x
check_eq "outside" safe "$(cat outside)"
check_eq "beside" "" "$(find jail -type f)"
evil 'd0755 0\n.\0f0644 3\n./a\0f0644 3\n./b\0' # files that are not what was listed
guest deb sh -c 'echo 12 >/tmp/evil/a; echo 4567 >/tmp/evil/b
	printf "#!/bin/sh\n/tmp/cat \"\$@\"; echo more" >/usr/bin/cat'
labctl cp -r deb:/tmp/evil jail/y
check_eq "fetched one by one" "12 4567" "$(cat jail/y/a jail/y/b | xargs)"
guest deb sh -c '/tmp/cat /tmp/find >/usr/bin/find; /tmp/cat /tmp/cat >/usr/bin/cat; rm /usr/bin/tar'

# names that JSON cannot carry, and a guest without tar
guest deb sh -c 'mkdir /tmp/odd; cd /tmp/odd; echo 1 >a; echo 2 >"$(printf "\377")"; echo 3 >c'
check_fails 1 "labctl: /tmp/odd/.*not UTF-8" labctl cp -r deb:/tmp/odd odd
check_eq "the others" "1 3" "$(cat odd/a odd/c | xargs)"
labctl cp -r odd deb:/tmp/odd2
check_eq "without tar" "1 3" "$(guest deb sh -c 'cat /tmp/odd2/a /tmp/odd2/c' | xargs)"

# not running: refused, with the way out
labctl kill tiny
check_fails 1 "labctl: .*does not run: labctl start lab/tiny" labctl cp tree/big tiny:/tmp
check_fails 1 "labctl: .*does not run: labctl start lab/tiny" labctl edit tiny:/etc/conf
labctl pause deb
check_fails 1 "labctl: .*paused: labctl resume lab/deb" labctl cp deb:/etc/passwd got
labctl resume deb
labctl down -k
