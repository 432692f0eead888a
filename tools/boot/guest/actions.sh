# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# (busybox has an sh that knows what is used of bash here)
#
# The table of actions: "do_NAME" is the action NAME, called with what stood
# after the colon. An action adds facts to $facts and returns a status, which
# is itself a fact.

# Facts are gathered in memory and printed at the end in one go, so that no
# console message of the meantime cuts them.
facts=/run/facts

cpus=/sys/devices/system/cpu

# fact WORD KEY=VALUE...: one fact. The caller redirects it and sees to it that
# no value has a space or a '%'; facts.awk encodes those that may have one.
fact() {
	echo "@kc $*"
}

# run_actions LIST: LIST is separated by commas; '+' in an argument stands for a comma.
run_actions() {
	local IFS=, action name arg status
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	unset IFS
	for action; do
		name=${action%%:*}
		arg=
		[ "$name" = "$action" ] || arg=${action#*:}
		arg=${arg//+/,}
		# A guest that hangs shows by this where it was.
		echo "<6>kcguest: $action" >/dev/kmsg
		status=127
		case $name in
		'' | *[!a-z_]*) ;;
		*)
			if type "do_$name" >/dev/null 2>&1; then
				"do_$name" "$arg"
				status=$?
			fi
			;;
		esac
		fact action name="$name" arg="${arg//%/%25}" status=$status >>"$facts"
	done
}

# print_facts: everything to the console, quiet meanwhile, and after it the
# messages that the quiet has kept off the console.
print_facts() {
	local level
	read -r level _ </proc/sys/kernel/printk
	echo "<6>kcguest: done" >/dev/kmsg
	dmesg -n 1
	# The console has a thread of its own, which may be in the middle of a line.
	usleep 50000
	echo
	dmesg -r | awk -v what=klog -f /kc/facts.awk >>"$facts"
	awk '{ print } END { print "@kc end count=" NR }' "$facts"
	dmesg -n "$level"
}

# facts: a snapshot of threads and masks as they are now.
do_facts() {
	set -- /proc/[0-9]* /proc/irq/[0-9]* $cpus/../node/node[0-9]*
	awk -v what=snapshot -f /kc/facts.awk "$@" >>"$facts"
}

# wait:SECONDS
do_wait() {
	sleep "${1:-1}"
}

# offline:LIST and online:LIST, one CPU after the other
do_offline() {
	each_cpu "$1" 0
}

do_online() {
	each_cpu "$1" 1
}

each_cpu() {
	local IFS=, range cpu last status=0
	for range in $1; do
		cpu=${range%-*}
		last=${range#*-}
		while [ "$cpu" -le "$last" ]; do
			{ echo "$2" >"$cpus/cpu$cpu/online"; } 2>/dev/null || status=1
			cpu=$((cpu + 1))
		done
	done
	return $status
}

# write:PATH=VALUE and read:PATH, for what the kernel shows as a file
do_write() {
	{ echo "${1#*=}" >"${1%%=*}"; } 2>/dev/null
}

do_read() {
	awk -v what=file -f /kc/facts.awk "$1" >>"$facts"
}

# steps:STEP;STEP...: changes of CPUs and what becomes of the kernel threads, see steps.c
do_steps() {
	mount -t tracefs tracefs /sys/kernel/tracing
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
	local IFS=';'
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	/kc/steps "$@" >>"$facts" 2>/run/steps.err || {
		fact failed text="$(encode </run/steps.err)" >>"$facts"
		return 1
	}
}

# insmod:FILE
do_insmod() {
	insmod "$1"
}

# selftest:NAME~ARGUMENT...: one of the kernel's own, and what it prints
do_selftest() {
	local IFS='~' name status=0 line
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	unset IFS
	name=$1
	shift
	mkdir -p /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
	PATH=$PATH:/kc bash "/selftests/$name" "$@" >/run/selftest 2>&1 || status=$?
	while read -r line; do
		fact output of="$name" line="$(echo "$line" | encode)"
	done </run/selftest >>"$facts"
	return $status
}

# encode: standard input as one value of a fact
encode() {
	tr '\n\t' '  ' | sed 's/ *$//; s/%/%25/g; s/ /%20/g'
}

# umh: what two usermode helpers that the kernel starts itself see: the pipe
# for a core dump, and modprobe for a file system that nobody has.
do_umh() {
	local pattern modprobe status=0
	: >/run/umh
	read -r pattern </proc/sys/kernel/core_pattern
	if { echo '|/kc/umh-core' >/proc/sys/kernel/core_pattern; } 2>/dev/null; then
		sh -c 'kill -SEGV $$' 2>/dev/null
		# The kernel does not wait for this one.
		await_line core /run/umh || status=1
		echo "$pattern" >/proc/sys/kernel/core_pattern
	fi
	if [ -e /proc/sys/kernel/modprobe ]; then
		read -r modprobe </proc/sys/kernel/modprobe
		echo /kc/umh-modprobe >/proc/sys/kernel/modprobe
		mount -t kcguest none /run 2>/dev/null
		await_line modprobe /run/umh || status=1
		echo "$modprobe" >/proc/sys/kernel/modprobe
	fi
	cat /run/umh >>"$facts"
	return $status
}

# await_line WORD FILE: until FILE has a line with WORD, at most 10 seconds
await_line() {
	local tries=0 line
	while [ $tries -lt 500 ]; do
		while read -r line; do
			case $line in
			*"$1"*) return 0 ;;
			esac
		done <"$2"
		usleep 20000
		tries=$((tries + 1))
	done
	return 1
}
