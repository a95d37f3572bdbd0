/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attr.h - what is in a directory of the tree: tables of names
 *
 * DOC: Theory of Operation
 *
 * Each kind of directory is a struct class: a static table of its fixed names
 * (attributes, links, directories), and for collections how the names that
 * people give are listed, made, renamed and destroyed. Everything else in labfs
 * works from these tables; a new attribute is one row.
 *
 * What a row does, it does with a struct ref: the object's JSON as it was when
 * the name was looked up. Reading needs no lock and no word with labd. Writing
 * says what to ask of labd (struct action) and leaves the asking to a worker.
 */
#ifndef FS_ATTR_H
#define FS_ATTR_H

#include "fs/action.h"
#include "fs/model.h"
#include "lib/client.h"
#include "lib/err.h"
#include "lib/io.h"

#include <stdio.h>
#include <sys/types.h>

/* Part of inode numbers: new ones go to the end */
enum class_id {
	CLASS_ROOT,
	CLASS_IMAGES,
	CLASS_IMAGE,
	CLASS_UPLOAD,
	CLASS_LABS,
	CLASS_LAB,
	CLASS_INSTANCES,
	CLASS_INSTANCE,
	CLASS_DISKS,
	CLASS_DISK,
	CLASS_NICS,
	CLASS_NIC,
	CLASS_MEMBER_SNAPSHOTS,
	CLASS_MEMBER_SNAPSHOT,
	CLASS_SNAPSHOTS,
	CLASS_SNAPSHOT,
	CLASS_NETWORKS,
	CLASS_NETWORK,
	CLASS_PORTS,
	CLASS_PORT,
	CLASS_SERVICES,
	CLASS_SERVICE,
	CLASS_SNAPSHOT_MEMBERS,
	CLASS_SNAPSHOT_MEMBER,
	CLASS_INSPECT,
	CLASS_INSPECT_IMAGES,
	CLASS_INSPECT_LABS,
	CLASS_INSPECT_LAB,
	CLASS_INSPECT_INSTANCES,
	CLASS_INSPECT_INSTANCE,
	CLASS_INSPECT_SNAPSHOTS,
	CLASS_INSPECT_SNAPSHOT,
	CLASS_INSPECT_MEMBERS,
	CLASS_INSPECT_MEMBER,
	CLASS_GUEST, /* a disk's directory: fs/guest.h has its numbers */
	CLASS_COUNT,
};

/**
 * struct node - the parts of an inode number
 * @class:	what the directory is (or the member that is no directory)
 * @attr:	0: itself; else 1 + index into the class's table
 * @id:		the store's id of the object it belongs to; 0 without
 * @sub:	which part of that object (a disk, a nic); 0 without
 */
struct node {
	enum class_id class;
	uint8_t attr;
	uint32_t id, sub;
};

/**
 * struct ref - a name that was looked up, with all that is known about it
 * @node:	where it is
 * @class:	of the directory
 * @entry:	the attribute, link, ...; NULL: the directory itself
 * @item:	the object (for a disk, nic: the instance it is part of)
 * @lab:	the lab it is in, or is
 * @owner:	for a snapshot seen from one of its instances: that instance
 * @part:	JSON of the disk, nic or port, borrowed from @item
 */
struct ref {
	struct node node;
	const struct class *class;
	const struct entry *entry;
	struct item item, lab, owner;
	json_t *part;
};

enum entry_type {
	ENTRY_TEXT, /* a value, captured when it is opened */
	ENTRY_BULK, /* the same, but what is written takes effect on close */
	ENTRY_LOG, /* a file of labd's that grows */
	ENTRY_EVENTS,
	ENTRY_DISK, /* a sealed file of labd's */
	ENTRY_SHOT, /* bytes that labd makes when it is opened */
	ENTRY_CAPTURE, /* a file that grows while it is open */
	ENTRY_OUTPUT, /* the same, of a program in a guest */
	ENTRY_LINK,
	ENTRY_DIR,
};

#define ENTRY_MAX_COMMAND 4096
#define ENTRY_MAX_BULK (64 << 10)

/**
 * struct entry - a fixed name in a directory
 * @name:	of it
 * @type:	what it is
 * @mode:	permission bits
 * @key:	of the JSON it shows; its time is when that changed
 * @show:	write the value; a newline at the end is added. 0 or errno
 * @store:	what to ask of labd for a written value (stripped, not NULL).
 *		1: nothing to do, 0, or a refusal
 * @path:	of a link's target, or of the file behind; -ENOENT: there is
 *		no such name now. NULL for ENTRY_CAPTURE and ENTRY_OUTPUT: live.h has theirs
 * @ask:	what to ask of labd for each opening, for ENTRY_SHOT, ENTRY_CAPTURE and
 *		ENTRY_OUTPUT: a path of its API
 * @late:	how many bytes a value will have that labd has to find out yet, which who opens
 *		it waits for; 0: it is here, or none comes. NULL: always here
 * @dir:	class of a directory
 */
struct entry {
	const char *name;
	enum entry_type type;
	mode_t mode;
	const char *key;
	int (*show)(const struct ref *ref, FILE *out);
	int (*store)(const struct ref *ref, char *value, struct action *ret, struct lab_err *err);
	int (*path)(const struct ref *ref, char path[IO_PATH]);
	const char *(*ask)(const struct ref *ref, char path[CLIENT_PATH]);
	off_t (*late)(const struct ref *ref);
	enum class_id dir;
};

