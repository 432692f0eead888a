# SPDX-License-Identifier: GPL-2.0
"""Tests of what is read from the guest and of the limits."""

from __future__ import annotations

import figures
import pytest
from figures import BadOutput, Limit

TRACE = "cpuhp/3-29      [003] .....  "
BEGIN = "@kb begin kernel=7.3.4 cpus=0-3"
BOOT = "@kb boot [    0.951379] Run /kc/bench as init process"


def enter(time: int, go: str = "online", case: str = "stay", count: int = 64) -> str:
    """Returns the line of a step's begin."""
    return (
        f"@kb trace go={go} case={case} count={count} {TRACE}{time}: cpuhp_enter: "
        "cpu: 0003 target: 235 step: 189 (kthreads_online_cpu)"
    )


def leave(time: int, go: str = "online", case: str = "stay", count: int = 64) -> str:
    """Returns the line of a step's end."""
    return (
        f"@kb trace go={go} case={case} count={count} {TRACE}{time}: cpuhp_exit:  "
        "cpu: 0003  state: 189 step: 189 ret: 0"
    )


def console(*lines: str) -> str:
    """Returns a console with `lines`, ended as a terminal ends them."""
    return "\r\n".join(["[    0.1] hello", BEGIN, BOOT, *lines, "@kc end count=9", ""])


def test_the_cost_of_a_step_is_the_median_of_its_turns() -> None:
    """One turn that an interrupt has lengthened does not count."""
    figures_read = figures.read_console(
        console(enter(100), leave(300), enter(1000), leave(1900), enter(5000), leave(5250))
    )
    assert figures_read["step/online/stay/64"] == 250


def test_directions_cases_and_counts_are_kept_apart() -> None:
    """Each is a figure of its own."""
    figures_read = figures.read_console(
        console(
            enter(0, go="offline"),
            leave(1, go="offline"),
            enter(10, case="none"),
            leave(12, case="none"),
            enter(20, count=1024),
            leave(23, count=1024),
        )
    )
    assert figures_read["step/offline/stay/64"] == 1
    assert figures_read["step/online/none/64"] == 2
    assert figures_read["step/online/stay/1024"] == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([enter(1)], "entered but not left"),
        ([leave(1)], "left but not entered"),
        ([enter(1), enter(2)], "entered twice"),
        ([enter(1), leave(2, case="none")], "left but not entered"),
        (["@kb trace go=online case=stay count=1 [LOST 3 EVENTS]"], "not a trace line"),
        ([], "no step was traced, no memory and no change"),
    ],
)
def test_a_trace_with_holes_is_refused(lines: list[str], message: str) -> None:
    """A lost event must not make a figure out of two steps."""
    with pytest.raises(BadOutput, match=message):
        figures.read_console(console(*lines))


def test_a_guest_that_gives_up_is_an_error_with_its_reason() -> None:
    """What went wrong in the guest reaches the user."""
    with pytest.raises(BadOutput, match="CPU 3 does not go offline"):
        figures.guest_lines(console("@kb broken CPU 3 does not go offline"))


def test_a_guest_that_never_began_is_an_error() -> None:
    """A console without measurements has no figures."""
    with pytest.raises(BadOutput, match="not begun"):
        figures.guest_lines("[    0.1] hello\n@kc end count=0\n")


def test_threads_that_did_not_move_make_the_case_worthless() -> None:
    """The case "back" measures threads that come back."""
    moved = "moved case=back count=64 before=0-3 after=3"
    figures.check_moves([moved])
    with pytest.raises(BadOutput, match="did not move"):
        figures.check_moves([moved.replace("0-3", "3")])


def test_crs_is_named_by_kind_and_number_of_others() -> None:
    """The median is taken, not the least or the mean."""
    line = "crs kind=pref others=8192 rounds=2000 alive=8192 min=1 median=48073 mean=9 max=99"
    assert figures.crs_costs([line]) == {"crs/pref/8192": 48073.0}


