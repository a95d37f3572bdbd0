// SPDX-License-Identifier: GPL-2.0-or-later
/* tree.c - what FUSE asks about names */
#define _GNU_SOURCE
#include "fs/tree.h"

#include "fs/inspect/protocol.h"
#include "fs/mirror.h"
#include "fs/upload.h"
#include "lib/util.h"

#include <string.h>
#include <sys/statvfs.h>

#define LASTING 60.0 /* names: changes are told by notifications */
#define SEALED 3600.0 /* never changes */
#define DIR_ATTR 1.0
#define PASSING 1.0 /* names that no notification covers */
#define MAX_WRITE UPLOAD_BLOCK /* bounds the loop's buffer */

/* A worker of action.h may close what it could not open */
static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *handles;

struct handle *handle_new(const struct ref *ref)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->number = node_number(&ref->node);
	h->node = ref->node;
	h->type = ref->entry ? ref->entry->type : ENTRY_DIR;
	h->fd = -EBADF;
	SCOPED_LOCK(&handles_lock);
	h->next = handles;
	handles = h;
	return h;
}

void handle_free(struct handle *h)
{
	struct handle **at = &handles;

	pthread_mutex_lock(&handles_lock);
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	pthread_mutex_unlock(&handles_lock);
	if (h->fd >= 0)
		close(h->fd);
	free(h->data);
	free(h->input);
	free(h->names);
	free(h);
}

int tree_gone(uint64_t number)
{
	SCOPED_LOCK(&handles_lock);

	for (const struct handle *h = handles; h; h = h->next)
		if (h->number == number)
			return ENODEV;
	return ESTALE;
}

static void entry_times(const struct ref *ref, struct fuse_entry_param *e)
{
	if (S_ISDIR(e->attr.st_mode)) {
		e->entry_timeout = ref->node.sub ? PASSING : LASTING;
		e->attr_timeout = DIR_ATTR;
	} else if (ref->entry && ref->entry->type == ENTRY_DISK) {
		e->entry_timeout = e->attr_timeout = SEALED;
	} else if (ref->entry ? ref->entry->type != ENTRY_LINK && !ref->entry->ask
			      : ref->node.class == CLASS_UPLOAD) {
		e->entry_timeout = LASTING;
	}
}

int tree_entry(const struct ref *ref, struct fuse_entry_param *ret)
{
	int r;

	*ret = (struct fuse_entry_param){ .ino = node_number(&ref->node) };
	r = node_stat(ref, &ret->attr);
	if (!r)
		entry_times(ref, ret);
	return r;
}

/* "labs/demo/instances" and a name below it */
char *tree_where(const struct ref *ref, const char *name)
{
	autofree char *path = node_path(ref);
	char *text;

	if (asprintf(&text, "%s%s%s", path ? path + !!*path : "", path && *path && name ? "/" : "",
		     name ? name : "") < 0)
		return NULL;
	return text;
}

void tree_refuse(fuse_req_t req, const struct ref *ref, const char *name, int code,
		 const struct lab_err *err)
{
	struct lab_err plain = LAB_ERR_INIT;
	autofree char *path = tree_where(ref, name);

	if (!err || !err->code)
		lab_fail(&plain, code, "%s", strerror(-code));
	action_refuse(path ? path : "", ref->item.kind, ref->item.id, plain.code ? &plain : err);
	fuse_reply_err(req, -code);
}

void tree_finish(struct pending *p, int result)
{
	if (p->req)
		fuse_reply_err(p->req, -result);
}

void tree_submit(fuse_req_t req, const struct ref *ref, const char *name, struct action *action,
		 void (*finish)(struct pending *p, int result), void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));
	struct pending failed = { .action = *action, .finish = finish, .arg = arg, .req = req };

	if (p) {
		*p = (struct pending){ .action = *action,
				       .finish = finish,
				       .arg = arg,
				       .where = tree_where(ref, name),
				       .kind = ref->item.kind,
				       .id = ref->item.id };
		*action = (struct action){ 0 };
	}
	if (p && p->where) {
		action_submit(req, p);
		return;
	}
	if (p)
		action_done(&p->action);
	free(p);
	finish(&failed, -ENOMEM);
}

