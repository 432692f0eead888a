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

# write:PATH=VALUE and read:PATH, for what the kernel shows as a file; '~' stands for a space
do_write() {
	local value=${1#*=}
	{ echo "${value//\~/ }" >"${1%%=*}"; } 2>/dev/null
}

do_read() {
	awk -v what=file -f /kc/facts.awk "$1" >>"$facts"
}

# lines:PATH: all of a file
do_lines() {
	awk -v what=lines -f /kc/facts.awk "$1" >>"$facts"
}

# tally: how many events of kthread_cpus are alike, but for the thread, and how many
# kernel threads may run where, for more of them than should be told one by one
do_tally() {
	awk -v what=tally -f /kc/facts.awk /sys/kernel/tracing/trace /proc/[0-9]* >>"$facts"
}

# debug: mounts what the kernel shows to those who look inside
do_debug() {
	mount -t debugfs debugfs /sys/kernel/debug &&
		mount -t tracefs tracefs /sys/kernel/tracing
}

# look:STEP: how things are after a step, and a mark in the trace that it has ended
do_look() {
	do_facts && echo "$1" >/sys/kernel/tracing/trace_marker
}

# affinity:NAME=LIST: as taskset does it, for the thread of that name
do_affinity() {
	local file name
	for file in /proc/[0-9]*/comm; do
		read -r name <"$file" || continue
		[ "$name" = "${1%=*}" ] || continue
		file=${file%/comm}
		taskset -pc "${1##*=}" "${file#/proc/}" >/dev/null 2>&1
		return
	done
	return 2
}

mount_cgroups() {
	[ ! -e /sys/fs/cgroup/cgroup.procs ] || return 0
	mkdir -p /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
}

# cgroups_v1: cpusets of version 1, for what comes after it
do_cgroups_v1() {
	mkdir -p /sys/fs/cgroup
	mount -t cgroup -o cpuset cgroup /sys/fs/cgroup
}

enable_cpusets() {
	mount_cgroups
	[ ! -e /sys/fs/cgroup/tasks ] || return 0
	echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
}

# isolate:LIST: a partition of its own for these CPUs; isolate: its end
do_isolate() {
	local group=/sys/fs/cgroup/isolated
	if [ -z "$1" ]; then
		rmdir $group
		return
	fi
	enable_cpusets &&
		mkdir $group &&
		echo "$1" >$group/cpuset.cpus &&
		echo isolated >$group/cpuset.cpus.partition
}

# debugger: has the host look at this machine with a debugger, which shows by the
# value of a variable that it has done so
do_debugger() {
	local file=/proc/sys/kernel/panic before now
	before=$(cat $file)
	now=$before
	echo "<6>kcguest: ask debugger" >/dev/kmsg
	while [ "$now" = "$before" ]; do
		sleep 1
		now=$(cat $file)
	done
	echo "$before" >$file
}

# steps:STEP;STEP...: changes of CPUs and what becomes of the kernel threads, see steps/main.c
do_steps() {
	mount -t tracefs tracefs /sys/kernel/tracing
	enable_cpusets
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

# faults:NAME~NAME...: every memory allocation of these (or all) operations fails once, see faults.c
do_faults() {
	local IFS='~' status=0
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	unset IFS
	enable_cpusets || return
	/kc/faults "$@" >/run/faults 2>&1 || status=$?
	output_of faults /run/faults
	return $status
}

# leaks[:WORD]: the memory that nothing points at (kmemleak=on), looked for twice, as
# what is young may be on its way; told as that of leaks or leaks-WORD
do_leaks() {
	local file=/sys/kernel/debug/kmemleak
	# How often it must have been found before it is told.
	echo 1 >/sys/module/kmemleak/parameters/min_unref_scans || return
	echo scan >$file && sleep 6 && echo scan >$file && cat $file >/run/leaks || return
	output_of "leaks${1:+-$1}" /run/leaks
}

# insmod:FILE~PARAMETER...
do_insmod() {
	local IFS='~'
	# shellcheck disable=SC2086
	insmod $1
}

# one_outside:THREAD: has it alone on CPU 5, as the guide says how
do_one_outside() {
	local p
	for p in 2 $(ps -o pid,ppid | awk '$2 == 2 { print $1 }'); do taskset -cp 0-1 "$p"; done >/dev/null 2>&1
	echo 3 >/sys/devices/virtual/workqueue/cpumask
	echo 0-1,5 >/sys/devices/system/cpu/kthread_cpus
	taskset -cp 5 "$(pidof "$1")" >/dev/null
}

# firsts:COUNT: where the threads of interrupts begin that a module has, which comes and goes
do_firsts() {
	local trace=/sys/kernel/tracing tries=0
	[ -d $trace/instances ] || mount -t tracefs tracefs $trace
	echo 1 >$trace/events/sched/sched_switch/enable || return
	while [ $tries -lt "$1" ]; do
		insmod /kc/kcbrief.ko && rmmod kcbrief || return
		tries=$((tries + 1))
	done
	echo 0 >$trace/events/sched/sched_switch/enable
	awk -v what=firsts -f /kc/facts.awk $trace/trace >>"$facts"
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
	mount_cgroups
	set -- "/selftests/$name" "$@"
	case $name in
	*.sh) set -- bash "$@" ;;
	esac
	PATH=$PATH:/kc "$@" >/run/selftest 2>&1 || status=$?
	while read -r line; do
		fact output of="$name" line="$(echo "$line" | encode)"
	done </run/selftest >>"$facts"
	return $status
}

# interrupted:NAME~FILE=VALUE: a selftest whose processes are killed when FILE has VALUE, but
# for what leads a session of its own, which is to end by itself
do_interrupted() {
	local IFS='~=' name file value tries=0 pid session
	# shellcheck disable=SC2086
	set -- $1
	unset IFS
	name=$1 file=$2 value=$3
	mount_cgroups
	until [ "$(cat "$file" 2>/dev/null)" = "$value" ]; do
		[ $tries -lt 5000 ] || return 1
		# On a busy host, that may have gone by unseen: once more, when it has ended.
		if ! pidof "$name" >/dev/null; then
			"/selftests/$name" >/run/selftest 2>&1 &
			# Until it has its name.
			usleep 50000
		fi
		usleep 5000
		tries=$((tries + 1))
	done
	for pid in $(pidof "$name"); do
		read -r _ _ _ _ _ session _ <"/proc/$pid/stat"
		[ "$session" = "$pid" ] || kill -KILL "$pid"
	done
	tries=0
	while pidof "$name" >/dev/null; do
		[ $tries -lt 1000 ] || return 1
		usleep 50000
		tries=$((tries + 1))
	done
}

# readonly:DIRECTORY: what is mounted there, as in a container
do_readonly() {
	mount -o remount,ro "$1"
}

# uring: where io_uring has threads for a process
do_uring() {
	local status=0
	enable_cpusets || return
	/kc/uring >/run/uring 2>&1 || status=$?
	output_of uring /run/uring
	return $status
}

# differential:FILE: the steps of a file, and what comes of each, see differential.c
do_differential() {
	local status=0
	enable_cpusets || return
	/kc/differential "$1" >/run/differential 2>&1 || status=$?
	output_of differential /run/differential
	return $status
}

# tool:ARGUMENT~ARGUMENT...: the program kthread-cpus, and what it prints
do_tool() {
	local IFS='~' status=0 name=$1
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	unset IFS
	[ -d /sys/kernel/tracing/instances ] || mount -t tracefs tracefs /sys/kernel/tracing
	/kc/kthread-cpus "$@" >/run/tool 2>&1 || status=$?
	output_of "tool:$name" /run/tool
	return $status
}

# planted:NAME~NAME...: what kthread-cpus makes of these (plants.sh), with CPUs 0 and 2 for the kernel
do_planted() {
	local IFS='~' status=0 instances=/sys/kernel/tracing/instances watch tries=0 name
	set -f
	# shellcheck disable=SC2086
	set -- $1
	set +f
	unset IFS
	# shellcheck source=plants.sh
	. /kc/plants.sh
	for name in failover net_failover virtio_net; do
		[ ! -f "/kc/$name.ko" ] || insmod "/kc/$name.ko" || status=1
	done
	[ -d $instances ] || mount -t tracefs tracefs /sys/kernel/tracing
	/kc/kthread-cpus watch --cpus 0,2 --json >/run/planted.json 2>&1 &
	watch=$!
	# The last thing that it does before it looks.
	until [ "$(cat "$instances/kthread-cpus.$watch/tracing_on" 2>/dev/null)" = 1 ] ||
		[ $tries -ge 2000 ]; do
		usleep 50000
		tries=$((tries + 1))
	done
	sleep 1
	for name; do
		echo "<6>kcguest: plant $name" >/dev/kmsg
		"plant_$name" >/run/plant 2>&1 || {
			status=1
			fact failed text="$(encode </run/plant) ($name)" >>"$facts"
		}
	done
	sleep 1
	kill -INT $watch
	wait $watch || status=1
	output_of planted /run/planted.json
	return $status
}

# output_of NAME FILE: one process for all lines, which may be long and many
output_of() {
	local name=${1//%/%25}
	sed "s/%/%25/g; s/ /%20/g; s|^|@kc output of=$name line=|" "$2" >>"$facts"
}

# load:SECONDS: every CPU gives the kernel work to do, until the time is up
do_load() {
	local cpu
	for cpu in "$cpus"/cpu[0-9]*; do
		timeout "$1" taskset -c "${cpu##*/cpu}" \
			sh -c 'while :; do mount -t kcguest none /run; usleep 10000; done' 2>/dev/null &
	done
}

# encode: standard input as one value of a fact
encode() {
	tr '\n\t' '  ' | sed 's/ *$//; s/%/%25/g; s/ /%20/g'
}

# umh: what usermode helpers that the kernel starts itself see: the pipe for a
# core dump, modprobe for a file system that nobody has, another one that this one
# has it start, and the helper for events of devices.
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
		mount -t kcouter none /run 2>/dev/null
		await_line modprobe /run/umh || status=1
		echo "$modprobe" >/proc/sys/kernel/modprobe
	fi
	if [ -e /sys/kernel/uevent_helper ]; then
		echo /kc/umh-uevent >/sys/kernel/uevent_helper
		echo change >$cpus/cpu0/uevent
		# Nor for this one.
		await_line uevent /run/umh || status=1
		echo >/sys/kernel/uevent_helper
	fi
	cat /run/umh >>"$facts"
	return $status
}

# umh_waiting: where a helper may run that goes on while a partition takes CPUs 6 and 7,
# and gives them back
do_umh_waiting() {
	local pattern helper
	: >/run/umh
	: >/run/waiting
	read -r pattern </proc/sys/kernel/core_pattern
	echo '|/kc/umh-waiting' >/proc/sys/kernel/core_pattern
	sh -c 'kill -SEGV $$' 2>/dev/null &
	await_line waiting /run/umh || return
	echo "$pattern" >/proc/sys/kernel/core_pattern
	await_line "" /run/waiting || return
	read -r helper </run/waiting
	do_isolate 6-7 || return
	fact umh helper=during allowed="$(allowed_of "$helper")" >>/run/umh
	do_isolate "" || return
	fact umh helper=after allowed="$(allowed_of "$helper")" >>/run/umh
	kill "$helper"
	cat /run/umh >>"$facts"
}

allowed_of() {
	awk '/^Cpus_allowed_list:/ { print $2 }' "/proc/$1/status"
}

# irqs: on which CPUs interrupts have fired while the serial port had something to
# send. Nobody has placed that one.
do_irqs() {
	local tries=0 serial
	read -r serial </sys/class/tty/console/active || return 1
	serial=/dev/${serial##* }
	cat /proc/interrupts >/run/interrupts
	# The last one has everything behind it.
	while [ $tries -lt 20 ]; do
		printf '\n\n\n\n' >"$serial"
		tries=$((tries + 1))
	done
	stty -echo <"$serial"
	cat /proc/interrupts >>/run/interrupts
	awk -v what=fired -f /kc/facts.awk /run/interrupts >>"$facts"
}

# work: on which CPUs unbound workqueues, and rescuers, run what helpers, a disk in
# memory and writeback give them to do
do_work() {
	local trace=/sys/kernel/tracing event disk tries=0
	[ -d $trace/instances ] || mount -t tracefs tracefs $trace
	event=$trace/events/workqueue/workqueue_execute_start/enable
	disk=$(losetup -f) || return 1
	truncate -s 1M /run/disk
	losetup "$disk" /run/disk || return 1
	echo 1 >$event || return 1
	while [ $tries -lt 8 ]; do
		dd if=/dev/zero of="$disk" bs=64k count=4 conv=fsync 2>/dev/null
		mount -t kcguest none /run 2>/dev/null
		tries=$((tries + 1))
	done
	sync
	echo 0 >$event
	awk -v what=work -f /kc/facts.awk $trace/trace >>"$facts"
	losetup -d "$disk"
	rm /run/disk
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

# timers:CPU: a busy loop on CPU, and timers and delayed work that CPU 0 arms while it is
# often idle; how many timers of others expire on CPU, and where the work has run
do_timers() {
	local trace=/sys/kernel/tracing instance event loop status=0
	[ -d $trace/instances ] || mount -t tracefs tracefs $trace
	instance=$trace/instances/timers
	mkdir $instance || return 1
	echo 8192 >$instance/buffer_size_kb
	# Before there is randomness, all of them look alike.
	echo nohash-ptr >$instance/trace_options
	for event in timer_start timer_expire_entry hrtimer_start hrtimer_expire_entry; do
		echo 1 >$instance/events/timer/$event/enable
	done
	rm -f /run/busy
	taskset "$(printf '%x' $((1 << $1)))" sh -c ': >/run/busy; while :; do :; done' &
	loop=$!
	while [ ! -e /run/busy ] && kill -0 $loop; do usleep 10000; done
	# What it was before does not count.
	sleep 1
	taskset 1 sh -c 'echo delay >/proc/kcwork'
	echo >$instance/trace
	# No other process meanwhile: what it leaves to RCU has the tick go on for a while, and a
	# CPU with a tick keeps its timers.
	taskset 1 sleep 4
	echo 0 >$instance/tracing_on
	echo delayed >/proc/kcwork || status=1
	kill $loop
	awk -v what=timers -v target="$1" -f /kc/facts.awk $instance/trace >>"$facts"
	fact delayed "$(cat /proc/kcwork)" >>"$facts"
	rmdir $instance
	return $status
}
