// SPDX-License-Identifier: GPL-2.0-or-later
/* diff.c - labctl diff: which files differ between two snapshots of a lab */
#define _GNU_SOURCE
#include "cli/diff.h"
#include "cli/commands.h"
#include "cli/object.h"

#include "lib/num.h"
#include "lib/text.h"
#include "lib/util.h"

#include <string.h>

#define NOW "now"
enum { SAME, DIFFER, TROUBLE }; /* exit codes, those of diff(1) */

/**
 * struct side - a snapshot, or the lab as it is
 * @instances:	objects with names and disks
 */
struct side {
	struct object o;
	bool now;
	json_t *answer, *instances;
};

/**
 * struct task - the comparison
 * @instance, @disk: that are wanted, "" for all
 * @at, @at_disk: that are compared
 * @cmp:	of this disk
 * @code:	what it comes to
 */
struct task {
	struct cli *cli;
	struct side side[2];
	char instance[NAME_MAX_LEN + 1], disk[NAME_MAX_LEN + 1];
	const char *at, *at_disk;
	struct compare cmp;
	struct meter meter;
	int code;
};

static void found(struct task *t, int code)
{
	t->code = MAX(t->code, code);
}

static void cleanup_task(struct task *t)
{
	meter_end(&t->meter);
	for (size_t i = 0; i < 2; i++)
		json_decref(t->side[i].answer);
}

/* ---- words of the command line --------------------------------------------------------- */

static bool is_path(const char *arg)
{
	return *arg == '/' || strchr(arg, ':');
}

static int take_name(struct task *t, const char *text, size_t len, char ret[NAME_MAX_LEN + 1])
{
	if (len <= NAME_MAX_LEN)
		snprintf(ret, NAME_MAX_LEN + 1, "%.*s", (int)len, text);
	if (len > NAME_MAX_LEN || !name_valid(ret))
		return lab_fail(&t->cli->err, -EINVAL, "'%.*s' cannot be a name: use %s", (int)len,
				text, NAME_RULE);
	return 0;
}

/* "/PATH", "p1" or "p1/PATH" */
static int take_path(struct task *t, const char *arg)
{
	char number[16];
	uint64_t part;
	size_t len;

	if (*arg == '/' || !*arg) {
		t->cmp.path = *arg ? arg : NULL;
		return 0;
	}
	len = strcspn(arg, "/");
	snprintf(number, sizeof(number), "%.*s", (int)MIN(len, sizeof(number) - 1), arg + 1);
	number[MIN(len - 1, sizeof(number) - 1)] = '\0';
	if (*arg != 'p' || num_u64(number, INSPECT_RAW - 1, &part) < 0)
		return lab_fail(&t->cli->err, -EINVAL,
				"'%s' is no path in a guest: it begins with a '/', or with a "
				"partition: p1/",
				arg);
	t->cmp.part = (uint32_t)part;
	t->cmp.path = arg[len] ? arg + len : NULL;
	return 0;
}

/* "[INSTANCE[/DISK]]:PATH", or "PATH" */
static int take_where(struct task *t, const char *arg)
{
	const char *colon = *arg == '/' ? NULL : strchr(arg, ':');
	size_t len = colon ? (size_t)(colon - arg) : 0, name = MIN(len, strcspn(arg, "/"));
	int r = 0;

	if (len)
		r = take_name(t, arg, name, t->instance);
	if (!r && name < len)
		r = take_name(t, arg + name + 1, len - name - 1, t->disk);
	return r < 0 ? r : take_path(t, colon ? colon + 1 : arg);
}

/* The lab need be said once only */
static int take_sides(struct task *t, int n, char **args)
{
	struct lab_err *err = &t->cli->err;
	int r = object_parse(args[0], &t->side[0].o, err);

	if (!r)
		r = object_parse(n > 1 ? args[1] : NOW, &t->side[1].o, err);
	if (!r && !*t->side[0].o.lab && !*t->side[1].o.lab)
		r = object_in_lab(t->cli, args[0], &t->side[0].o);
	for (size_t i = 0; !r && i < 2; i++) {
		struct object *o = &t->side[i].o;

		if (!*o->lab)
			memcpy(o->lab, t->side[!i].o.lab, sizeof(o->lab));
		t->side[i].now = !strcmp(o->name, NOW);
	}
	return r;
}

static int fetch(struct cli *cli, struct side *s)
{
	char path[CLIENT_PATH];
	int r;

	if (s->now)
		client_path(path, "/v1/labs/%s", s->o.lab);
	else
		client_path(path, "/v1/labs/%s/snapshots/%s", s->o.lab, s->o.name);
	r = cli_call(cli, "GET", path, NULL, &s->answer);
	s->instances = json_object_get(s->answer, "instances");
	return r;
}

