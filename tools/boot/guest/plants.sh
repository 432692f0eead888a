# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# (busybox has an sh that knows what is used of bash here)
#
# Disturbances of CPU 1, planted from CPU 0 or 2 as far as that goes: "plant_NAME" plants NAME.
# actions.sh has the action that calls them, and tests/long_disturbances.py says what
# kthread-cpus must make of each.

# Where the kernel is asked, what is disturbed, and who idles otherwise: masks of CPUs.
here=1
there=2
idle=4

# from MASK COMMAND...
from() {
	taskset "$@"
}

# during COMMAND: what runs on the other CPU until that has ended
during() {
	from $there /kc/plant "$1" &
	local busy=$!
	shift
	# Not before it has begun.
	sleep 1
	"$@"
	kill $busy
}

# A timer of a CPU that idles expires on a busy one. What the kernel's threads arm on that
# one themselves, when the host is busy, would need another remedy.
plant_timer() {
	/kc/kthread-cpus set --best-effort 0,2 >/dev/null && during spin from $idle /kc/plant timer
}

# Work for each CPU in turn, eight times, queued by a task.
plant_work() {
	from $here sh -c 'echo run percpu 24 >/proc/kcwork'
}

# schedule_on_each_cpu()
plant_each() {
	from $here cat /proc/sys/vm/stat_refresh
}

plant_ipi() {
	from $here /kc/plant ipi
}

plant_rcu() {
	during rcu sleep 1
}

# The same where the threads of rcu_nocbs= have the callbacks. Nothing confines these here.
plant_nocb() {
	do_affinity rcuop/1=1 && during rcu sleep 1
}

# The serial port has something to send.
plant_irq() {
	local irq
	irq=$(irq_of ttyS0) && echo $there >"/proc/irq/$irq/smp_affinity" &&
		from $here sh -c 'for i in 1 2 3 4 5 6 7 8; do printf "\n\n\n\n" >/dev/ttyS0; done' &&
		echo $here >"/proc/irq/$irq/smp_affinity"
}

# Answers that a network card receives, whose driver may be built in. The name of its interrupt
# begins with that of the device.
plant_net() {
	local irq
	irq=$(irq_of virtio0-input.0) && echo $there >"/proc/irq/$irq/smp_affinity" &&
		from $here /kc/plant net
}

plant_vmstat() {
	echo 1 >/proc/sys/vm/stat_interval
	during pages sleep 3
}

# A tracepoint that is switched off gives its probes back by a callback of SRCU, on the CPU
# that did it if the kernel was told so: srcutree.convert_to_big=1.
plant_srcu() {
	local event=/sys/kernel/tracing/events/sched/sched_process_hang/enable
	# shellcheck disable=SC2016 # It is that shell's.
	from $there sh -c 'for i in 1 2 3 4; do echo 1 >"$0"; echo 0 >"$0"; done' $event
}

# A static key is switched; in a kernel that has no keys in its code, a static call.
plant_key() {
	local file=/proc/sys/kernel/sched_schedstats config=/proc/config.gz
	[ ! -e $config ] || zcat $config | grep -q '^CONFIG_JUMP_LABEL=y' ||
		file=/sys/kernel/tracing/events/sched/sched_process_hang/enable
	# shellcheck disable=SC2016 # It is that shell's.
	from $here sh -c 'for i in 1 0; do echo $i >"$0" || exit; done' $file
}

# Loaded and unloaded; plant_work needs it later.
plant_module() {
	local module=/kc/dummy.ko
	[ -f $module ] || module=/kc/kcload.ko
	from $here insmod $module && from $here rmmod "$(basename $module .ko)" &&
		from $here insmod $module
}

# Pages that the other CPU holds back are asked for.
plant_compact() {
	during pages from $here sh -c 'for i in 1 2 3 4; do echo 1 >/proc/sys/vm/compact_memory; done'
}

# irq_of NAME: the number of the interrupt with that handler
irq_of() {
	awk -v name="$1" '$NF == name { sub(":", "", $1); print $1; found = 1 } END { exit !found }' /proc/interrupts
}
