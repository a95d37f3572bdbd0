#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bash completes commands, labs, instances, recipes and options
# TIMEOUT: 60
# REQUIRES: root curl jq
. "${SRCDIR:-.}/tests/lib.sh"
# shellcheck source=cli/completion/labctl.bash
. "$SRCDIR/cli/completion/labctl.bash"

# words WORD...: how the last word is completed
words()
{
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	_labctl 2>/dev/null
	echo "${COMPREPLY[*]}"
}

# without labd nothing is started, and commands are completed all the same
check_eq "commands" "start status stop" "$(words labctl st | xargs -n1 | sort | xargs)"
check_eq "instances" "" "$(words labctl exec "")"
[ ! -e "$LABD_RUN/labd.sock" ] || fail "completion has started labd"
check_match "options" "--detach .*--no-wait" "$(words labctl up --)"
check_match "verbs" "import export" "$(words labctl image "")"

labd_start
yaml() { printf 'lab: %s\nnetworks: { m: { cidr: 10.0.0.0/24 } }\ninstances: { db: { image: tiny, networks: [m] } }\n' "$1"; }
define() { jq -n --arg t "$(yaml "$1")" '{text: $t, file: "x", up: false}' | api POST /v1/labs "$(cat)" >/dev/null; }
define one
check_eq "labs" one "$(words labctl down "")"
check_eq "instances of the only lab" "one/db db" "$(words labctl console "")"
check_match "labs to export" "one" "$(words labctl export "o")"
check_eq "what a snapshot is compared with" "db:/ now" \
	"$(words labctl diff one/clean "" | xargs -n1 | sort | xargs)"
define two
check_eq "labs" "one two" "$(words labctl -q status "" | xargs -n1 | sort | xargs)"
check_eq "instances" "one/db two/db" "$(words labctl exec "" | xargs -n1 | sort | xargs)"
check_eq "after exec's --" "" "$(words labctl exec one/db -- "")"
check_match "recipes" "tiny" "$(words labctl image build "ti")"
