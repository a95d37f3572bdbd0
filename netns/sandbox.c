// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sandbox.c - the lab's namespaces and the little of the host that is seen in them
 *
 * DOC: Theory of Operation
 *
 * The keeper and everything it starts sees this tree and nothing else:
 *
 *	/usr /bin /lib ...	the host's programs, read-only, no set-uid
 *	/etc/FILE		what the loader and getpwnam() need, read-only
 *	/proc			as root a new one that shows a process only its
 *				own uid's (hidepid) and no /proc/sys; else the host's
 *	/dev			null zero full random urandom kvm net/tun
 *	/tmp			small and empty
 *	/net			RUN_DIR/net: files of dnsmasq
 *	STATE_DIR RUN_DIR	read-write, no device, set-uid or executable files
 *
 * Steps, and why in this order:
 *	1. unshare(); as a user then map our uid to 0, which owns the new ones
 *	2. sysctls, while the host's /proc is there: /proc/sys/net shows the
 *	   network namespace of who looks
 *	3. copy each tree (open_tree) while its path still means the host's, and
 *	   restrict the copy before anything can see it
 *	4. make a tmpfs, attach the copies to it, make it read-only
 *	5. pivot into it and drop the host's tree
 *
 * There is no pid namespace: labd knows guests by their pids, and a pid
 * namespace would end them all with the keeper.
 *
 * RUN_DIR/keeper.sock is covered in here, because without root a guest's QEMU
 * has the uid that may command the keeper.
 */
#define _GNU_SOURCE
#include "netns/sandbox.h"

#include "lib/io.h"
#include "lib/util.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <net/if.h>

#define DATA_ATTR (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define PROGRAM_ATTR (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* Room for directories and links of the tree itself; files live elsewhere */
#define ROOT_SIZE "4m"
/* For programs that insist on a temporary file; disks and RAM are in STATE_DIR */
#define TMP_SIZE "16m"

/**
 * struct piece - a part of the host that is seen inside
 * @path:	the same on both sides, unless @at is given
 * @at:		where it appears
 * @attr:	MOUNT_ATTR_* added to it and all mounts below it
 * @tree:	the detached copy
 */
struct piece {
	const char *path;
	const char *at;
	uint64_t attr;
	int tree;
	bool is_dir;
};

static const char *const program_dirs[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
};

static const char *const etc_files[] = {
	"/etc/ld.so.cache",   "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group",
	"/etc/nsswitch.conf", "/etc/localtime",	 "/etc/alternatives", "/etc/qemu",
};

static const char *const devices[] = {
	"/dev/null",	"/dev/zero", "/dev/full",    "/dev/random",
	"/dev/urandom", "/dev/kvm",  "/dev/net/tun",
};

#define MAX_PIECES (ARRAY_SIZE(program_dirs) + ARRAY_SIZE(etc_files) + ARRAY_SIZE(devices) + 4)

struct pieces {
	struct piece list[MAX_PIECES];
	size_t n;
};

static void pieces_done(struct pieces *p)
{
	for (size_t i = 0; i < p->n; i++)
		close(p->list[i].tree);
}

/* Copy the mounts at @path, restricted; what does not exist is left out if @optional */
static int take(struct pieces *p, const char *path, const char *at, uint64_t attr, bool optional,
		struct lab_err *err)
{
	struct mount_attr set = { .attr_set = attr, .propagation = MS_PRIVATE };
	struct stat st;
	autoclose int tree = open_tree(AT_FDCWD, path,
				       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (tree < 0 && errno == ENOENT && optional)
		return 0;
	if (tree < 0)
		return lab_fail_errno(err, -errno, "cannot copy the mount of %s", path);
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof(set)) < 0)
		return lab_fail_errno(err, -errno, "cannot restrict the mount of %s", path);
	if (fstat(tree, &st) < 0)
		return lab_fail_errno(err, -errno, "%s", path);
	p->list[p->n++] = (struct piece){ .path = path,
					  .at = at ? at : path,
					  .attr = attr,
					  .is_dir = S_ISDIR(st.st_mode),
					  .tree = steal_fd(&tree) };
	return 0;
}

