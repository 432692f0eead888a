# SPDX-License-Identifier: GPL-2.0
#
# Prints facts, one process for all of them: a fork for each thread would take
# longer than the boot. "what" is start, snapshot, klog, file, lines, tally, fired, work,
# firsts or timers.

BEGIN {
	for (i = 1; i < 256; i++)
		code[sprintf("%c", i)] = sprintf("%%%02x", i)
	if (what == "start")
		start()
	else if (what == "snapshot")
		snapshot()
	else if (what == "file")
		file(ARGV[1])
	else if (what == "lines")
		lines(ARGV[1])
	else if (what == "tally")
		tally()
	if (what !~ /^(klog|fired|work|firsts|timers)$/)
		exit
}

# /proc/interrupts twice: what has a number, and by how much it has grown.
what == "fired" && /^ +CPU/ {
	columns = NF
	for (i = 1; i <= NF; i++)
		cpu[i] = substr($i, 4)
	next
}

what == "fired" {
	# The first one is the clock, which the kernel has placed.
	if ($1 !~ /^[0-9]+:$/ || $1 == "0:")
		next
	number = substr($1, 1, length($1) - 1)
	# Nor can anybody place one that each CPU has for itself.
	if (first_line("/proc/irq/" number "/effective_affinity_list") == "")
		next
	list = ""
	for (i = 1; i <= columns; i++) {
		if (number in seen && $(i + 1) > count[number, cpu[i]])
			list = list (list == "" ? "" : ",") cpu[i]
		count[number, cpu[i]] = $(i + 1)
	}
	if (number in seen && list != "")
		print "@kc fired irq=" number " name=" encode($NF) " cpus=" list
	seen[number] = 1
	next
}

# The trace as text: "NAME-PID [CPU] ...", and the names of those that work for
# unbound workqueues.
what == "work" {
	if (!match($0, /\[[0-9]+\]/))
		next
	on = substr($0, RSTART + 1, RLENGTH - 2) + 0
	if ($1 ~ /^kworker\/u/)
		ran["unbound", on]++
	else if ($1 ~ /^kworker\/R/)
		ran["rescuer", on]++
	next
}

# The first time that each thread of an interrupt is switched to.
what == "firsts" {
	if (!match($0, /\[[0-9]+\]/))
		next
	on = substr($0, RSTART + 1, RLENGTH - 2) + 0
	if (match($0, /next_comm=irq\/.* next_pid=[0-9]+/) && !began[substr($0, RSTART, RLENGTH)]++)
		first[on]++
	next
}

what == "timers" {
	if (!match($0, /\[[0-9]+\]/))
		next
	on = substr($0, RSTART + 1, RLENGTH - 2) + 0
	if (!match($0, /timer=[0-9a-fx]+/))
		next
	id = substr($0, RSTART, RLENGTH)
	# Who pins one to another CPU wants it there.
	if (/timer_start:/)
		armed[id] = /flags=[A-Z|]*P|PINNED/ ? target : on
	else if (on == target && id in armed)
		expired[armed[id] == target ? "own" : "foreign"]++
	next
}

END {
	if (what == "timers")
		print "@kc timers own=" expired["own"] + 0 " foreign=" expired["foreign"] + 0
	for (key in first)
		print "@kc first cpu=" key " count=" first[key]
	for (key in ran) {
		split(key, part, SUBSEP)
		print "@kc worked kind=" part[1] " cpu=" part[2] " count=" ran[key]
	}
}

# Lines of "dmesg -r", that is "<level>[time] text": those of warning level and
# worse, and everything that names the option.
{
	if (match($0, /^<[0-9]+>/) == 0)
		next
	level = substr($0, 2, RLENGTH - 2) % 8
	if (level > 4 && $0 !~ /kthread_cpus/)
		next
	text = substr($0, RLENGTH + 1)
	time = ""
	if (match(text, /^\[ *[0-9.]+\] ?/)) {
		time = substr(text, 2, RLENGTH - 2)
		gsub(/[^0-9.]/, "", time)
		text = substr(text, RLENGTH + 1)
	}
	print "@kc klog level=" level " time=" time " text=" encode(text)
}

# Percent-encodes everything but printable ASCII, and '%' itself.
function encode(s,    out, i, c) {
	if (s !~ /[^!-$&-~]/)
		return s
	out = ""
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		out = out (c ~ /[!-$&-~]/ ? c : code[c])
	}
	return out
}

# The first line of a file, or an empty text if there is none.
function first_line(path,    line) {
	line = ""
	if ((getline line < path) < 0)
		return ""
	close(path)
	return line
}

function exists(path,    line, got) {
	got = (getline line < path)
	close(path)
	return got > 0
}

