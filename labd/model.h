/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.h - images, labs, instances, networks and snapshots in memory
 *
 * All of it is guarded by labd's lock (labd.h says how). Functions named
 * *_save() write the store and must be called without the lock, by the job
 * that has claimed the object.
 */
#ifndef LABD_MODEL_H
#define LABD_MODEL_H

#include "labd/agent.h"
#include "labd/labd.h"
#include "labd/qemu.h"
#include "lib/names.h"

#include <jansson.h>
#include <stdbool.h>

#define MODEL_STATE 12

/**
 * struct image - see docs/api.md for the meaning of its fields
 * @cmdline:	kernel command line, "" for firmware boot
 * @job:	the job that has claimed it, 0 for none
 * @unsynced:	ready, but perhaps not on the disk yet: "unsynced" in the store
 * @settling:	somebody has it counted and synced
 */
struct image {
	TAILQ_ENTRY(image) link;
	int64_t id;
	char name[NAME_MAX_LEN + 1];
	char state[MODEL_STATE];
	char recipe[DIGEST_HEX], sha256[DIGEST_HEX];
	char base[NAME_MAX_LEN + 1];
	char boot[MODEL_STATE];
	char cmdline[512];
	char error[LAB_ERR_TEXT];
	uint64_t size, used;
	double created;
	bool protect, unsynced, settling;
	int64_t job;
};

/**
 * struct guest - what is open to a running QEMU; counted references
 *
 * @booted:	the guest has booted again by itself, and nobody has dealt with that yet
 * @unasked:	it was adopted, and has not yet said whether it has booted meanwhile
 * @unprobed:	it was to be probed while another job held its lab
 * @why:	QEMU paused it by itself, for this reason; "" otherwise
 *
 * The instance holds one; whoever talks to the guest outside a claim
 * takes another, so that the end of the instance cannot pull it away.
 */
struct guest {
	int refs;
	struct qemu_proc proc;
	struct qmp *qmp, *events;
	struct agent *agent;
	sd_event_source *on_exit, *on_event;
	bool booted, unasked, unprobed;
	char why[200];
};

struct lab;
struct spare;

/**
 * struct instance
 * @want:	"running" or "stopped": what its user asked for last
 * @applied:	{"networks", "instances"} part of the specification it was
 *		started with; NULL if it never was
 * @image:	id of the image its disks stand on, 0 before there are any
 * @guest:	while QEMU runs
 * @console_from: where the output of this boot begins in console.log
 * @disks:	[{"name", "size", "base", "path"}], root first
 * @services:	{NAME: {"state", "text", "digest"}}: how far its services are (service.h)
 * @memory:	directory of the saved memory that its own stands on (memory.h), or ""
 * @machine:	which machine and QEMU it was started as (boot_same_machine()), or ""
 * @spare:	that waits, or NULL
 * @no_spare:	the golden of which none could be made, until something changes
 */
struct instance {
	TAILQ_ENTRY(instance) link;
	int64_t id;
	struct lab *lab;
	char name[NAME_MAX_LEN + 1];
	char state[MODEL_STATE], want[MODEL_STATE], ready[4];
	char ready_text[128];
	char error[LAB_ERR_TEXT];
	json_t *applied;
	int64_t image;
	pid_t pid;
	uint64_t start_time;
	char digest[DIGEST_HEX];
	int64_t console_from;
	double started, created, changed;
	struct guest *guest;
	json_t *disks, *services;
	char memory[512];
	char machine[160];
	struct spare *spare;
	int64_t no_spare;
	int64_t job;
};

struct network {
	TAILQ_ENTRY(network) link;
	int64_t id;
	char name[NAME_MAX_LEN + 1];
};

/**
 * struct snapshot
 * @kind:	"user", "golden", "auto", "suspended" (snapshot.h)
 * @parent:	id of the one it was made after, 0 for none
 * @clock:	the lab's time when it was frozen, seconds since 1970
 * @memory:	at least one member ran, and its memory is part of it
 */
struct snapshot {
	TAILQ_ENTRY(snapshot) link;
	int64_t id;
	char name[NAME_MAX_LEN + 1], kind[MODEL_STATE];
	int64_t parent;
	json_t *members;
	uint64_t size;
	double created, clock;
	bool memory;
};

