// SPDX-License-Identifier: GPL-2.0-or-later
/* guest_name.c - what FUSE asks about names in guests */
#define _GNU_SOURCE
#include "fs/guest.h"

#include "fs/guest_child.h"
#include "lib/num.h"
#include "lib/util.h"

#include <string.h>
#include <sys/stat.h>

#define SEALED 3600.0 /* never changes */
#define LASTING 60.0 /* what changes is told by guest_changed() */

static void set_times(const struct guest_disk *disk, struct fuse_entry_param *e)
{
	bool sealed = guest_sealed(disk);

	e->entry_timeout = sealed ? SEALED : LASTING;
	e->attr_timeout = sealed ? SEALED : 0;
}

static bool valid_mode(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(mode & ~(uint32_t)(S_IFMT | 07777));
	default:
		return false;
	}
}

/* Directories and links carry their depth: fs/guest.h */
static int depth_of(const struct guest_node *in, bool self, uint32_t mode, uint32_t *ret)
{
	*ret = S_ISDIR(mode) || S_ISLNK(mode) ? in->depth : 0;
	if (self || !S_ISDIR(mode))
		return 0;
	return ++*ret > INSPECT_MAX_DEPTH ? -ELOOP : 0;
}

static struct timespec time_of(int64_t seconds, uint32_t ns)
{
	ns = MIN(ns, 999999999U);
	return (struct timespec){ .tv_sec = seconds, .tv_nsec = ns };
}

int guest_entry(const struct guest_node *in, bool self, const struct inspect_attr *attr,
		struct fuse_entry_param *ret)
{
	uint32_t depth;
	int r;

	if (!valid_mode(attr->mode) || attr->size > INT64_MAX || attr->blocks > INT64_MAX)
		return -EUCLEAN;
	r = depth_of(in, self, attr->mode, &depth);
	if (r < 0)
		return r;
	*ret = (struct fuse_entry_param){ .ino = guest_number(in->row, depth, attr->ino) };
	ret->attr = (struct stat){ .st_ino = ret->ino,
				   .st_mode = attr->mode,
				   .st_nlink = attr->nlink,
				   .st_uid = attr->uid,
				   .st_gid = attr->gid,
				   .st_rdev = attr->rdev,
				   .st_size = (off_t)attr->size,
				   .st_blocks = (blkcnt_t)attr->blocks,
				   .st_blksize = 4096,
				   .st_atim = time_of(attr->atime, attr->atime_ns),
				   .st_mtim = time_of(attr->mtime, attr->mtime_ns),
				   .st_ctim = time_of(attr->ctime, attr->ctime_ns) };
	set_times(in->disk, ret);
	if (attr->run.length && attr->run.length == attr->size)
		guest_run_known(in->disk, ret->ino, &attr->run);
	return 0;
}

/* ---- in a disk's directory ----------------------------------------------------- */

/* What is ours: the directory, table, raw, and a partition that cannot be read */
static void own_entry(const struct guest_node *n, struct fuse_entry_param *ret)
{
	double time = model_mtime(n->disk->kind, n->disk->id, NULL);

	*ret = (struct fuse_entry_param){ .ino = guest_number(n->row, 0, n->ino) };
	ret->attr = (struct stat){ .st_ino = ret->ino,
				   .st_mode = S_IFREG | 0444,
				   .st_nlink = 1,
				   .st_uid = geteuid(),
				   .st_gid = getegid(),
				   .st_blksize = 4096 };
	ret->attr.st_atim.tv_sec = ret->attr.st_mtim.tv_sec = ret->attr.st_ctim.tv_sec =
		(time_t)time;
	set_times(n->disk, ret);
	if (n->part != GUEST_DISK || n->ino == GUEST_DIR) {
		ret->attr.st_mode = S_IFDIR | 0555;
	} else if (n->ino == GUEST_TABLE) {
		ret->attr.st_size = (off_t)n->disk->table_len;
		ret->attr.st_blocks = 1;
	} else {
		ret->attr.st_size = (off_t)n->disk->info.size;
		/* Never as many as it could have: cp would not look for holes */
		ret->attr.st_blocks = (blkcnt_t)MIN(n->disk->info.blocks, n->disk->info.size / 512);
	}
}