def test_the_time_of_boot_is_in_nanoseconds() -> None:
    """The log has microseconds."""
    assert figures.boot_cost([BOOT.removeprefix("@kb ")]) == {"boot/init": 951379000.0}
    with pytest.raises(BadOutput):
        figures.boot_cost(["boot nothing"])
    with pytest.raises(BadOutput):
        figures.boot_cost([])


def test_parsers() -> None:
    """Each list has a figure for both languages, of which a side of the comparison has one."""
    lines = ["parser bits=8 c=200 rust=100 name= 0 , 3 ", "parser bits=64 c=9 rust=3 name=0-7:1/2"]
    costs = figures.parser_costs(lines)
    assert figures.side_of(costs | {"boot/init": 1.0}, "c") == {
        "parser/ 0 , 3 /8": 200.0,
        "parser/0-7:1/2/64": 9.0,
        "boot/init": 1.0,
    }
    assert figures.side_of(costs, "rust") == {"parser/ 0 , 3 /8": 100.0, "parser/0-7:1/2/64": 3.0}
    with pytest.raises(BadOutput):
        figures.parser_costs(["parser bits=8 error=-22"])


def test_the_parsers_have_a_table_of_their_own() -> None:
    """It has the lists as they are written."""
    base, patched = {"boot/init": 2.0, "parser/0-7:1/2/64": 9.0}, {"parser/0-7:1/2/64": 3.0}
    kernels, parsers = figures.tables(base, patched)
    assert "| boot to init |  | 2 | n/a | n/a |" in kernels
    assert "parser" not in kernels
    assert parsers.splitlines()[0] == "| list | bits | C | Rust | Rust / C |"
    assert parsers.splitlines()[2:] == ["| `0-7:1/2` | 64 | 9 | 3 | 0.3333 |"]


def test_memory_alone_is_a_measurement() -> None:
    """The boots for it do not touch the CPUs."""
    line = "@kb memory kind=pref threads=1024 events=9 lost=0 bytes=2048"
    measured = figures.read_console(console(line))
    assert figures.memory_of(measured, 8192) == {"memory/pref/8192": 2.0}


def test_the_size_is_that_of_one_file() -> None:
    """What is not understood is no figure."""
    text = "   text\t   data\t    bss\t    dec\t    hex\tfilename\n 30\t 20\t 1\t 51\t 33\tf\n"
    assert figures.size_costs(text, 64) == {
        "size/text/64": 30,
        "size/data/64": 20,
        "size/bss/64": 1,
    }
    for bad in ("", text.replace("text", "what"), text + " 1\t 1\t 1\t 3\t 3\tg\n"):
        with pytest.raises(BadOutput, match="not the size"):
            figures.size_costs(bad, 64)


def test_memory_is_per_thread_and_needs_a_whole_trace() -> None:
    """A lost free would count as memory that is kept."""
    line = "memory kind=pref threads=1024 events=9 lost=0 bytes=2048"
    assert figures.memory_costs([line]) == {"memory/pref": 2.0}
    for hole in (line.replace("lost=0", "lost=1"), line.replace("events=9", "events=0")):
        with pytest.raises(BadOutput, match="holes"):
            figures.memory_costs([hole])


def test_a_hold_of_the_lock_is_the_longest_of_all() -> None:
    """With less holds than batches of threads were moved, some were not seen."""
    line = "hold kind=prefs threads=6400 changes=2 holds=200 shortest=9 longest=900"
    assert figures.hold_costs([line]) == {"hold/prefs/6400": 900.0}
    with pytest.raises(BadOutput, match="not every hold"):
        figures.hold_costs([line.replace("holds=200", "holds=199")])


def test_creations_during_a_change_have_a_median_and_a_longest() -> None:
    """Without a change they mean nothing."""
    line = "create kind=node others=64 changes=3 rounds=9 alive=64 min=1 median=5 mean=6 max=40"
    assert figures.create_costs([line]) == {"create/node/median": 5.0, "create/node/longest": 40.0}
    with pytest.raises(BadOutput, match="nothing was changed"):
        figures.create_costs([line.replace("changes=3", "changes=0")])


