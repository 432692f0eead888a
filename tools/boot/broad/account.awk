# SPDX-License-Identifier: GPL-2.0
#
# Prints what interrupts and timers are accounted for with (account.py), as facts. "what" is
# interrupts or timers.

# Every interrupt, as grep shows how often it has fired on each CPU: where has it since? Lines
# NUMBER:GOES-TO:FIRED-ON:FLAGS:NAME.
what == "interrupts" {
	split($0, part, /[\/:]/)
	number = part[5]
	base = "/sys/kernel/irq/" number
	name = first_line(base "/actions")
	# Nobody handles it.
	if (name == "")
		next
	columns = split(part[7], before, ",")
	split(first_line(base "/per_cpu_count"), now, ",")
	fired = ""
	for (i = 1; i <= columns; i++)
		if (now[i] != before[i])
			fired = fired (fired == "" ? "" : ",") i - 1
	print "@kc output of=interrupts line=" encode(number ":" \
		first_line("/proc/irq/" number "/effective_affinity_list") ":" \
		fired ":" flags_of("/sys/kernel/debug/irq/irqs/" number) ":" name)
	next
}

# A trace that has lost events tells nothing of timers.
what == "timers" && /^# entries-in-buffer/ {
	split($3, entries, "/")
	lost = entries[1] != entries[2]
	next
}

# The trace as text: "NAME-PID [CPU] ...". Lines FUNCTION:KIND:ARMED:EXPIRED:COUNT.
what == "timers" {
	if (!match($0, /\[[0-9]+\]/))
		next
	on = substr($0, RSTART + 1, RLENGTH - 2) + 0
	if (!match($0, /timer=[0-9a-fx]+/))
		next
	id = substr($0, RSTART, RLENGTH)
	if (/timer_start:/) {
		# What starts it may be on another CPU than it: of a timer, the event tells, and one
		# of high resolution stays where it is running.
		armed[id] = on
		if (id in running)
			armed[id] = running[id]
		else if (match($0, / cpu=[0-9]+/))
			armed[id] = substr($0, RSTART + 5, RLENGTH - 5) + 0
		kind[id] = /flags=[A-Z|]*P|PINNED/ ? "pinned" : "free"
	} else if (/timer_expire_entry:/) {
		if (/hrtimer_/)
			running[id] = on
		if (id in armed && match($0, /function=[^ ]+/)) {
			name = substr($0, RSTART + 9, RLENGTH - 9)
			count[name ":" kind[id] ":" armed[id] ":" on]++
		}
	} else if (/timer_expire_exit:/)
		delete running[id]
}

END {
	for (key in count)
		print "@kc output of=expiries line=" encode(key ":" count[key])
	exit lost
}

function encode(s) {
	gsub(/%/, "%25", s)
	gsub(/ /, "%20", s)
	return s
}

# The first line of a file, or an empty text if there is none.
function first_line(path,    line) {
	line = ""
	if ((getline line < path) < 0)
		return ""
	close(path)
	return line
}

# What the kernel knows of an interrupt, commas between.
function flags_of(path,    line, flags) {
	flags = ""
	while ((getline line < path) > 0)
		if (sub(/^ +IRQD_/, "IRQD_", line))
			flags = flags (flags == "" ? "" : ",") line
	close(path)
	return flags
}
