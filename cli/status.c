// SPDX-License-Identifier: GPL-2.0-or-later
/* status.c - labctl status: labs and their instances at a glance */
#define _GNU_SOURCE
#include "cli/commands.h"
#include "cli/object.h"
#include "cli/table.h"

#include "lib/num.h"
#include "lib/util.h"

#include <string.h>

static int add_instance(struct table *t, const json_t *in)
{
	char memory[CELL_TEXT], uptime[NUM_TEXT] = "", error[CELL_TEXT];
	double started = cell_number(in, "started"), now = num_wall();
	const char *ready = cell_string(in, "ready");

	if (cell_number(in, "pid") > 0 && started > 0 && now >= started)
		num_seconds_text(uptime, (uint64_t)(now - started));
	return table_row(t, (const char *[]){
				    cell_string(in, "name"),
				    cell_string(in, "state"),
				    cell_string(in, "addr"),
				    cell_size(memory, in, "rss"),
				    uptime,
				    ready,
				    cell_line(error, cell_string(in, "error")),
			    });
}

/* ", spares 80M": memory of QEMUs that wait for a reset; "" without */
static const char *spares_text(const json_t *instances, char buf[CELL_TEXT])
{
	char size[NUM_TEXT];
	uint64_t sum = 0;
	json_t *in;
	size_t i;

	json_array_foreach(instances, i, in)
		sum += (uint64_t)json_integer_value(json_object_get(in, "spare_rss"));
	snprintf(buf, CELL_TEXT, ", spares %s", num_size_text(size, sum));
	return sum ? buf : "";
}

static int print_lab(const json_t *lab)
{
	static const char *const headings[] = { "INSTANCE", "STATE", "ADDRESS", ">MEMORY",
						">UPTIME",  "READY", "~ERROR",	NULL };
	const json_t *instances = json_object_get(lab, "instances");
	const char *error = cell_string(lab, "error");
	long long job = json_integer_value(json_object_get(lab, "job"));
	char spares[CELL_TEXT];
	struct table *t;
	json_t *in;
	size_t i;

	printf("%s: %s", cell_string(lab, "name"), cell_string(lab, "state"));
	if (job)
		printf(", job %lld", job);
	printf("%s%s%s\n", spares_text(instances, spares), *error ? ", " : "", error);
	if (!json_array_size(instances))
		return 0;
	t = table_new(headings);
	if (!t)
		return -ENOMEM;
	json_array_foreach(instances, i, in) {
		if (add_instance(t, in) < 0) {
			table_free(t);
			return -ENOMEM;
		}
	}
	return table_print(t);
}

static int print_services(const json_t *lab)
{
	static const char *const headings[] = { "SERVICE", "INSTANCE", "STATE", "~ERROR", NULL };
	const json_t *services = json_object_get(lab, "services"), *s;
	char error[CELL_TEXT];
	struct table *t;
	size_t i;

	if (!json_array_size(services))
		return 0;
	putchar('\n');
	t = table_new(headings);
	if (!t)
		return -ENOMEM;
	json_array_foreach(services, i, s) {
		if (table_row(t,
			      (const char *[]){ cell_string(s, "name"), cell_string(s, "instance"),
						cell_string(s, "state"),
						cell_line(error, cell_string(s, "text")) }) < 0) {
			table_free(t);
			return -ENOMEM;
		}
	}
	return table_print(t);
}

static int print_labs(struct cli *cli, const json_t *labs)
{
	json_t *lab;
	size_t i;

	if (!json_array_size(labs))
		puts("There is no lab; 'labctl up FILE' makes one from a lab file.");
	json_array_foreach(labs, i, lab) {
		if (i)
			putchar('\n');
		if (print_lab(lab) < 0 || print_services(lab) < 0)
			return lab_fail_errno(&cli->err, -ENOMEM, "table");
	}
	return 0;
}

static void print_names(const json_t *labs)
{
	json_t *lab, *in;
	size_t i, k;

	json_array_foreach(labs, i, lab) {
		json_array_foreach(json_object_get(lab, "instances"), k, in) {
			printf("%s/%s\n", cell_string(lab, "name"), cell_string(in, "name"));
		}
	}
}

int cli_status(struct cli *cli, const char *lab)
{
	autojson json_t *answer = NULL, *labs = NULL;
	char path[CLIENT_PATH];
	struct object o;
	int r = 0;

	if (lab)
		r = object_lab(cli, lab, &o);
	if (!r)
		r = cli_call(cli, "GET", lab ? client_path(path, "/v1/labs/%s", o.lab) : "/v1/labs",
			     NULL, &answer);
	if (r < 0)
		return cli_end(cli, r);
	labs = lab ? json_pack("[O]", answer) : json_incref(answer);
	if (cli->json)
		cli_print_json(answer);
	else if (cli->quiet)
		print_names(labs);
	else
		r = print_labs(cli, labs);
	return cli_end(cli, r);
}

static int run_status(struct cli *cli, int argc, char **argv)
{
	if (cli_plain(cli, argc, argv) != -1)
		return cli->exit;
	if (!cli_nargs(cli, argc - optind, 0, 1))
		return CLI_USAGE;
	return cli_status(cli, argv[optind]);
}

const struct command cmd_status = {
	.name = "status",
	.args = "[LAB]",
	.summary = "Show the instances and services of a lab, or of all labs",
	.details = "MEMORY is what the guest takes of this machine's memory now. READY tells what "
		   "the\n"
		   "instance's probes said last.\n\n"
		   "Example:\n  labctl status demo\n",
	.run = run_status,
};