static void reply_entry(const struct guest_call *c, const struct fuse_entry_param *e)
{
	if (c->q.op == INSPECT_LOOKUP || c->q.name_len)
		fuse_reply_entry(c->req, e);
	else
		fuse_reply_attr(c->req, &e->attr, e->attr_timeout);
}

/* The table, or the disk's size, is known now */
static void own_known(struct guest_call *c, const struct guest_reply *r)
{
	struct guest_disk *disk = c->node.disk;
	struct fuse_entry_param e;

	if (!r->error && c->q.op == INSPECT_TABLE && !disk->table) {
		disk->table = malloc(r->len + 1);
		if (disk->table)
			memcpy(disk->table, r->data, r->len);
		disk->table_len = disk->table ? r->len : 0;
	}
	if (r->error) {
		guest_refuse(c->req, &c->node, r->error, r->why);
	} else {
		own_entry(&c->node, &e);
		reply_entry(c, &e);
	}
	free(c);
}

/* @name: looked up, and not just asked for its attributes */
static void ask_own(fuse_req_t req, const struct guest_node *n, bool name)
{
	bool table = n->ino == GUEST_TABLE;
	struct guest_call *c = guest_call_new(sizeof(*c), req, n,
					      table ? INSPECT_TABLE : INSPECT_DISK, own_known);
	const struct guest_reply known = { 0 };

	if (!c)
		return;
	c->q.name_len = name;
	if (n->ino == GUEST_DIR || (table ? n->disk->table != NULL : n->disk->known)) {
		c->q.op = INSPECT_DISK;
		own_known(c, &known);
	} else {
		guest_ask(c);
	}
}

/* ---- in a filesystem ----------------------------------------------------------- */

static void attr_known(struct guest_call *c, const struct guest_reply *r)
{
	bool self = c->q.op == INSPECT_ATTR;
	struct fuse_entry_param e = { 0 };
	int error = r->error;
	const char *why = r->why;

	if (!error && r->len != sizeof(struct inspect_attr)) {
		guest_lied(c->node.disk);
		error = -EIO;
	}
	if (!error)
		error = guest_entry(&c->node, self, r->data, &e);
	/* A partition is there, whatever is in it: opening it tells */
	if (self && c->q.ino == INSPECT_ROOT && !c->q.depth &&
	    (error == -EOPNOTSUPP || error == -EUCLEAN)) {
		error = 0;
		own_entry(&c->node, &e);
	}
	if (error)
		guest_refuse(c->req, &c->node, error, why);
	else
		reply_entry(c, &e);
	free(c);
}

static void look_up(fuse_req_t req, const struct guest_node *dir, const char *name)
{
	struct guest_call *c;

	if (strlen(name) > INSPECT_NAME) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	c = guest_call_new(sizeof(*c), req, dir, INSPECT_LOOKUP, attr_known);
	if (!c)
		return;
	c->q.name_len = (uint32_t)strlen(name);
	memcpy(c->q.name, name, c->q.name_len);
	guest_ask(c);
}

/* A partition's directory */
static void look_up_part(fuse_req_t req, const struct guest_node *dir, uint32_t part)
{
	struct guest_node n = { .disk = dir->disk, .part = part, .ino = INSPECT_ROOT };
	struct guest_call *c;
	int row = guest_row(dir->disk, part);

	if (row < 0) {
		fuse_reply_err(req, -row);
		return;
	}
	n.row = (uint32_t)row;
	c = guest_call_new(sizeof(*c), req, &n, INSPECT_ATTR, attr_known);
	if (!c)
		return;
	c->q.name_len = 1;
	guest_ask(c);
}