# The environment of init comes as lines, because not every awk reads NULs.
function start(    line, eq) {
	print "@kc cmdline value=" encode(first_line("/proc/cmdline"))
	while ((getline line < "/run/environ") > 0) {
		eq = index(line, "=")
		print "@kc env name=" encode(substr(line, 1, eq - 1)) " value=" encode(substr(line, eq + 1))
	}
	close("/run/environ")
}

function mask(name, path) {
	if (exists(path))
		print "@kc mask name=" name " list=" encode(first_line(path))
}

function snapshot(    i, base) {
	print "@kc snapshot uptime=" first_word(first_line("/proc/uptime"))
	base = "/sys/devices/system/cpu/"
	mask("possible", base "possible")
	mask("present", base "present")
	mask("online", base "online")
	mask("isolated", base "isolated")
	mask("nohz_full", base "nohz_full")
	mask("partitions", "/sys/fs/cgroup/cpuset.cpus.isolated")
	mask("kthread_cpus", base "kthread_cpus")
	hexmask("irqdefault", "/proc/irq/default_smp_affinity")
	base = "/sys/devices/virtual/workqueue/"
	hexmask("wqmask", base "cpumask")
	hexmask("wqrequested", base "cpumask_requested")
	hexmask("wqisolated", base "cpumask_isolated")
	for (i = 1; i < ARGC; i++) {
		if (ARGV[i] ~ /^\/proc\/irq\//)
			irq(ARGV[i])
		else if (ARGV[i] ~ /^\/proc\//)
			thread(ARGV[i])
		else
			node(ARGV[i])
	}
}

function hexmask(word, path) {
	if (exists(path))
		print "@kc " word " mask=" encode(first_line(path))
}

function first_word(s) {
	sub(/ .*/, "", s)
	return s
}

function last_part(path) {
	sub(/.*\//, "", path)
	return path
}

function node(path,    id) {
	id = last_part(path)
	sub(/^node/, "", id)
	if (id ~ /^[0-9]+$/)
		print "@kc node id=" id " list=" encode(first_line(path "/cpulist"))
}

function irq(path) {
	if (exists(path "/smp_affinity_list"))
		print "@kc irq id=" last_part(path) \
			" affinity=" encode(first_line(path "/smp_affinity_list")) \
			" effective=" encode(first_line(path "/effective_affinity_list"))
}

# The name is in parentheses in "stat" and may hold any character, ')' too.
# After the last ')' come state (field 3), flags (9) and the last CPU (39).
function thread(path,    line, name, field, last, allowed) {
	line = first_line(path "/stat")
	if (line == "")
		return
	name = substr(line, index(line, "(") + 1)
	last = match(name, /\)[^)]*$/)
	split(substr(name, last + 2), field, " ")
	name = substr(name, 1, last - 1)
	allowed = ""
	while ((getline line < (path "/status")) > 0)
		# It has another name while it has other CPUs: both are of one moment.
		if (line ~ /^Name:\tkworker\/R-/)
			name = substr(line, 7)
		else if (line ~ /^Cpus_allowed_list:/) {
			allowed = substr(line, 20)
			break
		}
	close(path "/status")
	if (allowed == "")
		return
	print "@kc thread pid=" last_part(path) " name=" encode(name) " flags=" field[7] \
		" state=" field[1] " cpu=" field[37] " allowed=" allowed \
		" kthread=" bit(field[7], 2097152) " bound=" bit(field[7], 67108864)
}

function bit(value, mask) {
	return int(value / mask) % 2
}

function file(path) {
	if (exists(path))
		print "@kc file path=" encode(path) " value=" encode(first_line(path))
	else
		print "@kc file path=" encode(path)
}

# All lines of a file.
function lines(path,    line) {
	while ((getline line < path) > 0)
		print "@kc output of=" encode(path) " line=" encode(line)
	close(path)
}

# The trace, and then threads: what is like in them is counted. A name counts up to "/".
function tally(    i, key, count, name, line) {
	while ((getline line < ARGV[1]) > 0)
		if (sub(/^.* kthread_affinity: comm=/, "", line)) {
			name = line
			sub(/( pid=|\/).*/, "", name)
			sub(/^.* old=/, "", line)
			count["event " name " old=" line]++
		}
	close(ARGV[1])
	for (i = 2; i < ARGC; i++) {
		name = ""
		while ((getline line < (ARGV[i] "/status")) > 0) {
			if (sub(/^Name:\t/, "", line)) {
				name = line
				sub(/\/.*/, "", name)
			} else if (sub(/^Cpus_allowed_list:\t/, "", line)) {
				count["thread " name " " line]++
				break
			}
		}
		close(ARGV[i] "/status")
	}
	for (key in count)
		print "@kc output of=tally line=" encode(key " " count[key])
}