def test_a_timer_has_a_cost_on_each_cpu() -> None:
    """And one more with the option."""
    line = "timer kind=wheel cpu=3 rounds=5 alive=0 min=1 median=290 mean=3 max=4"
    assert figures.timer_costs([line]) == {"timer/wheel/3": 290.0}


def test_changes_alone_are_a_measurement() -> None:
    """What the boot for them says of itself is not that of the others."""
    line = "@kb hold kind=unbound threads=1 changes=1 holds=1 shortest=9 longest=9"
    measured = figures.read_console(console(line))
    assert figures.change_of(measured) == {"hold/unbound/1": 9.0}


def test_the_median_over_images_takes_each_figure_by_itself() -> None:
    """An image is not good or bad as a whole."""
    runs = [{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 7.0}, {"a": 2.0, "b": 8.0}]
    assert figures.medians(runs) == {"a": 2.0, "b": 8.0}


@pytest.mark.parametrize(
    ("kind", "most", "than", "patched", "kept"),
    [
        ("figure", 3000, "", 3000, True),
        ("figure", 3000, "", 3001, False),
        ("ratio", 1.03, "", 1030, True),
        ("ratio", 1.03, "", 1031, False),
        ("more", 64, "", 1064, True),
        ("more", 64, "", 1065, False),
        ("times", 10, "plain", 9000, True),
        ("times", 10, "plain", 9001, False),
    ],
)
def test_a_limit_is_the_most_that_is_kept(
    kind: str, most: float, than: str, patched: float, kept: bool
) -> None:
    """The limit itself is kept, the next value is not."""
    limit = Limit("x", kind, most, "why", than)
    (verdict,) = figures.check({"x": 1000, "plain": 1}, {"x": patched, "plain": 900}, [limit])
    assert verdict.kept is kept
    assert str(verdict).startswith("ok" if kept else "FAIL")


def test_a_limit_with_nothing_to_compare_is_an_error() -> None:
    """What was not measured has not kept a limit."""
    limit = Limit("x", "ratio", 1, "why")
    with pytest.raises(BadOutput, match="was measured"):
        figures.check({"x": 1}, {"y": 1}, [limit])
    with pytest.raises(BadOutput, match="unpatched"):
        figures.check({}, {"x": 1}, [limit])
    with pytest.raises(BadOutput, match="no figure plain"):
        figures.check({"plain": 1}, {"x": 1}, [Limit("x", "times", 1, "why", "plain")])


def whole() -> dict[str, float]:
    """Returns figures that have one of everything."""
    return {
        "parser/0-3/64": 100.0,
        "parser/,,,,/8": 100.0,
        "parser/0-8191:1/2/8192": 2000.0,
        "step/online/stay/8192": 900.0,
        "step/online/none/8192": 900.0,
        "step/online/inherited/8192": 900.0,
        "step/online/placed/8192": 900.0,
        "step/online/back/64": 40000.0,
        "step/online/back/8192": 5e6,
        "scale/masks/online/masks/4096": 178474.0,
        "crs/unbound/0": 50000.0,
        "crs/placed_pref/8192": 50000.0,
        **{f"create/{kind}/median": 40000.0 for kind in ("unbound", "node", "pref")},
        **{f"create/{kind}/longest": 400000.0 for kind in ("unbound", "node", "pref")},
        "hold/unbound/32768": 100000.0,
        **{
            f"timer/{prefix}{kind}/{cpu}": 300.0
            for prefix in ("", "confined_")
            for kind in ("wheel", "hrtimer", "delayed")
            for cpu in (0, 3)
        },
        "boot/init": 1e9,
        "memory/pref/64": 7394.0,
        "memory/pref/8192": 7394.0,
        "size/text/64": 3e6,
        "size/text/8192": 3e6,
    }