/* A name in the directory of a disk that is one filesystem */
static void look_up_alias(fuse_req_t req, const struct guest_node *dir, const char *name)
{
	struct guest_node n = { .disk = dir->disk, .part = GUEST_ALIAS, .ino = INSPECT_ROOT };
	int row = guest_row(dir->disk, GUEST_ALIAS);

	if (row < 0) {
		fuse_reply_err(req, -row);
		return;
	}
	n.row = (uint32_t)row;
	look_up(req, &n, name);
}

static bool has_part(const struct guest_disk *disk, uint32_t part)
{
	for (uint32_t i = 0; i < disk->info.nparts; i++)
		if (disk->info.parts[i] == part)
			return true;
	return false;
}

static void look_up_in_disk(fuse_req_t req, const struct guest_node *dir, const char *name)
{
	struct guest_node n = *dir;
	uint64_t part;

	n.ino = !strcmp(name, "table") ? GUEST_TABLE : !strcmp(name, "raw") ? GUEST_RAW : 0;
	if (n.ino)
		ask_own(req, &n, true);
	else if (name[0] == 'p' && !num_u64(name + 1, UINT16_MAX, &part) &&
		 has_part(dir->disk, (uint32_t)part))
		look_up_part(req, dir, (uint32_t)part);
	else if (dir->disk->info.nparts == 1 && has_part(dir->disk, 0))
		look_up_alias(req, dir, name);
	else
		fuse_reply_err(req, ENOENT);
}

/* A name that was asked for before it was known what the disk is */
struct first_lookup {
	struct guest_call call;
	char name[INSPECT_NAME + 1];
};

static void disk_known(struct guest_call *c, const struct guest_reply *r)
{
	struct first_lookup *first = (struct first_lookup *)c;

	if (r->error)
		guest_refuse(c->req, &c->node, r->error, r->why);
	else
		look_up_in_disk(c->req, &c->node, first->name);
	free(first);
}

static void guest_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct first_lookup *first;
	struct guest_node dir;

	if (guest_ready(req, parent, &dir) < 0)
		return;
	if (dir.part != GUEST_DISK) {
		look_up(req, &dir, name);
	} else if (dir.disk->known) {
		look_up_in_disk(req, &dir, name);
	} else if (strlen(name) > INSPECT_NAME) {
		fuse_reply_err(req, ENAMETOOLONG);
	} else {
		first = guest_call_new(sizeof(*first), req, &dir, INSPECT_DISK, disk_known);
		if (!first)
			return;
		memcpy(first->name, name, strlen(name) + 1);
		guest_ask(&first->call);
	}
}

static void guest_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct lab_err err = LAB_ERR_INIT;
	struct guest_node n;
	struct guest_call *c;

	(void)fi;
	/* The directory of a disk that cannot be read now is there all the same */
	if (guest_parse(ino, &n) && n.part == GUEST_DISK && n.ino == GUEST_DIR &&
	    guest_disk_check(n.disk, &err) != -ENODEV) {
		ask_own(req, &n, false);
		return;
	}
	if (guest_ready(req, ino, &n) < 0)
		return;
	if (n.part == GUEST_DISK) {
		ask_own(req, &n, false);
		return;
	}
	c = guest_call_new(sizeof(*c), req, &n, INSPECT_ATTR, attr_known);
	if (c)
		guest_ask(c);
}

static void link_known(struct guest_call *c, const struct guest_reply *r)
{
	char target[INSPECT_TARGET];

	if (r->error) {
		guest_refuse(c->req, &c->node, r->error, r->why);
	} else if (!r->len || r->len >= sizeof(target) || memchr(r->data, '\0', r->len)) {
		guest_lied(c->node.disk);
		fuse_reply_err(c->req, EIO);
	} else {
		memcpy(target, r->data, r->len);
		target[r->len] = '\0';
		fuse_reply_readlink(c->req, target);
	}
	free(c);
}