/** typedef member_fn - Takes one member of a collection; false: enough */
typedef bool (*member_fn)(void *arg, const char *name, const struct node *node);

/**
 * struct members - the names that people give in a collection
 * @list:	calls @fn for each; 0 or negative errno
 * @find:	the one with a name: 0 or -ENOENT; NULL: by listing
 * @make:	mkdir; NULL: -EPERM
 * @rename:	to a valid name; NULL: -EPERM
 * @destroy:	rmdir; NULL: nothing is destroyed, see struct class removable
 * @elsewhere:	whether a member is only seen from here: rmdir treats it as an attribute is
 *		treated by unlink; NULL: none is
 */
struct members {
	int (*list)(const struct ref *dir, member_fn fn, void *arg);
	int (*find)(const struct ref *dir, const char *name, struct node *ret);
	int (*make)(const struct ref *dir, const char *name, struct action *ret,
		    struct lab_err *err);
	int (*rename)(const struct ref *member, const char *to, struct action *ret,
		      struct lab_err *err);
	int (*destroy)(const struct ref *member, struct action *ret, struct lab_err *err);
	bool (*elsewhere)(const struct ref *member);
};

/**
 * struct class - a kind of directory, or of member that is none
 * @mode:	type and permission bits
 * @up:		class of the directory above
 * @kind:	of the object that a node's id names
 * @entries:	fixed names
 * @members:	NULL if this is no collection
 * @part:	find @part or @owner by node.sub; false: gone
 * @path:	target of a member that is a link
 * @removable:	whether the object this is part of could be destroyed now:
 *		then attributes can be unlinked, without effect, so that
 *		rm -r gets on; NULL: -EPERM
 */
struct class
{
	mode_t mode;
	enum class_id up;
	enum kind kind;
	const struct entry *entries;
	size_t nentries;
	const struct members *members;
	bool (*part)(struct ref *ref);
	int (*path)(const struct ref *ref, char path[IO_PATH]);
	int (*removable)(const struct ref *ref, struct lab_err *err);
};

extern const struct class *const classes[CLASS_COUNT];

extern const struct class class_root, class_images, class_image, class_upload;
extern const struct class class_labs, class_lab;
extern const struct class class_instances, class_instance;
extern const struct class class_disks, class_disk, class_nics, class_nic;
extern const struct class class_member_snapshots, class_member_snapshot;
extern const struct class class_snapshots, class_snapshot;
extern const struct class class_networks, class_network, class_ports, class_port;
extern const struct class class_services, class_service;
extern const struct class class_snapshot_members, class_snapshot_member;
extern const struct class class_inspect, class_inspect_images, class_inspect_labs;
extern const struct class class_inspect_lab, class_inspect_instances, class_inspect_instance;
extern const struct class class_inspect_snapshots, class_inspect_snapshot;
extern const struct class class_inspect_members, class_inspect_member, class_guest;

/* Values shown from ref->entry->key of the object, or of its part if it has one */
int show_string(const struct ref *ref, FILE *out);
int show_int(const struct ref *ref, FILE *out); /* 0 is no value */
int show_count(const struct ref *ref, FILE *out); /* 0 is 0 */
int show_bool(const struct ref *ref, FILE *out);
int show_list(const struct ref *ref, FILE *out);
int show_time(const struct ref *ref, FILE *out);
int show_error(const struct ref *ref, FILE *out);

/** attr_string() - A key of the object (or part) as a string, never NULL */
const char *attr_string(const struct ref *ref, const char *key);

/** attr_patch() - PATCH the object with one key; takes @value */
int attr_patch(const struct ref *ref, const char *key, json_t *value, struct action *ret);

int store_protect(const struct ref *ref, char *value, struct action *ret, struct lab_err *err);

/**
 * struct verb - a word that ctl or state takes
 * @word:	what is written; a "restore NAME" has an argument
 * @arg:	whether an argument must follow
 * @act:	fills in @ret; @arg is "" without
 */
struct verb {
	const char *word;
	bool arg;
	int (*act)(const struct ref *ref, const char *word, const char *arg, struct action *ret,
		   struct lab_err *err);
};

/** attr_verb() - Carry out the verb that @value begins with; -EINVAL names all */
int attr_verb(const struct verb *verbs, size_t n, const struct ref *ref, char *value,
	      struct action *ret, struct lab_err *err);

/**
 * attr_net_stat() - Counters of a link in a lab's namespace, as KEY VALUE lines
 * @pid:	of a process in there: the keeper, a guest's QEMU; 0: nothing
 * @guest:	as the guest behind the tap counts
 */
int attr_net_stat(json_int_t pid, const char *ifname, bool guest, FILE *out);

/** attr_members() - List a kind of object of a lab (0: all labs' or images) */
int attr_members(enum kind kind, uint32_t lab, enum class_id class, member_fn fn, void *arg);

/** attr_member() - Find one of them */
int attr_member(enum kind kind, uint32_t lab, enum class_id class, const char *name,
		struct node *ret);

/**
 * snapshot_member_part() - For a node that names an instance, and a snapshot by its sub
 * @ref:	gets the snapshot as its item, and the instance as its owner
 */
bool snapshot_member_part(struct ref *ref);

/** snapshot_members() - List the instances of a snapshot that are still there */
int snapshot_members(const struct ref *dir, enum class_id class, member_fn fn, void *arg);

/** attr_path() - The API's path of an object, with its lab's name */
const char *attr_path(const struct item *item, const struct item *lab, char path[CLIENT_PATH]);

#endif
