// SPDX-License-Identifier: GPL-2.0-or-later
/* api_trash.c - calls about what was destroyed */
#define _GNU_SOURCE
#include "labd/request.h"
#include "labd/trash.h"
#include "labd/trashjob.h"
#include "lib/num.h"

#include <errno.h>

static int list(struct request *q)
{
	q->result = trash_json(q->d, 0, &q->err);
	return q->result ? 0 : q->err.code;
}

static int take_id(struct request *q, int64_t *ret)
{
	uint64_t id;

	if (num_u64(q->params[0], INT64_MAX, &id) < 0 || !id)
		return lab_fail(&q->err, -ENOENT, "there is no %s in the trash: labctl trash ls",
				q->params[0]);
	*ret = (int64_t)id;
	return 0;
}

static int restore(struct request *q)
{
	int64_t id = 0;
	int r = take_id(q, &id);

	return r ? r : trash_restore(q->d, id, request_str(q, "name"), &q->result, &q->err);
}

static int remove_one(struct request *q)
{
	int64_t id = 0;
	int r = take_id(q, &id);

	return r ? r : trashjob_remove(q->d, id, &q->job, &q->err);
}

static int empty(struct request *q)
{
	return trashjob_remove(q->d, 0, &q->job, &q->err);
}

const struct route trash_routes[] = {
	{ "GET", "/v1/trash", list, 0 },
	{ "DELETE", "/v1/trash", empty, 0 },
	{ "DELETE", "/v1/trash/:", remove_one, 0 },
	{ "POST", "/v1/trash/:/restore", restore, 0 },
	{ NULL, NULL, NULL, 0 },
};