static void tree_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_SPLICE_WRITE);
	/* Pages of what is sealed stay good; the kernel need not ask each time */
	conn->want &= ~(unsigned int)FUSE_CAP_AUTO_INVAL_DATA;
	/* What a directory holds is read with its names anyway: no name need be looked up again */
	conn->want &= ~(unsigned int)FUSE_CAP_READDIRPLUS_AUTO;
	conn->max_write = MAX_WRITE;
	conn->max_read = INSPECT_DATA; /* and as a mount option: libfuse wants both to say so */
}

/* Resolve, or answer that it is gone */
static bool resolve(fuse_req_t req, fuse_ino_t ino, struct ref *ret)
{
	if (!node_resolve(ino, ret))
		return true;
	fuse_reply_err(req, tree_gone(ino));
	return false;
}

/* The ref of a name in a resolved directory: 0 or negative errno */
static int child(const struct ref *dir, const char *name, struct ref *ret)
{
	struct node node;
	int r = node_lookup(dir, name, &node);

	return r < 0 ? r : node_resolve(node_number(&node), ret);
}

static void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	autoref struct ref dir = { 0 }, ref = { 0 };
	struct fuse_entry_param entry;
	int r;

	if (!resolve(req, parent, &dir))
		return;
	r = child(&dir, name, &ref);
	if (!r)
		r = tree_entry(&ref, &entry);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_entry(req, &entry);
}

static void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	struct fuse_entry_param entry;

	(void)fi;
	if (!resolve(req, ino, &ref))
		return;
	if (tree_entry(&ref, &entry) < 0)
		fuse_reply_err(req, tree_gone(ino));
	else
		fuse_reply_attr(req, &entry.attr, entry.attr_timeout);
}

/* Who owns a file and what may be done with it is not for the user to say */
static int check_setattr(const struct ref *ref, const struct stat *attr, int to_set)
{
	struct stat now;
	int r = node_stat(ref, &now);

	if (r < 0 || ref->node.class == CLASS_UPLOAD)
		return r;
	if ((to_set & FUSE_SET_ATTR_MODE && (attr->st_mode ^ now.st_mode) & 07777) ||
	    (to_set & FUSE_SET_ATTR_UID && attr->st_uid != now.st_uid) ||
	    (to_set & FUSE_SET_ATTR_GID && attr->st_gid != now.st_gid))
		return -EPERM;
	if (!(to_set & FUSE_SET_ATTR_SIZE))
		return 0;
	if (!ref->entry)
		return -EISDIR;
	if (ref->entry->type == ENTRY_DISK || ref->entry->type == ENTRY_LOG ||
	    ref->entry->type == ENTRY_CAPTURE || ref->entry->type == ENTRY_OUTPUT)
		return -EROFS;
	return ref->entry->mode & 0200 ? 0 : -EACCES;
}

static void tree_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			 struct fuse_file_info *fi)
{
	autoref struct ref ref = { 0 };
	int r;

	if (!resolve(req, ino, &ref))
		return;
	r = check_setattr(&ref, attr, to_set);
	if (!r && to_set & FUSE_SET_ATTR_SIZE && ref.node.class == CLASS_UPLOAD)
		r = upload_truncate(ref.node.id, attr->st_size);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		tree_getattr(req, ino, fi);
}

static void tree_readlink(fuse_req_t req, fuse_ino_t ino)
{
	autoref struct ref ref = { 0 };
	char path[IO_PATH];
	int r;

	if (!resolve(req, ino, &ref))
		return;
	if (ref.entry)
		r = ref.entry->type == ENTRY_LINK ? ref.entry->path(&ref, path) : -EINVAL;
	else
		r = ref.class->path ? ref.class->path(&ref, path) : -EINVAL;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_readlink(req, path);
}

static int check_new_name(const char *name, struct lab_err *err)
{
	if (name_valid(name))
		return 0;
	return lab_fail(err, strlen(name) > NAME_MAX_LEN ? -ENAMETOOLONG : -EINVAL,
			"'%.100s' is no valid name (%s)", name, NAME_RULE);
}

/* What mkdir waits for: a name in a directory */
struct making {
	uint64_t parent;
	char name[NAME_MAX_LEN + 1];
};

