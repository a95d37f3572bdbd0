// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * initrd.c - the smallest initrd that finds the root disk
 *
 * DOC: Theory of Operation
 *
 * Debian's cloud kernel has ext4 built in and virtio as modules. The initrd is
 * busybox, those modules in the order they are to be loaded, and a script of a
 * few lines: an emulated machine is at the root file system's init in about a second,
 * where initramfs-tools with its udev takes ten. It is a cpio archive
 * ("newc"), not compressed: unpacking costs an emulated machine more than reading.
 */
#define _GNU_SOURCE
#include "images/builder/builder.h"

#include "lib/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define INITRD_MAX_FILE (16 << 20)
#define INITRD_MAX_MODULES 32

static const char *const wanted[] = { "virtio_pci", "virtio_blk" };

static const char init_script[] =
	"#!/bin/busybox sh\n"
	"b=/bin/busybox\n"
	"$b mount -t devtmpfs dev /dev\n"
	"$b mount -t proc proc /proc\n"
	"for m in $($b cat /modules); do $b insmod /$m; done\n"
	"read -r cmdline < /proc/cmdline\n"
	"root=/dev/vda init=/sbin/init\n"
	"for o in $cmdline; do\n"
	"	case $o in\n"
	"	root=*) root=${o#root=} ;;\n"
	"	init=*) init=${o#init=} ;;\n"
	"	esac\n"
	"done\n"
	"# the disk is there when its driver is; a slow one gets half a minute\n"
	"n=0\n"
	"while [ ! -b $root ] && [ $n -lt 300 ]; do $b usleep 100000; n=$((n + 1)); done\n"
	"if ! $b mount -t ext4 -o rw,noatime $root /root; then\n"
	"	echo \"initrd: cannot mount $root\"\n"
	"	$b poweroff -f\n"
	"fi\n"
	"$b mount --move /dev /root/dev\n"
	"$b umount /proc\n"
	"exec $b switch_root -c /dev/console /root $init\n"
	"echo 'initrd: cannot start init'\n"
	"$b poweroff -f\n";

/**
 * struct cpio - an archive being written
 * @ino:	each member has its own number
 */
struct cpio {
	FILE *f;
	unsigned int ino;
	long at;
};

static void pad(struct cpio *c)
{
	while (c->at % 4) {
		putc(0, c->f);
		c->at++;
	}
}

static void cpio_add(struct cpio *c, const char *name, unsigned int mode, const void *data,
		     size_t len)
{
	size_t n = strlen(name) + 1;

	fprintf(c->f, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++c->ino, mode,
		0, 0, 1, 0, (unsigned int)len, 0, 0, 0, 0, (unsigned int)n, 0);
	fwrite(name, 1, n, c->f);
	c->at += 110 + (long)n;
	pad(c);
	fwrite(data, 1, len, c->f);
	c->at += (long)len;
	pad(c);
}

static void cpio_node(struct cpio *c, const char *name, unsigned int major, unsigned int minor)
{
	unsigned int n = (unsigned int)strlen(name) + 1;

	fprintf(c->f, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++c->ino,
		S_IFCHR | 0600U, 0, 0, 1, 0, 0, 0, 0, major, minor, n, 0);
	fwrite(name, 1, n, c->f);
	c->at += 110 + (long)n;
	pad(c);
}

/**
 * struct modules - paths below /lib/modules/RELEASE, in loading order
 */
struct modules {
	char path[INITRD_MAX_MODULES][256];
	size_t n;
};

/* In the names of modules "-" and "_" are the same */
static bool same(char a, char b)
{
	return a == b || (strchr("-_", a) && strchr("-_", b));
}

static bool is_module(const char *path, const char *name)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	while (*name && *base && same(*base, *name)) {
		base++;
		name++;
	}
	return !*name && !strcmp(base, ".ko");
}

static int add_module(struct modules *m, const char *path)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->path[i], path))
			return 0;
	if (m->n == INITRD_MAX_MODULES || strlen(path) >= sizeof(m->path[0]))
		return -E2BIG;
	snprintf(m->path[m->n++], sizeof(m->path[0]), "%s", path);
	return 0;
}