/* ---- lists of names ----------------------------------------------------------------------- */

static const json_t *by_name(const json_t *list, const char *name)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *known = json_string_value(json_object_get(o, "name"));

		if (known && !strcmp(known, name))
			return o;
	}
	return NULL;
}

static int order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in both lists, each once, in order; NULL behind the last. Malloced, or NULL */
static const char **merge_names(const json_t *a, const json_t *b)
{
	const json_t *const lists[] = { a, b }, *o;
	const char **names = calloc(json_array_size(a) + json_array_size(b) + 1, sizeof(*names));
	size_t n = 0, i;

	for (size_t k = 0; names && k < 2; k++)
		json_array_foreach(lists[k], i, o) {
			const char *name = json_string_value(json_object_get(o, "name"));

			if (name && name_valid(name) && (!k || !by_name(a, name)))
				names[n++] = name;
		}
	if (names)
		qsort(names, n, sizeof(*names), order);
	return names;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static void say(struct task *t, const char *where, const char *words)
{
	meter_end(&t->meter);
	fprintf(stderr, "labctl: %s: %s\n", where, words);
}

/* Something that is on one side as a whole */
static void print_whole(struct task *t, enum inspect_found what, const char *instance,
			const char *disk)
{
	const struct inspect_change c = { .found = what, .part = INSPECT_RAW };
	const struct compare_change change = { &c, "", { "", "" } };

	if (t->cmp.path || t->cmp.part != INSPECT_RAW)
		return;
	found(t, DIFFER);
	t->cmp.found = true;
	diff_print(t->cli, instance, disk, &change);
}

/* For a sentence: the disk where nothing smaller is meant. Malloced, or NULL */
static char *place(const struct task *t, const struct compare_change *change)
{
	char *text;

	if (*change->path || (change->c->part && change->c->part != INSPECT_RAW))
		return diff_where(t->at, t->at_disk, change);
	return asprintf(&text, "%s, disk %s", t->at, t->at_disk) < 0 ? NULL : text;
}

static void take(void *arg, const struct compare_change *change)
{
	autofree char *where = NULL, *words = NULL;
	struct task *t = arg;

	meter_end(&t->meter);
	if (change->c->found <= INSPECT_CHANGED) {
		found(t, DIFFER);
		diff_print(t->cli, t->at, t->at_disk, change);
		return;
	}
	where = place(t, change);
	if (change->c->found == INSPECT_TROUBLE) {
		words = text_escape(change->target[0], strlen(change->target[0]));
		say(t, where ? where : t->at, words ? words : "");
		found(t, TROUBLE);
	} else if (!t->cli->quiet) {
		fprintf(stderr,
			"labctl: note: %s: in use when %s was made: what the guest had only in "
			"its memory%s is not seen\n",
			where ? where : t->at, t->side[change->c->what ? 1 : 0].o.name,
			change->c->found == INSPECT_DIRTY ? " or journal" : "");
	}
}

/* When an instance changed last: what is read of its disks is of one time only if nothing did */
static double changed(struct task *t, const struct side *s)
{
	autojson json_t *in = NULL;
	char path[CLIENT_PATH];

	if (!s->now)
		return 0;
	client_path(path, "/v1/labs/%s/instances/%s", s->o.lab, t->at);
	if (cli_call(t->cli, "GET", path, NULL, &in) < 0)
		return -1;
	return json_number_value(json_object_get(in, "changed"));
}

static int compare_chains(struct task *t)
{
	autojson json_t *from = NULL, *to = NULL;
	json_t **chains[] = { &from, &to };
	double since[2];
	int r = 0;

	for (size_t i = 0; !r && i < 2; i++) {
		const struct side *s = &t->side[i];

		since[i] = changed(t, s);
		r = compare_chain(t->cli, s->o.lab, s->now ? NULL : s->o.name, t->at, t->at_disk,
				  chains[i]);
	}
	if (!r)
		r = compare_run(&t->cmp, from, to);
	for (size_t i = 0; !r && i < 2; i++)
		if (changed(t, &t->side[i]) != since[i])
			r = lab_fail(&t->cli->err, -ESTALE,
				     "the instance changed while its disk was read");
	return r;
}

/* One disk that both sides have; false: there is no use in going on */
static bool compare_disk(struct task *t, const char *instance, const char *disk)
{
	char name[2 * NAME_MAX_LEN + 2];
	int r;

	t->at = instance;
	t->at_disk = disk;
	snprintf(name, sizeof(name), "%s%s%s", instance, strcmp(disk, "root") ? "/" : "",
		 strcmp(disk, "root") ? disk : "");
	t->cmp.name = name;
	r = compare_chains(t);
	if (r < 0) {
		say(t, name, t->cli->err.text);
		found(t, t->cli->unreachable ? CLI_UNREACHABLE : TROUBLE);
		t->cli->err.code = 0;
	}
	return r != -ECANCELED && !t->cli->unreachable;
}

static const char **names_of_both(struct task *t, const json_t *a, const json_t *b)
{
	const char **names = merge_names(a, b);

	if (!names) {
		say(t, "labctl", "out of memory");
		found(t, TROUBLE);
	}
	return names;
}

static bool compare_disks(struct task *t, const char *instance, const json_t *from,
			  const json_t *to)
{
	const json_t *a = json_object_get(from, "disks"), *b = json_object_get(to, "disks");
	autofree const char **names = names_of_both(t, a, b);
	bool on = names;

	for (size_t i = 0; on && names[i]; i++) {
		if (*t->disk && strcmp(t->disk, names[i]) != 0)
			continue;
		if (!by_name(a, names[i]))
			print_whole(t, INSPECT_ADDED, instance, names[i]);
		else if (!by_name(b, names[i]))
			print_whole(t, INSPECT_REMOVED, instance, names[i]);
		else
			on = compare_disk(t, instance, names[i]);
	}
	return on;
}

static void compare_all(struct task *t)
{
	autofree const char **names = names_of_both(t, t->side[0].instances, t->side[1].instances);
	bool on = names;

	for (size_t i = 0; on && names[i]; i++) {
		const json_t *a = by_name(t->side[0].instances, names[i]);
		const json_t *b = by_name(t->side[1].instances, names[i]);

		if (*t->instance && strcmp(t->instance, names[i]) != 0)
			continue;
		if (!a || !b)
			print_whole(t, a ? INSPECT_REMOVED : INSPECT_ADDED, names[i], "");
		else
			on = compare_disks(t, names[i], a, b);
	}
}

static int run(struct task *t, int n, char **args, const char *where)
{
	int r = where ? take_where(t, where) : 0;

	if (!r)
		r = take_sides(t, n, args);
	for (size_t i = 0; !r && i < 2; i++)
		r = fetch(t->cli, &t->side[i]);
	if (r < 0)
		return r;
	meter_begin(&t->meter, t->cli->quiet);
	compare_all(t);
	meter_end(&t->meter);
	if (where && !t->cmp.found && t->code < TROUBLE)
		return lab_fail(&t->cli->err, -ENOENT, "%s is neither in %s nor in %s", where,
				t->side[0].o.name, t->side[1].o.name);
	return 0;
}

static int run_diff(struct cli *cli, int argc, char **argv)
{
	__attribute__((cleanup(cleanup_task))) struct task t = {
		.cli = cli, .cmp = { .cli = cli, .part = INSPECT_RAW, .take = take }
	};
	int n, code, c = cli_plain(cli, argc, argv);

	if (c == '?')
		return cli->exit;
	argv += optind;
	n = argc - optind;
	if (!cli_nargs(cli, n, 1, 3))
		return CLI_USAGE;
	if (is_path(argv[n - 1]) && n == 1)
		return cli_usage(cli, "a snapshot is missing");
	t.cmp.arg = &t;
	t.cmp.meter = &t.meter;
	if (n == 3 && !is_path(argv[2]))
		return cli_usage(cli, "'%s' is no path: it begins with '/' or INSTANCE:", argv[2]);
	c = is_path(argv[n - 1]);
	code = cli_end(cli, run(&t, n - c, argv, c ? argv[n - 1] : NULL));
	if (code == CLI_FAILED)
		code = TROUBLE;
	if (fflush(stdout) || ferror(stdout))
		code = TROUBLE; /* labctl.c says why */
	return MAX(code, t.code);
}

const struct command cmd_diff = {
	.name = "diff",
	.args = "[LAB/]S1 [S2] [[INSTANCE[/DISK]:]PATH]",
	.summary = "Tell which files differ between two snapshots of a lab",
	.details =
		"A is what S2 has and S1 has not, D the reverse, M what is in both and differs in "
		"mode,\n"
		"owner or content. S2 is the lab as it is now if it is left out or 'now'; its "
		"instances\n"
		"must not run then. Disks that were not written to since the two parted are not "
		"read.\n"
		"Exits with 0 if nothing differs, 1 if something does, 2 if there was trouble.\n\n"
		"Example:\n  labctl diff demo/clean installed /etc\n",
	.run = run_diff,
};