static int made(const struct making *m, struct fuse_entry_param *ret)
{
	autoref struct ref dir = { 0 }, ref = { 0 };
	int r = node_resolve(m->parent, &dir);

	if (!r)
		r = child(&dir, m->name, &ref);
	return r < 0 ? r : tree_entry(&ref, ret);
}

static void finish_mkdir(struct pending *p, int result)
{
	autofree struct making *m = p->arg;
	struct fuse_entry_param entry;

	if (!result)
		result = made(m, &entry);
	if (!p->req)
		return;
	if (result < 0)
		fuse_reply_err(p->req, -result);
	else
		fuse_reply_entry(p->req, &entry);
}

static int prepare_mkdir(const struct ref *dir, const char *name, struct action *ret,
			 struct lab_err *err)
{
	const struct members *members = dir->class->members;
	struct node node;
	int r;

	if (!members || !members->make)
		return lab_fail(err, -EPERM, "nothing is made by mkdir here");
	r = check_new_name(name, err);
	if (r < 0)
		return r;
	if (!node_lookup(dir, name, &node))
		return lab_fail(err, -EEXIST, "%s exists", name);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	return members->make(dir, name, ret, err);
}

static void tree_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct lab_err err = LAB_ERR_INIT;
	autoaction struct action action = { 0 };
	autoref struct ref dir = { 0 };
	struct making *m;
	int r;

	(void)mode;
	if (!resolve(req, parent, &dir))
		return;
	r = prepare_mkdir(&dir, name, &action, &err);
	m = r ? NULL : calloc(1, sizeof(*m));
	if (!m) {
		tree_refuse(req, &dir, name, r ? r : -ENOMEM, &err);
		return;
	}
	m->parent = parent;
	snprintf(m->name, sizeof(m->name), "%s", name);
	tree_submit(req, &dir, name, &action, finish_mkdir, m);
}

/* Whether what a name is part of could be destroyed now */
static int removable(const struct ref *ref, struct lab_err *err)
{
	if (!ref->class->removable)
		return lab_fail(err, -EPERM, "it belongs to the tree");
	return ref->class->removable(ref, err);
}

static void tree_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	autoref struct ref dir = { 0 }, ref = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r;

	if (!resolve(req, parent, &dir))
		return;
	r = child(&dir, name, &ref);
	if (!r && ref.node.class == CLASS_UPLOAD)
		upload_drop(ref.node.id);
	else if (!r)
		r = removable(&ref, &err);
	if (r == -ENOENT || !r)
		fuse_reply_err(req, -r);
	else
		tree_refuse(req, &dir, name, r, &err);
}

/* What rmdir would destroy, and not only pass over */
struct own {
	const struct members *members;
	bool found;
};

static bool find_own(void *arg, const char *name, const struct node *node)
{
	autoref struct ref ref = { 0 };
	struct own *own = arg;

	(void)name;
	own->found = !own->members->elsewhere || node_resolve(node_number(node), &ref) < 0 ||
		     !own->members->elsewhere(&ref);
	return !own->found;
}

/* A directory that comes and goes with its object, or a part of it */
static int check_fixed_rmdir(const struct ref *ref, struct lab_err *err)
{
	struct own own = { .members = ref->class->members };
	int r;

	if (own.members && own.members->destroy) {
		r = own.members->list(ref, find_own, &own);
		if (r < 0)
			return r;
		if (own.found)
			return lab_fail(err, -EBUSY, "there is something in it");
	}
	return removable(ref, err);
}

static void tree_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	autoaction struct action action = { 0 };
	autoref struct ref dir = { 0 }, ref = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	const struct members *members;
	int r;

	if (!resolve(req, parent, &dir))
		return;
	r = child(&dir, name, &ref);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	members = dir.class->members;
	if (!members || !members->destroy || (members->elsewhere && members->elsewhere(&ref))) {
		r = check_fixed_rmdir(&ref, &err);
		if (r < 0)
			tree_refuse(req, &ref, NULL, r, &err);
		else
			fuse_reply_err(req, 0);
		return;
	}
	/* Not more than unlink in it allows: find -delete goes on with it after that was refused */
	r = removable(&ref, &err);
	if (!r)
		r = members->destroy(&ref, &action, &err);
	if (r < 0)
		tree_refuse(req, &ref, NULL, r, &err);
	else
		tree_submit(req, &ref, NULL, &action, tree_finish, NULL);
}