/* modules.dep: "path: what it needs, the farthest last" */
static int add_with_needs(struct modules *m, const char *dep, const char *name)
{
	autofree char *text = strdup(dep);
	char *rest = text, *line;

	if (!text)
		return -ENOMEM;
	while ((line = strsep(&rest, "\n"))) {
		char *needs[INITRD_MAX_MODULES], *word;
		char *colon = strchr(line, ':');
		size_t n = 0;
		int r = 0;

		if (!colon)
			continue;
		*colon = '\0';
		if (!is_module(line, name))
			continue;
		colon++;
		while ((word = strsep(&colon, " ")))
			if (*word && n < INITRD_MAX_MODULES)
				needs[n++] = word;
		while (n && !r)
			r = add_module(m, needs[--n]);
		return r ? r : add_module(m, line);
	}
	return -ENOENT;
}

static int add_from(struct cpio *c, int root, const char *path, const char *name, mode_t mode,
		    struct lab_err *err)
{
	autoclose int fd = root_open(root, path, O_RDONLY, 0);
	autofree char *data = NULL;
	size_t len = 0;
	int r = fd < 0 ? fd : io_read_fd(fd, INITRD_MAX_FILE, &data, &len);

	if (r == -ENOENT)
		return lab_fail(err, r,
				"initrd: the image has no %s; add its package to `packages`", path);
	if (r < 0)
		return lab_fail_errno(err, r, "initrd: %s", path);
	cpio_add(c, name, S_IFREG | mode, data, len);
	return 0;
}

static int add_modules(struct cpio *c, int root, const char *release, struct lab_err *err)
{
	autofree struct modules *m = calloc(1, sizeof(*m));
	autofree char *dep = NULL, *list = NULL;
	char path[IO_PATH], name[32];
	autoclose int fd = root_open(root, io_path(path, "/lib/modules/%s/modules.dep", release),
				     O_RDONLY, 0);
	size_t len = 0;
	FILE *text = open_memstream(&list, &len);
	int r = fd < 0 ? fd : io_read_fd(fd, INITRD_MAX_FILE, &dep, NULL);

	if (!text || !m)
		r = -ENOMEM;
	if (r < 0) {
		if (text)
			fclose(text);
		// cppcheck-suppress memleak ; autofree
		return lab_fail_errno(err, r, "initrd: %s", path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted) && !r; i++) {
		r = add_with_needs(m, dep, wanted[i]);
		if (r < 0)
			lab_fail_errno(err, r, "initrd: module %s", wanted[i]);
	}
	for (size_t i = 0; i < m->n && !r; i++) {
		snprintf(name, sizeof(name), "m%zu.ko", i);
		fprintf(text, "%s\n", name);
		r = add_from(c, root, io_path(path, "/lib/modules/%s/%s", release, m->path[i]),
			     name, 0644, err);
	}
	fclose(text);
	if (!r)
		cpio_add(c, "modules", S_IFREG | 0644, list, len);
	return r;
}

int initrd_write(const char *root, const char *release, const char *path, struct lab_err *err)
{
	static const char *const dirs[] = { "bin", "dev", "proc", "root" };
	autoclose int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofile FILE *f = fopen(path, "we");
	struct cpio c = { .f = f };
	int r;

	if (fd < 0 || !f)
		return lab_fail_errno(err, -errno, "initrd: %s", fd < 0 ? root : path);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cpio_add(&c, dirs[i], S_IFDIR | 0755, "", 0);
	cpio_node(&c, "dev/console", 5, 1);
	cpio_node(&c, "dev/null", 1, 3);
	r = add_from(&c, fd, "/bin/busybox", "bin/busybox", 0755, err);
	if (!r)
		r = add_modules(&c, fd, release, err);
	if (r < 0)
		return r;
	cpio_add(&c, "init", S_IFREG | 0755, init_script, strlen(init_script));
	cpio_add(&c, "TRAILER!!!", 0, "", 0);
	if (fflush(f) || ferror(f) || fsync(fileno(f)) < 0)
		return lab_fail_errno(err, -errno, "initrd: %s", path);
	return 0;
}
