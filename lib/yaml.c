// SPDX-License-Identifier: GPL-2.0-or-later
/* yaml.c - a bounded YAML file with checked access and all its problems */
#define _GNU_SOURCE
#include "lib/yaml.h"

#include "lib/num.h"
#include "lib/util.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

struct problem {
	unsigned int line, column;
	char *message;
};

/* A node, with the one that was made before it */
struct owned {
	struct ynode node;
	struct owned *before;
};

/**
 * struct ydoc - a document
 * @last:	the newest node; all are freed from it
 * @overflow:	problems that were not kept
 * @failed:	out of memory while a problem was added
 */
struct ydoc {
	struct ynode *root;
	struct owned *last;
	size_t nodes, max_nodes;
	struct problem problems[YDOC_MAX_PROBLEMS];
	size_t nproblems, overflow;
	bool failed;
};

/* An open list or map while the tree is built */
struct level {
	struct ynode *node, **tail, *key;
};

struct builder {
	struct ydoc *doc;
	struct level levels[YDOC_MAX_DEPTH];
	size_t depth;
	bool done;
};

__attribute__((format(printf, 4, 0))) static void add_problem(struct ydoc *doc, unsigned int line,
							      unsigned int column, const char *fmt,
							      va_list ap)
{
	struct problem p = { line, column, NULL };

	if (doc->nproblems == YDOC_MAX_PROBLEMS) {
		doc->overflow++;
		return;
	}
	if (vasprintf(&p.message, fmt, ap) < 0) {
		doc->failed = true;
		return;
	}
	for (size_t i = 0; i < doc->nproblems; i++) {
		const struct problem *q = &doc->problems[i];

		if (q->line == line && q->column == column && !strcmp(q->message, p.message)) {
			free(p.message);
			return;
		}
	}
	doc->problems[doc->nproblems++] = p;
}

__attribute__((format(printf, 4, 5))) static void problem_at(struct ydoc *doc, size_t line,
							     size_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_problem(doc, (unsigned int)line, (unsigned int)column, fmt, ap);
	va_end(ap);
}

void ydoc_problem(struct ydoc *doc, const struct ynode *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_problem(doc, at ? at->line : 1, at ? at->column : 1, fmt, ap);
	va_end(ap);
}

size_t ydoc_problems(const struct ydoc *doc)
{
	return doc->nproblems;
}

const struct ynode *ydoc_root(const struct ydoc *doc)
{
	return doc->root;
}

struct ydoc *ydoc_free(struct ydoc *doc)
{
	if (!doc)
		return NULL;
	while (doc->last) {
		struct owned *o = doc->last;

		doc->last = o->before;
		free(o->node.text);
		free(o);
	}
	for (size_t i = 0; i < doc->nproblems; i++)
		free(doc->problems[i].message);
	free(doc);
	return NULL;
}

static void cleanup_ydoc(struct ydoc **doc)
{
	ydoc_free(*doc);
}

/* A new node that the document owns; NULL: out of memory */
static struct ynode *new_node(struct ydoc *doc, enum ynode_type type, const yaml_mark_t *mark)
{
	struct owned *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->node.type = type;
	o->node.line = (unsigned int)mark->line + 1;
	o->node.column = (unsigned int)mark->column + 1;
	o->before = doc->last;
	doc->last = o;
	doc->nodes++;
	return &o->node;
}

/* Put a node where the builder stands; 0, or -EINVAL with a problem added */
static int place(struct builder *b, struct ynode *n)
{
	struct level *l;

	if (!b->depth) {
		b->doc->root = n;
		return 0;
	}
	l = &b->levels[b->depth - 1];
	assert(l->node);
	if (l->node->type == YNODE_MAP && !l->key) {
		char buf[YNODE_SHOW];

		if (n->type != YNODE_SCALAR) {
			ydoc_problem(b->doc, n, "expected a key, found %s", ynode_show(buf, n));
			return -EINVAL;
		}
		l->key = n;
		return 0;
	}
	n->key = l->key;
	l->key = NULL;
	*l->tail = n;
	l->tail = &n->next;
	l->node->count++;
	return 0;
}