static void finish_upload_rename(struct pending *p, int result)
{
	upload_asked((uint32_t)(uintptr_t)p->arg, result, p->action.job);
	tree_finish(p, result);
}

static void rename_upload(fuse_req_t req, const struct ref *dir, const struct ref *ref,
			  const char *to, bool replace)
{
	autoaction struct action action = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r = upload_rename(ref->node.id, to, replace, &action, &err);

	if (r < 0)
		tree_refuse(req, dir, to, r, &err);
	else if (r)
		fuse_reply_err(req, 0);
	else
		tree_submit(req, dir, to, &action, finish_upload_rename,
			    (void *)(uintptr_t)ref->node.id);
}

static int prepare_rename(const struct ref *dir, const struct ref *ref, const char *to,
			  struct action *ret, struct lab_err *err)
{
	const struct members *members = dir->class->members;
	struct node node;
	int r;

	if (ref->entry || !members || !members->rename)
		return lab_fail(err, -EPERM, "it has its name from the tree");
	r = check_new_name(to, err);
	if (r < 0)
		return r;
	if (!node_lookup(dir, to, &node))
		return lab_fail(err, -EEXIST, "%s exists", to);
	return members->rename(ref, to, ret, err);
}

static void tree_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
			const char *newname, unsigned int flags)
{
	autoaction struct action action = { 0 };
	autoref struct ref dir = { 0 }, ref = { 0 };
	struct lab_err err = LAB_ERR_INIT;
	int r;

	if (!resolve(req, parent, &dir))
		return;
	r = child(&dir, name, &ref);
	if (!r && flags & ~(unsigned int)RENAME_NOREPLACE)
		r = lab_fail(&err, -EINVAL, "two names cannot be exchanged");
	else if (!r && parent != newparent)
		r = lab_fail(&err, -EPERM, "it cannot go to another directory");
	if (!r && ref.node.class == CLASS_UPLOAD) {
		rename_upload(req, &dir, &ref, newname, !(flags & RENAME_NOREPLACE));
		return;
	}
	if (!r)
		r = prepare_rename(&dir, &ref, newname, &action, &err);
	if (r < 0)
		tree_refuse(req, ref.class ? &ref : &dir, NULL, r, &err);
	else
		tree_submit(req, &ref, NULL, &action, tree_finish, NULL);
}

static void tree_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)dev;
	fuse_reply_err(req, EPERM);
}

static void tree_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void tree_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino;
	(void)newparent;
	(void)newname;
	fuse_reply_err(req, EPERM);
}

static void tree_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	autoref struct ref ref = { 0 };
	mode_t mode;

	if (!resolve(req, ino, &ref))
		return;
	mode = node_mode(&ref.node);
	fuse_reply_err(req, (mode >> 6 & (mode_t)mask) == (mode_t)mask ? 0 : EACCES);
}

static void tree_statfs(fuse_req_t req, fuse_ino_t ino)
{
	char dir[256];
	struct statvfs st;

	(void)ino;
	if (statvfs(mirror_state_dir(dir), &st) < 0)
		memset(&st, 0, sizeof(st));
	st.f_namemax = NAME_MAX;
	fuse_reply_statfs(req, &st);
}

/* Nothing is remembered of an inode number, so there is nothing to forget */
static void tree_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)ino;
	(void)nlookup;
	fuse_reply_none(req);
}

const struct fuse_lowlevel_ops tree_ops = {
	.init = tree_init,
	.lookup = tree_lookup,
	.forget = tree_forget,
	.getattr = tree_getattr,
	.setattr = tree_setattr,
	.readlink = tree_readlink,
	.mknod = tree_mknod,
	.mkdir = tree_mkdir,
	.unlink = tree_unlink,
	.rmdir = tree_rmdir,
	.symlink = tree_symlink,
	.rename = tree_rename,
	.link = tree_link,
	.access = tree_access,
	.statfs = tree_statfs,
	.opendir = dir_open,
	.readdir = dir_read,
	.readdirplus = dir_read_plus,
	.releasedir = dir_release,
	.open = file_open,
	.create = file_create,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.release = file_release,
	.fsync = file_fsync,
	.lseek = file_seek,
	.fallocate = file_fallocate,
	.copy_file_range = file_copy,
	.poll = file_poll,
};