/* A new mount of @type that nobody sees yet */
static int new_mount(const char *type, const char *const *options, unsigned int attr)
{
	autoclose int fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	for (; options[0]; options += 2)
		if (fsconfig(fs, FSCONFIG_SET_STRING, options[0], options[1], 0) < 0)
			return -errno;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attr);
	return fd < 0 ? -errno : fd;
}

static int new_tmpfs(const char *size, const char *mode, unsigned int attr)
{
	const char *const options[] = { "size", size, "mode", mode, "source", "labkeeper", NULL };

	return new_mount("tmpfs", options, attr);
}

/* /proc as a guest may see it */
static int take_proc(struct pieces *p, bool root, struct lab_err *err)
{
	const char *const options[] = { "hidepid", "invisible", "subset", "pid", NULL };
	int fd;

	if (!root) /* a new one needs a pid namespace of our own */
		return take(p, "/proc", NULL, DATA_ATTR, false, err);
	fd = new_mount("proc", options, DATA_ATTR);
	if (fd < 0)
		return lab_fail_errno(err, fd, "cannot mount proc with hidepid and subset");
	p->list[p->n++] =
		(struct piece){ .path = "/proc", .at = "/proc", .is_dir = true, .tree = fd };
	return 0;
}

static int take_all(struct pieces *p, bool root, const char *state_dir, const char *run_dir,
		    const char *extra, struct lab_err *err)
{
	int r = take_proc(p, root, err);

	for (size_t i = 0; !r && i < ARRAY_SIZE(program_dirs); i++) {
		struct stat st;

		if (!lstat(program_dirs[i], &st) && S_ISDIR(st.st_mode))
			r = take(p, program_dirs[i], NULL, PROGRAM_ATTR, false, err);
	}
	for (size_t i = 0; !r && i < ARRAY_SIZE(etc_files); i++)
		r = take(p, etc_files[i], NULL, PROGRAM_ATTR, true, err);
	for (size_t i = 0; !r && i < ARRAY_SIZE(devices); i++)
		r = take(p, devices[i], NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, true, err);
	/* the outer of two nested directories first */
	if (!r && strlen(state_dir) <= strlen(run_dir))
		r = take(p, state_dir, NULL, DATA_ATTR, false, err);
	if (!r)
		r = take(p, run_dir, NULL, DATA_ATTR, false, err);
	if (!r && strlen(state_dir) > strlen(run_dir))
		r = take(p, state_dir, NULL, DATA_ATTR, false, err);
	return r ? r : take(p, extra, "/net", DATA_ATTR, false, err);
}

