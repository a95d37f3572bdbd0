/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands.h - all subcommands of labctl; each is in a file of its name */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct command cmd_up, cmd_plan; /* up.c, plan.c */
extern const struct command cmd_down, cmd_reset, cmd_rm;
extern const struct command cmd_golden, cmd_suspend, cmd_clone; /* golden.c */
extern const struct command cmd_export, cmd_import; /* export.c */
extern const struct command cmd_status, cmd_ls, cmd_show;
extern const struct command cmd_exec, cmd_console, cmd_logs;
extern const struct command cmd_cp, cmd_edit; /* cp.c, edit.c */
extern const struct command cmd_check;
extern const struct command cmd_env, cmd_run, cmd_openstack; /* env.c, run.c */
extern const struct command cmd_start, cmd_stop, cmd_kill; /* act.c */
extern const struct command cmd_pause, cmd_resume, cmd_reboot; /* act.c */
extern const struct command cmd_snapshot, cmd_diff, cmd_image, cmd_trash, cmd_capture,
	cmd_screenshot;
extern const struct command cmd_mount, cmd_umount; /* mount.c */
extern const struct command cmd_jobs, cmd_wait, cmd_cancel; /* jobs.c */
extern const struct command cmd_test;
extern const struct command cmd_events, cmd_doctor, cmd_version, cmd_help;

#endif