/**
 * struct lab
 * @spec:	the specification (labfile.h)
 * @applied:	networks as the keeper has them
 * @golden:	id of the snapshot that up and reset restore, 0 for none
 * @restore:	id of the snapshot that is being restored, 0 for none
 * @restoring:	names of the instances that are; with @restore 0, of those that run again and may
 *		not have been repaired (repair.h)
 * @repair:	how those are to be, of enum repair_bits
 * @at:		id of the snapshot it was restored to or that was made last, 0 for none
 * @clock:	seconds that its time is ahead of the host's, mostly negative (repair.h)
 * @idle:	when its last claim was given up, num_now_us()
 * @sparing:	a spare is made of it (spare.h)
 * @keeper:	connection, NULL while the lab has none; used by the job that
 *		claimed the lab or one of its instances, or by whom such a job waits for
 */
struct lab {
	TAILQ_ENTRY(lab) link;
	int64_t id;
	char name[NAME_MAX_LEN + 1];
	char state[MODEL_STATE];
	char error[LAB_ERR_TEXT];
	char *file;
	json_t *spec, *applied, *restoring;
	int64_t golden, restore, repair, at;
	double clock;
	struct keeper *keeper;
	pthread_mutex_t keeper_lock;
	double created, changed;
	bool protect, sparing;
	uint64_t idle;
	int64_t job;
	TAILQ_HEAD(, instance) instances;
	TAILQ_HEAD(, network) networks;
	TAILQ_HEAD(, snapshot) snapshots;
};

/** model_load() - Read everything from the store at start */
int model_load(struct labd *d, struct lab_err *err);

/**
 * model_load_lab() - Read one lab with all of its own from the store, apart from the model
 * @ret:	in no list; without guests and keeper. For lab_free(), after its instances
 */
int model_load_lab(struct labd *d, int64_t id, struct lab **ret, struct lab_err *err);

/** model_load_image() - Read one image's row, apart from the model; for free() */
int model_load_image(struct labd *d, int64_t id, struct image **ret, struct lab_err *err);

/** model_free() - Free it all; guests and keepers go on */
void model_free(struct labd *d);

/* Find by name; the lock is held. NULL if there is none */
struct image *model_image(struct labd *d, const char *name);
struct image *model_image_id(struct labd *d, int64_t id);
struct lab *model_lab(struct labd *d, const char *name);
struct instance *model_instance(struct lab *lab, const char *name);
struct instance *model_instance_id(struct labd *d, int64_t id);
/* that has this guest: others may have changed the model since one looked */
struct instance *model_instance_of(struct labd *d, const struct guest *g);
struct snapshot *model_snapshot(struct lab *lab, const char *name);
struct snapshot *model_snapshot_id(struct lab *lab, int64_t id);

/* Objects of the API; the lock is held; new references */
json_t *image_json(struct labd *d, const struct image *im);
json_t *lab_json(struct labd *d, struct lab *lab, bool deep);
json_t *instance_json(struct labd *d, const struct instance *in);
json_t *network_json(struct labd *d, const struct lab *lab, const struct network *net);
json_t *snapshot_json(const struct lab *lab, const struct snapshot *sn);

/**
 * model_add_usage() - Add "rss" and "cpu" to running instances of an object
 * @obj:	an instance, a lab, or an array of either; the lock is not held
 */
void model_add_usage(json_t *obj);

/**
 * image_add() - A new image, claimed by @job
 * @name:	"" for one that takes its name when it is ready
 */
int image_add(struct labd *d, const char *name, const char *state, const char *recipe, int64_t job,
	      struct image **ret, struct lab_err *err);
int image_save(struct labd *d, struct image *im, struct lab_err *err);
/** image_load_manifest() - Fill in what its directory says */
int image_load_manifest(struct labd *d, struct image *im, struct lab_err *err);
/**
 * image_settle() - Have an image on the disk for good, before anything that lasts stands on it
 *
 * Nothing is to be done for most: only an import is ready before that. If it fails the image
 * becomes "failed", and is checked by the next labd. @id: 0 is none. The lock is not held.
 */
int image_settle(struct labd *d, int64_t id, struct lab_err *err);
/** image_drop() - Forget it and remove its directory; 0, or why it stays */
int image_drop(struct labd *d, struct image *im);
/** image_leave() - Take one out of the model; its row and files stay */
void image_leave(struct labd *d, struct image *im);
/** image_dir() - Its directory; @buf has IO_PATH bytes */
const char *image_dir(struct labd *d, const struct image *im, char *buf);
/** image_set_state() - In the model, the events and the store; 0, or why not in the store */
int image_set_state(struct labd *d, struct image *im, const char *state, const char *error);

/**
 * lab_add() - A new lab, claimed by @job, with the instances of its spec
 * @spec:	reference is taken in any case
 */
int lab_add(struct labd *d, const char *file, json_t *spec, int64_t job, struct lab **ret,
	    struct lab_err *err);
/**
 * lab_set_spec() - Give a lab another specification
 * Instances that are new in it are added; those gone from it are listed in
 * @ret_gone (array of names) and stay until they are removed.
 */
