/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - what a daemon says, on standard error
 *
 * Lines carry a syslog level prefix ("<4>") when systemd reads them, and a
 * time otherwise. Library code never logs above debug; an error is logged
 * once, by the top layer.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** log_init() - Name the program; LAB_DEBUG=1 in the environment adds debug lines */
void log_init(const char *program);

/** log_say() - One line at a level; use the macros */
void log_say(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_say(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_say(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_say(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_say(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