static int open_level(struct builder *b, struct ynode *n)
{
	int r = place(b, n);

	if (r < 0)
		return r;
	if (b->depth == YDOC_MAX_DEPTH) {
		ydoc_problem(b->doc, n, "nested deeper than %d levels", YDOC_MAX_DEPTH);
		return -EINVAL;
	}
	b->levels[b->depth++] = (struct level){ n, &n->child, NULL };
	return 0;
}

/* Every key of a complete map that was there before is a problem */
static int check_duplicates(struct ydoc *doc, const struct ynode *map)
{
	autojson json_t *seen = json_object();

	assert(map);
	for (const struct ynode *v = map->child; v; v = v->next) {
		const json_t *before = json_object_get(seen, v->key->text);
		char buf[YNODE_SHOW];

		if (before)
			ydoc_problem(doc, v->key, "%s is given twice, first in line %d",
				     ynode_show(buf, v->key), (int)json_integer_value(before));
		else if (json_object_set_new(seen, v->key->text, json_integer(v->key->line)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int build_scalar(struct builder *b, const yaml_event_t *ev)
{
	struct ynode *n = new_node(b->doc, YNODE_SCALAR, &ev->start_mark);

	if (!n)
		return -ENOMEM;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	n->text = strndup((const char *)ev->data.scalar.value, ev->data.scalar.length);
	if (!n->text)
		return -ENOMEM;
	if (strlen(n->text) != ev->data.scalar.length)
		ydoc_problem(b->doc, n, "a text with a NUL character");
	return place(b, n);
}

static int refuse_extras(struct builder *b, const yaml_event_t *ev)
{
	const yaml_char_t *tag = ev->type == YAML_SCALAR_EVENT ? ev->data.scalar.tag
				 : ev->type == YAML_SEQUENCE_START_EVENT
					 ? ev->data.sequence_start.tag
				 : ev->type == YAML_MAPPING_START_EVENT ? ev->data.mapping_start.tag
									: NULL;
	size_t line = ev->start_mark.line + 1, column = ev->start_mark.column + 1;

	if (tag) {
		problem_at(b->doc, line, column, "tags (!...) are not supported");
		return -EINVAL;
	}
	if (ev->type == YAML_ALIAS_EVENT) {
		problem_at(b->doc, line, column,
			   "aliases (*...) are not supported: write the value out");
		return -EINVAL;
	}
	if (ev->type == YAML_DOCUMENT_START_EVENT && b->done) {
		problem_at(b->doc, line, column, "a second document begins; expected only one");
		return -EINVAL;
	}
	if (b->doc->nodes >= b->doc->max_nodes) {
		problem_at(b->doc, line, column, "more than %zu values in one file",
			   b->doc->max_nodes);
		return -EINVAL;
	}
	return 0;
}

static int build(struct builder *b, const yaml_event_t *ev)
{
	struct ynode *n;
	int r = refuse_extras(b, ev);

	if (r < 0)
		return r;
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return build_scalar(b, ev);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		n = new_node(b->doc, ev->type == YAML_MAPPING_START_EVENT ? YNODE_MAP : YNODE_LIST,
			     &ev->start_mark);
		return n ? open_level(b, n) : -ENOMEM;
	case YAML_SEQUENCE_END_EVENT:
		b->depth--;
		return 0;
	case YAML_MAPPING_END_EVENT:
		return check_duplicates(b->doc, b->levels[--b->depth].node);
	case YAML_DOCUMENT_END_EVENT:
		b->done = true;
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_START_EVENT:
	case YAML_ALIAS_EVENT: /* refused above */
		break;
	}
	return 0;
}

/* Bad bytes are found ahead of the parser, which has no mark for them yet */
static void reader_problem(struct ydoc *doc, const yaml_parser_t *p, const char *text, size_t len)
{
	size_t line = 1, column = 1, end = MIN(p->problem_offset, len);

	for (size_t i = 0; i < end; i++) {
		if (text[i] == '\n')
			line++, column = 1;
		else if ((text[i] & 0xc0) != 0x80)
			column++;
	}
	if (p->problem_value >= 0)
		problem_at(doc, line, column, "not YAML: %s (0x%02x)", p->problem,
			   (unsigned int)p->problem_value);
	else
		problem_at(doc, line, column, "not YAML: %s", p->problem);
}

static int parser_problem(struct ydoc *doc, const yaml_parser_t *p, const char *text, size_t len)
{
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR)
		reader_problem(doc, p, text, len);
	else if (p->context && p->context_mark.line != p->problem_mark.line)
		problem_at(doc, p->problem_mark.line + 1, p->problem_mark.column + 1,
			   "not YAML: %s %s that begins in line %zu", p->problem, p->context,
			   p->context_mark.line + 1);
	else
		problem_at(doc, p->problem_mark.line + 1, p->problem_mark.column + 1,
			   "not YAML: %s", p->problem);
	return -EINVAL;
}

/* Build the tree: 0, -EINVAL with a problem added, -ENOMEM */
static int parse(struct ydoc *doc, const char *text, size_t len)
{
	struct builder b = { .doc = doc };
	yaml_parser_t p;
	bool end = false;
	int r = 0;

	if (!yaml_parser_initialize(&p))
		return -ENOMEM;
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	while (!r && !end) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&p, &ev)) {
			r = parser_problem(doc, &p, text, len);
			break;
		}
		end = ev.type == YAML_STREAM_END_EVENT;
		r = build(&b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&p);
	return r;
}