int lab_set_spec(struct labd *d, struct lab *lab, const char *file, json_t *spec, json_t **ret_gone,
		 struct lab_err *err);
int lab_save(struct labd *d, struct lab *lab, struct lab_err *err);
void lab_set_state(struct labd *d, struct lab *lab, const char *state, const char *error);
/** lab_runs() - Whether any of its instances has a QEMU */
bool lab_runs(const struct lab *lab);
/** lab_settle() - Set the state that follows from its instances */
void lab_settle(struct labd *d, struct lab *lab, const char *error);
/**
 * lab_drop() - Forget a lab without running instances in the store and the model
 * Its directory is the caller's to remove then. Return: 0, or why it stays
 */
int lab_drop(struct labd *d, struct lab *lab, struct lab_err *err);
/** lab_leave() - Take a lab without running instances out of the model; rows and files stay */
void lab_leave(struct labd *d, struct lab *lab);
/** lab_forget() - Free its memory only; guests and keeper go on */
void lab_forget(struct labd *d, struct lab *lab);
/** lab_free() - Free one that is in no list and has no instances */
void lab_free(struct lab *lab);
/** lab_dir(), lab_run_dir() - Its directories; @buf has IO_PATH bytes */
const char *lab_dir(struct labd *d, const struct lab *lab, char *buf);
const char *lab_run_dir(struct labd *d, const struct lab *lab, char *buf);

/** lab_identity() - The name that its MAC addresses and machine ids are derived from */
const char *lab_identity(const struct lab *lab);

/**
 * lab_host_id() - The number that names what a lab has on the host: links,
 * tables, uids. Unlike its id it differs between daemons of one machine.
 */
unsigned int lab_host_id(struct labd *d, const struct lab *lab);

/** instance_spec() - Its part of the lab's specification, borrowed, or NULL */
const json_t *instance_spec(const struct instance *in);
/** instance_applied() - What that was when it was started last, borrowed, or NULL */
json_t *instance_applied(const struct instance *in);
/** instance_other_image() - Whether its disks stand on another image than it is to have */
bool instance_other_image(const struct instance *in);
int instance_save(struct labd *d, struct instance *in, struct lab_err *err);
/**
 * instance_set_state() - In the store, then the model and the events
 * @error:	last error, "" to clear it, NULL to keep it
 */
void instance_set_state(struct labd *d, struct instance *in, const char *state, const char *error);
/** instance_set_want() - What its user wants: "running" or "stopped" */
void instance_set_want(struct labd *d, struct instance *in, const char *want);
void instance_set_ready(struct labd *d, struct instance *in, const char *ready, const char *text);
/** instance_leave() - Take a stopped instance out of the model; its rows and files stay */
void instance_leave(struct labd *d, struct instance *in);
/** instance_forget() - Free its memory only; its QEMU goes on */
void instance_forget(struct labd *d, struct instance *in);
const char *instance_dir(struct labd *d, const struct instance *in, char *buf);
const char *instance_run_dir(struct labd *d, const struct instance *in, char *buf);
/** instance_running() - Whether it has a QEMU */
bool instance_running(const struct instance *in);
/** instance_nic_ifname() - The tap of its Nth nic; @buf has IFNAMSIZ bytes */
const char *instance_nic_ifname(const struct instance *in, size_t n, char *buf);
/** instance_spare_ifname() - The same of its spare (spare.h) */
const char *instance_spare_ifname(const struct instance *in, size_t n, char *buf);
/** instance_emit() - Tell listeners that it changed; the lock is held */
void instance_emit(struct labd *d, struct instance *in);

/** guest_new() - Around a started QEMU; takes what @proc owns, the monitor and the agent */
struct guest *guest_new(const struct qemu_proc *proc, struct qmp *qmp, struct agent *agent);
/** guest_ref() - Another reference; takes NULL; the lock is held */
struct guest *guest_ref(struct guest *g);
/** guest_unref() - Give one back; takes NULL, returns NULL; without the lock */
struct guest *guest_unref(struct labd *d, struct guest *g);

/**
 * model_claim() - Claim a lab, or one instance of it, for a job
 * @in:		NULL for the whole lab
 * Whole labs are claimed only while none of their instances is. A job that is started then
 * may act at once; who acts otherwise calls spares_wait() first (spare.h).
 *
 * Return: 0, or -EBUSY naming the job; the lock is held
 */
int model_claim(struct labd *d, struct lab *lab, struct instance *in, int64_t job,
		struct lab_err *err);

/** model_release() - Give up all claims of a job; the lock is held */
void model_release(struct labd *d, int64_t job);

#endif
