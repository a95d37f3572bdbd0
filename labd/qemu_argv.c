// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu_argv.c - the command line of a guest's QEMU
 *
 * DOC: Theory of Operation
 *
 * The command line is the machine. A snapshot with RAM can only be loaded by
 * a QEMU whose machine is the same to the last property, so everything here is
 * a function of struct qemu_config alone: order, ids and PCI addresses are fixed,
 * and one more disk or nic moves no other device.
 *
 * PCI addresses on pcie.0, the root bus (devices there are never hot-plugged):
 *
 *	01	VGA		02	virtio-serial	03	rng	04	pvpanic
 *	08-10	disks, in order	11-18	nics, in order	1f	ICH9 (q35's own)
 *
 * RAM is the memory backend "m", of a file with share=on, so that QEMU leaves it out
 * of what it saves (x-ignore-shared). In truth it is a private mapping, of a saved
 * memory or of /dev/zero: preload/labram.c says how and why.
 *
 * No option is guessed by QEMU: no user configuration, no default devices, each
 * block driver named down to the file. Only qcow2's backing files are opened by
 * what the header says; these headers are written by labd, never by a guest.
 * Nothing is given to a shell, and QEMU cannot start a program (-sandbox).
 */
#define _GNU_SOURCE
#include "labd/qemu.h"

#include "lib/io.h"
#include "lib/util.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/un.h>

#define PROGRAM "/usr/bin/qemu-system-x86_64"
#define MIB (1024 * 1024)
#define MAX_KERNEL_LINE 2047 /* COMMAND_LINE_SIZE of x86, less its NUL */

enum slot {
	SLOT_VGA = 0x01,
	SLOT_SERIAL = 0x02,
	SLOT_RNG = 0x03,
	SLOT_PANIC = 0x04,
	SLOT_DISK = 0x08,
	SLOT_NIC = 0x11,
	SLOT_END = 0x19,
};
static_assert(SLOT_DISK + LAB_MAX_DISKS + 1 <= SLOT_NIC, "disks reach into the nics' slots");
static_assert(SLOT_NIC + LAB_MAX_NICS <= SLOT_END, "nics reach into the chipset's slots");

/**
 * struct words - a command line that grows
 * @argv:	NULL-terminated
 * @failed:	out of memory, or too many; what follows is ignored
 */
struct words {
	char **argv;
	size_t n;
	bool failed;
};

/* Add one word; takes @word, NULL means that there was no memory for it */
static void add_word(struct words *w, char *word)
{
	if (!word || w->failed || w->n + 1 >= QEMU_MAX_WORDS) {
		w->failed = true;
		free(word);
		return;
	}
	w->argv[w->n++] = word;
}

/* Add an option and its value */
static void add(struct words *w, const char *option, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add(struct words *w, const char *option, const char *fmt, ...)
{
	char *value = NULL;
	va_list ap;

	add_word(w, strdup(option));
	if (!fmt)
		return;
	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		value = NULL;
	va_end(ap);
	add_word(w, value);
}

/* A value inside QEMU's key=value lists: commas are doubled */
static const char *quote(char buf[IO_PATH], const char *value)
{
	size_t n = 0;

	for (; *value && n + 2 < IO_PATH; value++) {
		if (*value == ',')
			buf[n++] = ',';
		buf[n++] = *value;
	}
	buf[n] = '\0';
	return buf;
}

/*
 * tb-size bounds TCG's cache of translated code, by default up to 1 GiB a guest. A
 * boot of Debian 12 costs 17.1 s of processor time with 32 MiB, 12.6 with 64, 11.9 with
 * 128 and no less with 256; the cache is resident memory once it was filled. So a small
 * guest gets 64, and a larger one, which runs more programs, some of its share more.
 */
static void add_machine(struct words *w, const struct qemu_config *c)
{
	uint64_t mib = (c->memory + MIB - 1) / MIB;
	char path[IO_PATH];

	/* no SMM, SATA, SMBus or vmport: nobody uses them, and the guest need not probe them */
	add(w, "-machine",
	    "q35,memory-backend=m,dump-guest-core=off,smm=off,sata=off,smbus=off,vmport=off");
	if (c->accel->kvm)
		add(w, "-accel", "kvm");
	else
		add(w, "-accel", "tcg,thread=multi,tb-size=%d",
		    mib <= 512	  ? 64
		    : mib <= 1536 ? 128
				  : 256);
	add(w, "-cpu", "%s", c->accel->cpu);
	add(w, "-smp", "%u", c->vcpus);
	add(w, "-m", "%" PRIu64 "M", mib);
	add(w, "-object", "memory-backend-file,id=m,size=%" PRIu64 "M,share=on,mem-path=%s", mib,
	    quote(path, c->ram ? c->ram : QEMU_NO_RAM));
}

static void add_identity(struct words *w, const struct qemu_config *c)
{
	const char *id = c->machine_id, *instance = strchr(c->name, '/');

	add(w, "-name", "guest=%s,process=qemu:%s,debug-threads=on", c->name,
	    instance ? instance + 1 : c->name);
	add(w, "-uuid", "%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8, id + 12, id + 16, id + 20);
	add(w, "-smbios", "type=1,manufacturer=labd,product=virtual laboratory,serial=%s", c->name);
	/*
	 * The machine's own, and not a new one each start: a restored guest is not told that
	 * it was, and draws the same random numbers, until it is asked to reseed
	 */
	add(w, "-device", "vmgenid,guid=%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8, id + 12, id + 16,
	    id + 20);
}

/*
 * A panicked guest is stopped, for a look at it; -no-reboot is not given, so that a
 * reboot inside the guest is one.
 */
static void add_behaviour(struct words *w)
{
	add(w, "-no-user-config", NULL);
	add(w, "-nodefaults", NULL);
	add(w, "-S", NULL);
	/* the guest's time goes on where a restored guest was, its hardware clock as well */
	add(w, "-rtc", "base=utc,clock=vm");
	add(w, "-action", "panic=pause");
	add(w, "-boot", "strict=on");
	add(w, "-msg", "timestamp=on");
	add(w, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

static void add_socket(struct words *w, const struct qemu_config *c, const char *name)
{
	char dir[IO_PATH];

	add(w, "-chardev", "socket,id=%s,path=%s/%s,server=on,wait=off", name,
	    quote(dir, c->run_dir), name);
}

static void add_channels(struct words *w, const struct qemu_config *c)
{
	char dir[IO_PATH];

	add_socket(w, c, "qmp");
	add(w, "-mon", "chardev=qmp,mode=control");
	add_socket(w, c, "events");
	add(w, "-mon", "chardev=events,mode=control");
	add_socket(w, c, "serial");
	add(w, "-device", "isa-serial,id=console,chardev=serial");
	add_socket(w, c, "agent");
	add(w, "-device", "virtio-serial-pci,id=ports,addr=%#x", SLOT_SERIAL);
	add(w, "-device",
	    "virtserialport,id=port-agent,bus=ports.0,nr=1,chardev=agent,"
	    "name=org.qemu.guest_agent.0");
	/* 4 MiB is a screen of 1280x800. It costs no measurable time at boot, and 1 MiB */
	add(w, "-device", "VGA,id=vga,vgamem_mb=4,addr=%#x", SLOT_VGA);
	add(w, "-vnc", "unix:%s/vnc", quote(dir, c->run_dir));
	add(w, "-object", "rng-builtin,id=random");
	add(w, "-device", "virtio-rng-pci,id=rng,rng=random,addr=%#x", SLOT_RNG);
	add(w, "-device", "pvpanic-pci,id=panic,addr=%#x", SLOT_PANIC);
}

/* File names may hold anything, so these are JSON */
static void add_disk(struct words *w, const struct qemu_disk *disk, size_t i)
{
	autojson json_t *node = NULL;
	char name[24];

	snprintf(name, sizeof(name), "blk%zu", i);
	node = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:{s:b, s:b}}}", "driver", "qcow2",
			 "node-name", name, "discard", "unmap", "file", "driver", "file",
			 "filename", disk->path, "locking", "on", "discard", "unmap", "cache",
			 "direct", 0, "no-flush", 0);
	add_word(w, strdup("-blockdev"));
	add_word(w, node ? json_dumps(node, JSON_COMPACT) : NULL);
	add(w, "-device",
	    "virtio-blk-pci,id=disk-%s,drive=%s,serial=%s,bootindex=%zu,werror=stop,rerror=stop,"
	    "addr=%#x",
	    disk->name, name, disk->name, i + 1, SLOT_DISK + (unsigned int)i);
}

static void add_nic(struct words *w, const struct qemu_nic *nic, size_t i)
{
	add(w, "-netdev", "tap,id=net%zu,fd=%zu,vhost=off", i, i + QEMU_FIRST_TAP);
	/*
	 * no option ROM: nobody boots from the network, and reading it takes time; no announcing
	 * itself after a load: that is for a guest which has moved, and emulated it takes time.
	 * Not by announce-rounds=0, with which QEMU 7.2 frees a timer that the next reset of
	 * the device stops
	 */
	add(w, "-device",
	    "virtio-net-pci,id=nic-%s,netdev=net%zu,mac=%s,host_mtu=%u,romfile=,"
	    "guest_announce=off,addr=%#x",
	    nic->name, i, nic->mac, nic->mtu, SLOT_NIC + (unsigned int)i);
}

/* The kernel's `hostname=` is for guests whose init sets none, the other one for systemd */
static void add_kernel(struct words *w, const struct qemu_config *c)
{
	if (!c->kernel)
		return;
	add(w, "-kernel", "%s", c->kernel);
	if (c->initrd)
		add(w, "-initrd", "%s", c->initrd);
	add(w, "-append", "%s%shostname=%s systemd.hostname=%s systemd.machine_id=%s",
	    c->cmdline ? c->cmdline : "", c->cmdline && *c->cmdline ? " " : "", c->hostname,
	    c->hostname, c->machine_id);
}

static int check_names(const struct qemu_config *c, struct lab_err *err)
{
	size_t longest = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (strlen(c->run_dir) + strlen("/events") > longest)
		return lab_fail(err, -ENAMETOOLONG,
				"%s: too long a name for sockets (at most %zu bytes)", c->run_dir,
				longest - strlen("/events"));
	if (strlen(c->machine_id) != 32 || strspn(c->machine_id, "0123456789abcdef") != 32)
		return lab_fail(err, -EINVAL, "machine id '%.40s' is not 32 hexadecimal digits",
				c->machine_id);
	if (c->kernel && c->cmdline &&
	    strlen(c->cmdline) + 2 * strlen(c->hostname) + 96 > MAX_KERNEL_LINE)
		return lab_fail(err, -E2BIG, "the kernel's command line is longer than %d bytes",
				MAX_KERNEL_LINE);
	return 0;
}

static int check_config(const struct qemu_config *c, struct lab_err *err)
{
	if (!c->vcpus || c->memory < MIB)
		return lab_fail(err, -EINVAL, "a guest needs a processor and memory");
	if (c->ndisks > ARRAY_SIZE(c->disks) || c->nnics > ARRAY_SIZE(c->nics))
		return lab_fail(err, -E2BIG, "a guest can have %zu disks and %zu nics",
				ARRAY_SIZE(c->disks), ARRAY_SIZE(c->nics));
	return check_names(c, err);
}

int qemu_argv(const struct qemu_config *config, char ***ret, struct lab_err *err)
{
	struct words w = { .argv = calloc(QEMU_MAX_WORDS, sizeof(char *)) };
	int r = check_config(config, err);

	if (r < 0 || !w.argv) {
		free(w.argv);
		return r < 0 ? r : lab_fail(err, -ENOMEM, "out of memory");
	}
	add(&w, PROGRAM, NULL);
	add_identity(&w, config);
	add_behaviour(&w);
	add_machine(&w, config);
	add_channels(&w, config);
	for (size_t i = 0; i < config->ndisks; i++)
		add_disk(&w, &config->disks[i], i);
	for (size_t i = 0; i < config->nnics; i++)
		add_nic(&w, &config->nics[i], i);
	add_kernel(&w, config);
	if (w.failed) {
		qemu_argv_free(w.argv);
		return lab_fail(err, -ENOMEM, "out of memory for QEMU's command line");
	}
	*ret = w.argv;
	return 0;
}

int qemu_machine_digest(const struct qemu_config *config, char digest[DIGEST_HEX],
			struct lab_err *err)
{
	struct qemu_config c = *config;
	autofree char *text = NULL;
	size_t len = 0;
	char **argv;
	FILE *f;
	int r;

	/* where its files are is not part of a machine */
	c.name = "-";
	c.run_dir = "/";
	c.ram = c.log = NULL;
	c.kernel = c.kernel ? "-" : NULL;
	c.initrd = c.initrd ? "-" : NULL;
	for (size_t i = 0; i < c.ndisks; i++)
		c.disks[i].path = c.disks[i].name;
	r = qemu_argv(&c, &argv, err);
	if (r < 0)
		return r;
	f = open_memstream(&text, &len);
	for (size_t i = 0; f && argv[i]; i++)
		fprintf(f, "%s\n", argv[i]);
	qemu_argv_free(argv);
	if (!f || fclose(f))
		return lab_fail(err, -ENOMEM, "out of memory");
	digest_hex(digest, text, len);
	return 0;
}

void qemu_argv_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}