static void guest_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct guest_call *c;
	struct guest_node n;

	if (guest_ready(req, ino, &n) < 0)
		return;
	if (n.part == GUEST_DISK) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	c = guest_call_new(sizeof(*c), req, &n, INSPECT_LINK, link_known);
	if (c)
		guest_ask(c);
}

/* Who may see the tree may see it all: modes are the guest's, and for its users */
static void guest_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	(void)ino;
	fuse_reply_err(req, mask & W_OK ? EROFS : 0);
}

static void statfs_known(struct guest_call *c, const struct guest_reply *r)
{
	const struct inspect_statfs *s = r->data;
	struct statvfs st = { .f_namemax = NAME_MAX, .f_flag = ST_RDONLY };

	if (r->error || r->len != sizeof(*s)) {
		guest_refuse(c->req, &c->node, r->error ? r->error : -EIO, r->why);
	} else {
		st.f_bsize = st.f_frsize = s->bsize;
		st.f_blocks = s->blocks;
		st.f_bfree = s->free;
		st.f_bavail = s->avail;
		st.f_files = s->files;
		st.f_ffree = s->ffree;
		fuse_reply_statfs(c->req, &st);
	}
	free(c);
}

static void guest_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_namemax = NAME_MAX, .f_flag = ST_RDONLY, .f_bsize = 4096, .f_frsize = 4096
	};
	struct guest_call *c;
	struct guest_node n;

	if (guest_ready(req, ino, &n) < 0)
		return;
	if (n.part == GUEST_DISK) {
		st.f_blocks = n.disk->info.size / 4096;
		fuse_reply_statfs(req, &st);
		return;
	}
	c = guest_call_new(sizeof(*c), req, &n, INSPECT_STATFS, statfs_known);
	if (c)
		guest_ask(c);
}

/* ---- what is not done here ------------------------------------------------------- */

static void guest_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			  struct fuse_file_info *fi)
{
	(void)ino;
	(void)attr;
	(void)to_set;
	(void)fi;
	fuse_reply_err(req, EROFS);
}

static void guest_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)dev;
	fuse_reply_err(req, EROFS);
}

static void guest_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	guest_mknod(req, parent, name, mode, 0);
}

static void guest_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	guest_mknod(req, parent, name, 0, 0);
}

static void guest_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	guest_mknod(req, parent, name, 0, 0);
}

static void guest_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			 const char *newname, unsigned int flags)
{
	(void)newparent;
	(void)newname;
	(void)flags;
	guest_mknod(req, parent, name, 0, 0);
}

static void guest_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	guest_mknod(req, newparent, newname, 0, 0);
}

static void guest_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 struct fuse_file_info *fi)
{
	(void)fi;
	guest_mknod(req, parent, name, mode, 0);
}

/* ---- what is done already ------------------------------------------------------- */

static void guest_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void guest_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	guest_flush(req, ino, fi);
}

static void guest_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		       struct fuse_pollhandle *ph)
{
	(void)ino;
	(void)fi;
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, POLLIN | POLLOUT);
}

const struct fuse_lowlevel_ops guest_ops = {
	.lookup = guest_lookup,
	.getattr = guest_getattr,
	.setattr = guest_setattr,
	.readlink = guest_readlink,
	.mknod = guest_mknod,
	.mkdir = guest_mkdir,
	.unlink = guest_unlink,
	.rmdir = guest_unlink,
	.symlink = guest_symlink,
	.rename = guest_rename,
	.link = guest_link,
	.access = guest_access,
	.statfs = guest_statfs,
	.opendir = guest_dir_open,
	.readdir = guest_dir_read,
	.readdirplus = guest_dir_read_plus,
	.releasedir = guest_dir_release,
	.open = guest_file_open,
	.create = guest_create,
	.read = guest_file_read,
	.release = guest_file_release,
	.lseek = guest_file_seek,
	.flush = guest_flush,
	.fsync = guest_fsync,
	.poll = guest_poll,
};
