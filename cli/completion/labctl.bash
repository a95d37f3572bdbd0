# bash completion for labctl                                -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Names come from a labd that runs; completion never starts one.

_labctl_ask()
{
	timeout 2 labctl -q --no-start "$@" 2>/dev/null
}

_labctl_instances()
{
	local labs
	_labctl_ask ls instances
	labs=$(_labctl_ask ls labs)
	# LAB may be left out where there is only one
	case $labs in
	'' | *$'\n'*) ;;
	*) _labctl_ask ls instances | sed 's,.*/,,' ;;
	esac
}

# LAB/SNAPSHOT; the lab need be said only once
_labctl_snapshots()
{
	local labs
	_labctl_ask ls snapshots
	labs=$(_labctl_ask ls labs)
	case $1,$labs in
	0,*$'\n'*) ;;
	*) _labctl_ask ls snapshots | sed 's,.*/,,' | sort -u ;;
	esac
}

_labctl_files()
{
	compopt -o filenames 2>/dev/null
	compgen -f -- "$1"
}

# The words that may come at a place: COMMAND, the word before, arguments so far
_labctl_words()
{
	local command=$1 verb=$2 n=$3 cur=$4
	case $command in
	up | plan)
		[ "$n" = 0 ] || return
		_labctl_ask ls labs
		_labctl_files "$cur"
		;;
	down | status | golden | suspend | clone | env | openstack) [ "$n" != 0 ] || _labctl_ask ls labs ;;
	run)
		[ "$n" != 0 ] || _labctl_ask ls labs
		[ "$n" = 0 ] || compgen -c -- "$cur"
		;;
	check) if [ "$n" = 0 ]; then _labctl_ask ls labs; else _labctl_ask ls services; fi ;;
	export)
		[ "$n" != 0 ] || _labctl_ask ls labs
		_labctl_files "$cur"
		;;
	import) [ "$n" != 0 ] || _labctl_files "$cur" ;;
	test)
		[ "$n" != 0 ] || _labctl_ask ls labs
		_labctl_files "$cur"
		;;
	reset)
		[ "$n" != 0 ] || _labctl_ask ls labs
		_labctl_instances
		;;
	rm)
		_labctl_ask ls labs
		_labctl_ask ls instances
		;;
	ls) echo labs instances networks snapshots services images recipes ;;
	show)
		_labctl_ask ls labs
		_labctl_instances
		_labctl_ask ls images
		;;
	exec | console | logs | capture) [ "$n" != 0 ] || _labctl_instances ;;
	cp)
		compopt -o nospace
		_labctl_files "$cur"
		_labctl_instances | sed 's,$,:/,'
		;;
	screenshot)
		[ "$n" != 0 ] || _labctl_instances
		[ "$n" != 1 ] || _labctl_files "$cur"
		;;
	edit)
		compopt -o nospace
		_labctl_instances | sed 's,$,:/,'
		;;
	start | stop | kill | pause | resume | reboot) _labctl_instances ;;
	snapshot)
		case $n in
		0) echo create ls show diff rm restore ;;
		*) _labctl_ask ls labs
			[ "$verb" = create ] || _labctl_ask ls snapshots ;;
		esac
		;;
	diff)
		[ "$n" = 0 ] || echo now
		[ "$n" != 2 ] || compopt -o nospace
		[ "$n" -gt 1 ] || _labctl_snapshots "$n"
		[ "$n" = 0 ] || _labctl_ask ls instances | sed 's,.*/,,; s,$,:/,' | sort -u
		;;
	image)
		case $n,$verb in
		0,*) echo build import export ls rm lock show manifest log ;;
		1,build)
			_labctl_ask ls recipes
			_labctl_files "$cur"
			;;
		1,import | 2,export) _labctl_files "$cur" ;;
		1,lock)
			_labctl_ask ls images
			_labctl_ask ls labs
			;;
		*,rm | 1,export | 1,show | 1,manifest | 1,log) _labctl_ask ls images ;;
		esac
		;;
	trash)
		case $n in
		0) echo ls restore rm empty ;;
		*) [ "$n" != 1 ] && [ "$verb" != rm ] || _labctl_ask trash ls ;;
		esac
		;;
	mount | umount)
		compopt -o filenames 2>/dev/null
		compgen -d -- "$cur"
		;;
	wait | cancel) [ "$n" != 0 ] || _labctl_ask jobs ;;
	help) _labctl_commands ;;
	esac
}

_labctl_commands()
{
	labctl help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p'
}

# The long options that the usage of a command names
_labctl_options()
{
	labctl help ${1:+"$1"} 2>/dev/null | grep -o -- '--[a-z][a-z-]*' | sort -u
	[ -z "$1" ] || echo --json --quiet --help --socket --no-start
}

_labctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} command='' verb='' n=0 i word words
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--socket | -t | --timeout | --from | -e | --env | -F | --format | --lines | --tail | --only | --out | -w | --write) ((i++)) || true ;;
		--) [ "$command" != exec ] || return 0 ;;
		-n) [ "$command" = rm ] || ((i++)) || true ;;
		-*) ;;
		*)
			if [ -z "$command" ]; then
				command=$word
			else
				[ -n "$verb" ] || verb=$word
				((n++)) || true
			fi
			;;
		esac
	done
	case $cur in
	-*) words=$(_labctl_options "$command") ;;
	*) if [ -z "$command" ]; then
		words=$(_labctl_commands)
	else
		words=$(_labctl_words "$command" "$verb" "$n" "$cur")
	fi ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _labctl labctl