/* Make the directories above @path, which is below @root, and its mount point */
static int make_point(int root, const char *path, bool is_dir)
{
	char part[IO_PATH];
	const char *slash = path;
	int fd;

	while ((slash = strchr(slash + 1, '/'))) {
		io_path(part, "%.*s", (int)(slash - path - 1), path + 1);
		if (mkdirat(root, part, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	if (is_dir)
		return mkdirat(root, path + 1, 0755) < 0 && errno != EEXIST ? -errno : 0;
	fd = openat(root, path + 1, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int attach(int root, const struct piece *piece, struct lab_err *err)
{
	int r = make_point(root, piece->at, piece->is_dir);

	if (!r && move_mount(piece->tree, "", root, piece->at + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	return r ? lab_fail_errno(err, r, "cannot show %s in the lab", piece->path) : 0;
}

/* /bin -> usr/bin and its like, as the host has them */
static int copy_links(int root, struct lab_err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(program_dirs); i++) {
		char target[256];
		ssize_t n = readlink(program_dirs[i], target, sizeof(target) - 1);

		if (n < 0)
			continue;
		target[n] = '\0';
		if (symlinkat(target, root, program_dirs[i] + 1) < 0)
			return lab_fail_errno(err, -errno, "cannot make %s in the lab",
					      program_dirs[i]);
	}
	return 0;
}

static int add_tmp(int root, struct lab_err *err)
{
	autoclose int tmp = new_tmpfs(TMP_SIZE, "1777", DATA_ATTR);
	struct piece piece = { .path = "/tmp", .at = "/tmp", .is_dir = true, .tree = tmp };

	if (tmp < 0)
		return lab_fail_errno(err, tmp, "cannot make the lab's /tmp");
	return attach(root, &piece, err);
}

/* Cover a file with the empty device; the path then refuses to connect */
static int cover(int root, const char *path, struct lab_err *err)
{
	autoclose int null = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (null < 0 || move_mount(null, "", root, path + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return lab_fail_errno(err, -errno, "cannot hide %s from the lab", path);
	return 0;
}

/* Step 4: the new root, which is mounted over @point for the moment */
static int build_root(const struct pieces *p, const char *point, const char *hide,
		      struct lab_err *err)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	autoclose int root = new_tmpfs(ROOT_SIZE, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	mode_t mask;
	int r;

	if (root < 0)
		return lab_fail_errno(err, root, "cannot make the lab's root directory");
	if (move_mount(root, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return lab_fail_errno(err, -errno, "cannot mount the lab's root directory");
	/* its directories are for guests to pass, whatever the umask of a daemon */
	mask = umask(022);
	r = copy_links(root, err);
	/* before the directories of the lab: they may be below /tmp */
	if (!r)
		r = add_tmp(root, err);
	for (size_t i = 0; !r && i < p->n; i++)
		r = attach(root, &p->list[i], err);
	umask(mask);
	if (!r && hide)
		r = cover(root, hide, err);
	if (r)
		return r;
	if (mount_setattr(root, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0 || fchdir(root) < 0)
		return lab_fail_errno(err, -errno, "cannot close the lab's root directory");
	return 0;
}

static int enter_root(struct lab_err *err)
{
	/* the old root is stacked on the new one and dropped: pivot_root(2), NOTES */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return lab_fail_errno(err, -errno, "cannot pivot into the lab's root directory");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return lab_fail_errno(err, -errno, "cannot drop the host's root directory");
	return 0;
}

static int write_proc(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int write_proc(const char *path, const char *fmt, ...)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[64];
	va_list ap;

	if (fd < 0)
		return -errno;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return io_write_all(fd, text, strlen(text));
}

static int map_user(uid_t uid, gid_t gid, struct lab_err *err)
{
	int r = write_proc("/proc/self/setgroups", "deny");

	if (!r)
		r = write_proc("/proc/self/uid_map", "0 %u 1", uid);
	if (!r)
		r = write_proc("/proc/self/gid_map", "0 %u 1", gid);
	return r ? lab_fail_errno(err, r, "cannot map uid %u into the user namespace", uid) : 0;
}

static int loopback_up(void)
{
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/*
 * The lab routes for its guests, and is IPv4 only. Guests may speak IPv6 to each
 * other over a bridge: that needs no address of ours. Bridged frames must not be
 * filtered as if they were routed where the host has loaded br_netfilter.
 */
static int set_sysctls(struct lab_err *err)
{
	static const struct {
		const char *path;
		bool optional;
	} ones[] = {
		{ "/proc/sys/net/ipv4/ip_forward", false },
		{ "/proc/sys/net/ipv6/conf/all/disable_ipv6", true },
		{ "/proc/sys/net/ipv6/conf/default/disable_ipv6", true },
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(ones); i++) {
		r = write_proc(ones[i].path, "1");
		if (r < 0 && !(ones[i].optional && r == -ENOENT))
			return lab_fail_errno(err, r, "cannot set %s in the lab", ones[i].path);
	}
	(void)write_proc("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
	r = loopback_up();
	return r < 0 ? lab_fail_errno(err, r, "cannot bring up the lab's loopback") : 0;
}

int sandbox_enter(bool root, const char *state_dir, const char *run_dir, const char *hide,
		  const char *extra, struct lab_err *err)
{
	struct pieces pieces __attribute__((cleanup(pieces_done))) = { .n = 0 };
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r = 0;

	if (unshare(CLONE_NEWNET | CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER)) < 0)
		return lab_fail_errno(err, -errno,
				      root ? "cannot make namespaces"
					   : "cannot make a user namespace (are they allowed? see "
					     "user.max_user_namespaces and "
					     "kernel.apparmor_restrict_unprivileged_userns)");
	if (!root)
		r = map_user(uid, gid, err);
	if (!r && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		r = lab_fail_errno(err, -errno, "cannot make the lab's mounts private");
	if (!r)
		r = set_sysctls(err);
	if (!r)
		r = take_all(&pieces, root, state_dir, run_dir, extra, err);
	if (!r)
		r = build_root(&pieces, run_dir, hide, err);
	return r ? r : enter_root(err);
}