# The unpatched kernel's, where they are not as those above.
MAINLINE = {"step/online/back/8192": 6e6, "parser/0-8191:1/2/8192": 40000.0, "parser/0-3/64": 125.0}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("step/online/stay/8192", 1001, False),
        ("step/online/inherited/8192", 1001, False),
        ("step/online/placed/8192", 1001, False),
        ("step/online/back/64", 40001, False),
        ("step/online/back/8192", 5.1e6, True),
        ("step/online/back/8192", 5.11e6, False),
        ("scale/masks/online/masks/4096", 178475, False),
        ("crs/unbound/0", 50001, False),
        ("crs/placed_pref/8192", 50001, False),
        ("create/node/longest", 400001, False),
        ("hold/unbound/32768", 100001, False),
        ("timer/confined_delayed/3", 330, True),
        ("timer/confined_delayed/3", 331, False),
        ("boot/init", 1.005e9, True),
        ("boot/init", 1.0051e9, False),
        ("memory/pref/64", 7410, True),
        ("memory/pref/8192", 7411, False),
        ("size/text/64", 3e6 + 45 * 1024, True),
        ("size/text/8192", 3e6 + 45 * 1024 + 1, False),
        ("parser/0-3/64", 101, False),
        ("parser/,,,,/8", 200, True),
        ("parser/,,,,/8", 201, False),
        ("parser/0-8191:1/2/8192", 2001, False),
    ],
)
def test_the_limits_of_the_issues_are_all_found_and_can_fail(
    name: str, value: float, kept: bool
) -> None:
    """Each limit has figures of that name, and one that breaks it breaks no other."""
    base = whole() | MAINLINE
    assert all(verdict.kept for verdict in figures.check(base, whole()))
    broken = [v.name for v in figures.check(base, whole() | {name: value}) if not v.kept]
    assert broken == ([] if kept else [name])


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("(empty)", 2.0),
        (",", 2.0),
        ("1,000 no-break spaces", 2.0),
        ("1,000 commas and an error", 2.0),
        ("0 and 1,000 separators", 2.0),
        ("0,20,40,60", 0.8),
        ("a number of 1,000 digits", 0.8),
    ],
)
def test_only_of_lists_that_nobody_writes_rust_may_take_longer(name: str, most: float) -> None:
    """Each list has one limit."""
    name = f"parser/{name}/8"
    verdicts = figures.check(whole() | MAINLINE | {name: 100.0}, whole() | {name: 100.0})
    assert [verdict.limit.most for verdict in verdicts if verdict.name == name] == [most]


def test_the_step_with_no_thread_has_no_limit_of_its_own() -> None:
    """With no thread, none must come back."""
    base, patched = whole() | MAINLINE, whole()
    base["step/online/back/0"], patched["step/online/back/0"] = 1.0, 2.0
    assert all(verdict.kept for verdict in figures.check(base, patched))


def test_the_table_has_both_and_says_what_there_is_not() -> None:
    """The unpatched kernel has no step going offline."""
    text = figures.table(
        {"step/online/stay/8192": 1598295.0, "boot/init": 1000.0},
        {"step/online/stay/8192": 1000.0, "step/offline/stay/0": 5.0, "boot/init": 1010.0},
    )
    assert "| step online, none has to move | 8,192 | 1,598,295 | 1,000 | 0.0006257 |" in text
    assert "| step offline, none has to move | 0 | n/a | 5 | n/a |" in text
    assert "| boot to init |  | 1,000 | 1,010 | 1.01 |" in text


def test_a_creation_during_a_change_is_a_row_with_words() -> None:
    """The unpatched kernel cannot change where its threads are."""
    text = figures.table({}, {"create/node/longest": 49210.0, "hold/unbound/32768": 9003.0})
    assert "while 32,768 others move, on a node | longest | n/a | 49,210 | n/a |" in text
    assert "engine's lock while all move, unbound | 32,768 | n/a | 9,003 | n/a |" in text


def test_numbers_of_threads_are_in_the_order_of_numbers() -> None:
    """1,024 comes after 64."""
    names = {f"step/online/stay/{count}": 1.0 for count in (1024, 0, 8192, 64)}
    rows = figures.table(names, names).splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["0", "64", "1,024", "8,192"]