int ydoc_load(const char *text, size_t len, size_t max, struct ydoc **ret)
{
	__attribute__((cleanup(cleanup_ydoc))) struct ydoc *doc = calloc(1, sizeof(*doc));
	char found[NUM_TEXT], most[NUM_TEXT];

	if (!doc)
		return -ENOMEM;
	doc->max_nodes = max / 4 + 1;
	if (len > max) {
		ydoc_problem(doc, NULL, "expected a file of at most %s, found %s",
			     num_size_text(most, max), num_size_text(found, len));
	} else if (parse(doc, text, len) == -ENOMEM) {
		return -ENOMEM;
	} else if (doc->nproblems) {
		doc->root = NULL; /* may be half built */
	} else if (!doc->root) {
		ydoc_problem(doc, NULL, "the file is empty");
	}
	*ret = steal_ptr(doc);
	return 0;
}

static int compare_problems(const void *a, const void *b)
{
	const struct problem *p = a, *q = b;

	if (p->line != q->line)
		return p->line < q->line ? -1 : 1;
	if (p->column != q->column)
		return p->column < q->column ? -1 : 1;
	return strcmp(p->message, q->message);
}

static json_t *problems_json(const struct ydoc *doc)
{
	autojson json_t *list = json_array();

	for (size_t i = 0; i < doc->nproblems; i++) {
		const struct problem *p = &doc->problems[i];

		if (json_array_append_new(list, json_pack("{s:i, s:i, s:s}", "line", (int)p->line,
							  "column", (int)p->column, "message",
							  p->message)) < 0)
			return NULL;
	}
	return steal_ptr(list);
}

int ydoc_finish(struct ydoc *doc, const char *file, json_t **ret_problems, struct lab_err *err)
{
	char text[LAB_ERR_TEXT] = "";
	size_t at = 0, i;

	if (doc->failed)
		return lab_fail(err, -ENOMEM, "%s: out of memory", file);
	if (!doc->nproblems)
		return 0;
	qsort(doc->problems, doc->nproblems, sizeof(doc->problems[0]), compare_problems);
	if (ret_problems) {
		*ret_problems = problems_json(doc);
		if (!*ret_problems)
			return lab_fail(err, -ENOMEM, "%s: out of memory", file);
	}
	for (i = 0; i < doc->nproblems; i++) {
		const struct problem *p = &doc->problems[i];
		int n = snprintf(text + at, sizeof(text) - at, "%s%s:%u:%u: %s", i ? "\n" : "",
				 file, p->line, p->column, p->message);

		/* room for the line that says how many are not shown */
		if (n < 0 || at + (size_t)n + 40 >= sizeof(text))
			break;
		at += (size_t)n;
	}
	text[at] = '\0';
	if (i < doc->nproblems || doc->overflow)
		return lab_fail(err, -EINVAL, "%s%sand %zu more problems", text, at ? "\n" : "",
				doc->nproblems - i + doc->overflow);
	return lab_fail(err, -EINVAL, "%s", text);
}
