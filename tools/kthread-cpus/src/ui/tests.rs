// SPDX-License-Identifier: GPL-2.0

//! The view, drawn on a terminal that is none.

use ratatui::{
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
    Terminal,
};

use super::{
    draw::draw,
    view::{Action, Tab, View},
};
use crate::{
    cause::{table::Means, Account, Cause, Kind, Origin, Share},
    check::Verdict,
    recording::{Recording, Run, Thread},
    target::{Obeys, Source},
    threads::Class,
};

fn cause(kind: Kind, name: &str, means: Means, count: u64, ns: u64) -> Cause {
    Cause {
        kind,
        name: name.to_owned(),
        detail: match kind {
            Kind::Work => "mm_percpu_wq".to_owned(),
            _ => String::new(),
        },
        count,
        ns,
        longest_ns: ns / count,
        longest_at: 1,
        longest_cpu: 3,
        cpus: vec![Share {
            cpu: 3,
            count,
            ns,
            longest_ns: ns / count,
        }],
        histogram: Vec::new(),
        origins: vec![Origin {
            who: "kworker/0:1".to_owned(),
            pid: 7,
            cpu: 0,
            via: String::new(),
            count,
            stack: Vec::new(),
        }],
        others: 0,
        why: format!("why {name} is there."),
        remedy: format!("what moves {name}"),
        means,
    }
}

fn thread(pid: u32, name: &str, class: Class, cpu: u32, ns: u64) -> Thread {
    Thread {
        pid,
        name: name.to_owned(),
        class,
        allowed: None,
        verdict: Verdict::Outside,
        reason: String::new(),
        cpu: 0,
        runs: vec![Run { cpu, ns, count: 2 }],
    }
}

/// A machine with 4 CPUs, 2 of them for kernel threads, where three causes and two threads were seen.
fn recording() -> Recording {
    let set = |text: &str| crate::cpuset::CpuSet::parse_any(text).unwrap();

    Recording {
        version: 1,
        started: 0,
        duration_ns: 1_000_000_000,
        switches: 3,
        lost: 1,
        kernel: String::new(),
        cmdline: String::new(),
        possible: set("0-3"),
        online: set("0-3"),
        isolated: set(""),
        nohz_full: set(""),
        cpus: set("0-1"),
        source: Source::Argument,
        obeys: Obeys::Unknown,
        notes: Vec::new(),
        advice: Vec::new(),
        nodes: Vec::new(),
        topology: Default::default(),
        settings: Vec::new(),
        threads: vec![
            thread(15, "rcu_preempt", Class::Unbound, 3, 2_000_000),
            thread(9, "kswapd0", Class::Preferred, 0, 9_000_000),
        ],
        account: Account {
            causes: vec![
                cause(Kind::Work, "vmstat_update", Means::Boot, 3, 9_000),
                cause(Kind::Timer, "tick_nohz_handler", Means::Nature, 100, 8_000),
                cause(Kind::Thread, "rcu_preempt", Means::Option, 1, 7_000),
            ],
            ..Account::default()
        },
    }
}

fn press(view: &mut View, code: KeyCode) -> Action {
    view.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn keys(view: &mut View, keys: &str) {
    for key in keys.chars() {
        assert_eq!(press(view, KeyCode::Char(key)), Action::None, "{key}");
    }
}

/// Draws, and returns the lines of the screen.
fn screen(view: &mut View, width: u16, height: u16) -> Vec<String> {
    screen_of(&recording(), view, width, height)
}

/// Draws a recording, and returns the lines of the screen.
fn screen_of(recording: &Recording, view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();

    terminal.draw(|frame| draw(frame, recording, view)).unwrap();
    let text = terminal.backend().to_string();
    let lines = text.lines().map(|line| line.trim_matches('"').to_owned());
    lines.collect()
}

/// Returns the names of the rows of a table, from top to bottom.
fn rows(view: &mut View) -> Vec<&'static str> {
    let names = [
        "vmstat_update",
        "tick_nohz_handler",
        "rcu_preempt",
        "kswapd0",
    ];
    let lines = screen(view, 120, 30);
    let table = lines
        .iter()
        .skip_while(|line| !line.contains("TIME"))
        .take_while(|line| !line.starts_with("──") && !line.contains('─'));

    table
        .filter_map(|line| names.into_iter().find(|name| line.contains(name)))
        .collect()
}

#[test]
fn terminals_of_all_sizes() {
    let help = View {
        help: true,
        ..View::default()
    };
    let details = View {
        details: true,
        ..View::default()
    };
    for (width, height) in [(1, 1), (7, 3), (20, 5), (40, 12), (80, 24), (300, 80)] {
        for mut view in [View::default(), help.clone(), details.clone()] {
            for _ in 0..2 {
                screen(&mut view, width, height);
                view.tab = Tab::Threads;
            }
        }
    }
}

#[test]
fn a_wide_terminal_shows_everything() {
    let text = screen(&mut View::default(), 200, 50).join("\n");

    for words in [
        "intrusions on CPUs 2-3: 2 by kernel threads",
        "1 event lost",
        "what ran outside: 3  by time",
        "WHAT MOVES IT",
        "vmstat_update on mm_percpu_wq",
        "kworker/0:1 (7) on CPU 0",
        "boot option",
        "-> what moves vmstat_update",
        "q end  ? keys",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn a_narrow_terminal_shows_what_tells_most() {
    let lines = screen(&mut View::default(), 45, 20);
    let text = lines.join("\n");

    assert!(text.contains("MOVED BY"), "{text}");
    assert!(!text.contains("WANTED BY"), "{text}");
    assert!(text.contains("vmstat_update"), "{text}");
    // The remedy of the row is there in full.
    assert!(text.contains("-> what moves vmstat_update"), "{text}");
    assert!(lines.last().unwrap().starts_with("q end  ? keys"), "{text}");
}

#[test]
fn a_machine_with_many_cpus() {
    let mut recording = recording();
    recording.online = crate::cpuset::CpuSet::parse_any("0-255").unwrap();
    for (width, height) in [(40, 20), (80, 24), (200, 60)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let view = &mut View::default();
        terminal
            .draw(|frame| draw(frame, &recording, view))
            .unwrap();
        let text = terminal.backend().to_string();
        // There is room for the causes, whatever the number of CPUs.
        for words in ["vmstat_update", "rcu_preempt", "-> what moves"] {
            assert!(text.contains(words), "{width}x{height} {words}\n{text}");
        }
    }
}

#[test]
fn every_cpu_is_seen() {
    let mut recording = recording();
    recording.online = crate::cpuset::CpuSet::parse_any("0-255").unwrap();
    let last = &mut recording.threads[0].runs[0];
    last.cpu = 255;
    for (width, height, row, heading) in [
        (200, 60, " 255▂", "by CPU: · none"),
        (80, 24, "│192 ·", "by CPU──"),
        (60, 20, "│192 ·", "2 to a cell"),
        (40, 12, "│  0 ▂", "8 CPUs to a cell"),
    ] {
        let text = screen_of(&recording, &mut View::default(), width, height).join("\n");
        assert!(text.contains(row), "{width}x{height}\n{text}");
        assert!(text.contains(heading), "{width}x{height}\n{text}");
        // That of the last CPU is there.
        let cpus = text.split("what ran outside").next().unwrap();
        let bars = cpus.split("to a cell").last().unwrap();
        assert!(
            bars.trim_end_matches(['─', '└', '┘', '\n', '│', ' '])
                .ends_with('▂'),
            "{width}x{height}\n{text}"
        );
    }
}

#[test]
fn the_colours_of_cpus() {
    let mut recording = recording();
    let exempt = thread(16, "migration/2", Class::PerCpu, 2, 1_000);
    recording.threads.push(exempt);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal
        .draw(|frame| draw(frame, &recording, &mut View::default()))
        .unwrap();
    let buffer = terminal.backend().buffer();
    // CPU 1 is for kernel threads; 2 has one that has to be there, and 3 one that should not.
    let colours = [1, 2, 3].map(|cpu| buffer[(1 + cpu * 6 + 4, 4)].fg);
    assert_eq!(colours, [Color::Green, Color::Yellow, Color::Red]);
    // A row can be read whatever the colours of the terminal are.
    let row = (0..24).rfind(|y| buffer[(0, *y)].symbol() == "t").unwrap();
    let kinds = (0..80).map(|x| buffer[(x, row)].fg);
    assert!(kinds.clone().any(|colour| colour == Color::Red));
    assert_eq!(buffer[(0, row)].fg, Color::Reset);
}

#[test]
fn numbers_are_there_with_any_list_and_width() {
    let mut recording = recording();
    recording.online = crate::cpuset::CpuSet::parse_any("0-255").unwrap();
    recording.cpus = crate::cpuset::CpuSet::parse_any("0-255:1/2").unwrap();
    recording.threads[0].runs[0].cpu = 5;
    for (width, wrong, exempt) in [
        (100, "intrusions on 128 CPUs: 2 by kernel threads", "and 0"),
        (40, "2 by threads that should not (2.0 ms)", "0 that have"),
        (30, "2 intrusions (2.0 ms)", "0 that have to be (0 ns)"),
    ] {
        let lines = screen_of(&recording, &mut View::default(), width, 24);
        assert!(
            lines[0].starts_with("1.00 s: 128 CPUs, 1 event lost"),
            "{lines:#?}"
        );
        assert!(lines[1].starts_with(wrong), "{lines:#?}");
        assert!(lines[2].starts_with(exempt), "{lines:#?}");
    }
}

#[test]
fn nothing_is_cut_without_a_mark() {
    let mut recording = recording();
    let long = "a_function_whose_name_is_as_long_as_those_of_the_kernel_are";
    recording.account.causes[0].name = long.to_owned();
    let text = screen_of(&recording, &mut View::default(), 80, 24).join("\n");
    assert!(text.contains("a_function_whose_name_is_as_…"), "{text}");
    // Of the keys, as many as fit as a whole.
    for width in 20..140 {
        let lines = screen(&mut View::default(), width, 24);
        let last = lines.last().unwrap().trim_end();
        let ends = ["q end", "? keys", "threads", "sort", "kind", "by"];
        let more = ["pause", "details", "search", "reverse", "all"];
        let mut whole = ends.iter().chain(&more);
        assert!(whole.any(|end| last.ends_with(end)), "{last}");
    }
}

#[test]
fn sorting() {
    let mut view = View::default();
    let by_time = ["vmstat_update", "tick_nohz_handler", "rcu_preempt"];

    assert_eq!(rows(&mut view), by_time);
    // Longest, and then times.
    keys(&mut view, "s");
    assert_eq!(rows(&mut view)[0], "rcu_preempt");
    keys(&mut view, "s");
    assert_eq!(rows(&mut view)[0], "tick_nohz_handler");
    keys(&mut view, "r");
    assert_eq!(rows(&mut view)[0], "rcu_preempt");
    assert!(screen(&mut view, 120, 30)
        .join("\n")
        .contains("by times, reversed"));
    keys(&mut view, "SS");
    assert_eq!(rows(&mut view), by_time);
    // The threads have an order of their own.
    press(&mut view, KeyCode::Tab);
    assert_eq!(rows(&mut view), ["rcu_preempt", "kswapd0"]);
    keys(&mut view, "s");
    assert_eq!(rows(&mut view), ["kswapd0", "rcu_preempt"]);
}

#[test]
fn filters() {
    let mut view = View::default();

    // Threads come first, then work; kinds of which there is nothing are left out.
    screen(&mut view, 120, 30);
    keys(&mut view, "f");
    assert_eq!(rows(&mut view), ["rcu_preempt"]);
    keys(&mut view, "f");
    assert_eq!(rows(&mut view), ["vmstat_update"]);
    let text = screen(&mut view, 120, 30).join("\n");
    assert!(
        text.contains("what ran outside: 1 of 3  by time  only kind work"),
        "{text}"
    );
    assert!(screen(&mut view, 40, 12)
        .join("\n")
        .contains("what ran outside: 1 of 3  only kind work"));
    keys(&mut view, "f");
    assert_eq!(rows(&mut view), ["tick_nohz_handler"]);
    keys(&mut view, "FFF");
    assert_eq!(rows(&mut view).len(), 3);
    keys(&mut view, "m");
    assert_eq!(rows(&mut view), ["rcu_preempt"]);
    keys(&mut view, "a");
    assert_eq!(rows(&mut view).len(), 3);
    // A text, of which keys are letters while it is typed.
    keys(&mut view, "/TICK");
    assert_eq!(rows(&mut view), ["tick_nohz_handler"]);
    press(&mut view, KeyCode::Backspace);
    press(&mut view, KeyCode::Enter);
    keys(&mut view, "j");
    assert_eq!(view.search, "TIC");
    assert_eq!(press(&mut view, KeyCode::Esc), Action::None);
    assert_eq!(rows(&mut view).len(), 3);
    keys(&mut view, "to");
    assert_eq!(rows(&mut view), ["rcu_preempt"]);
    // Once too often, it ends nothing.
    for _ in 0..3 {
        assert_eq!(press(&mut view, KeyCode::Esc), Action::None);
    }
    assert_eq!(rows(&mut view).len(), 2);
}

#[test]
fn what_has_no_row_is_told() {
    let mut view = View::default();
    keys(&mut view, "/zzz");
    let text = screen(&mut view, 80, 24).join("\n");
    assert!(text.contains("Nothing fits; a shows all again."), "{text}");

    let mut empty = recording();
    empty.account = Account::default();
    let text = screen_of(&empty, &mut View::default(), 80, 24).join("\n");
    assert!(text.contains("Nothing has been seen so far."), "{text}");
    empty.cpus = empty.online.clone();
    let text = screen_of(&empty, &mut View::default(), 80, 24).join("\n");
    assert!(text.contains("No CPU is outside"), "{text}");
}

#[test]
fn the_row_that_is_chosen() {
    let mut view = View::default();
    screen(&mut view, 120, 30);
    let mut chosen = |code| {
        press(&mut view, code);
        let text = screen(&mut view, 120, 30).join("\n");
        let at = text.find("-> what moves ").unwrap();
        text[at + 14..]
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };

    assert_eq!(chosen(KeyCode::Down), "tick_nohz_handler");
    assert_eq!(chosen(KeyCode::End), "rcu_preempt");
    assert_eq!(chosen(KeyCode::Down), "rcu_preempt");
    assert_eq!(chosen(KeyCode::PageUp), "vmstat_update");
    // It is seen on a terminal with room for one.
    press(&mut view, KeyCode::End);
    let text = screen(&mut view, 80, 7).join("\n");
    assert!(text.contains("rcu_preempt"), "{text}");
    press(&mut view, KeyCode::Enter);
    let text = screen(&mut view, 120, 40).join("\n");
    assert!(
        text.contains("1 times woken by kworker/0:1 (7) on CPU 0"),
        "{text}"
    );
    assert!(text.contains("CPU 3: 1 times"), "{text}");
}

#[test]
fn details_are_there_when_asked_for() {
    let mut recording = recording();
    let share = recording.account.causes[0].cpus[0];
    let shares = (0..100).map(|cpu| Share { cpu, ..share });
    recording.account.causes[0].cpus = shares.collect();
    for (width, height) in [(40, 12), (80, 15), (80, 24), (120, 40)] {
        let mut view = View::default();
        press(&mut view, KeyCode::Enter);
        let text = screen_of(&recording, &mut view, width, height).join("\n");
        assert!(text.contains("-> what moves vmstat"), "{text}");
        assert!(text.contains("more: PgDn"), "{text}");
        // To the last line, and not beyond.
        for _ in 0..70 {
            press(&mut view, KeyCode::PageDown);
            screen_of(&recording, &mut view, width, height);
        }
        let text = screen_of(&recording, &mut view, width, height).join("\n");
        assert!(text.contains("CPU 99: 3 times"), "{text}");
        assert!(!text.contains("more: PgDn"), "{text}");
        assert_eq!(view.selected, 0);
        press(&mut view, KeyCode::Down);
        assert_eq!((view.selected, view.scroll.first), (1, 0));
    }
}

#[test]
fn a_row_is_followed() {
    let mut recording = recording();
    let mut view = View::default();
    screen_of(&recording, &mut view, 80, 24);
    press(&mut view, KeyCode::Down);
    screen_of(&recording, &mut view, 80, 24);
    // The second gets to be the first, and is still the one that is chosen.
    recording.account.causes[1].ns = 10_000;
    let text = screen_of(&recording, &mut view, 80, 24).join("\n");
    assert!(text.contains("-> what moves tick_nohz_handler"), "{text}");
    assert_eq!(view.selected, 0);
    // So does one of which all is shown; without that, the first is the first.
    press(&mut view, KeyCode::Enter);
    screen_of(&recording, &mut view, 80, 24);
    recording.account.causes[0].ns = 11_000;
    screen_of(&recording, &mut view, 80, 24);
    assert_eq!(view.selected, 1);
    press(&mut view, KeyCode::Enter);
    press(&mut view, KeyCode::Home);
    screen_of(&recording, &mut view, 80, 24);
    recording.account.causes[1].ns = 12_000;
    screen_of(&recording, &mut view, 80, 24);
    assert_eq!(view.selected, 0);
}

#[test]
fn help_on_a_small_terminal() {
    let mut view = View::default();
    keys(&mut view, "?");
    assert!(screen(&mut view, 40, 12).join("\n").contains("end, and"));
    let mut seen = String::new();
    for _ in 0..30 {
        press(&mut view, KeyCode::PageDown);
        seen += &screen(&mut view, 40, 12).join("\n");
    }
    assert!(view.help && seen.contains("SIGUSR1") && seen.contains("something else"));
    press(&mut view, KeyCode::Char('x'));
    assert!(!view.help);
    // Where all of it fits, any key closes it.
    keys(&mut view, "?");
    screen(&mut view, 120, 40);
    press(&mut view, KeyCode::Down);
    assert!(!view.help);
}

#[test]
fn pause_help_and_end() {
    let mut view = View::default();

    assert_eq!(press(&mut view, KeyCode::Char('p')), Action::Pause);
    view.paused = true;
    assert!(screen(&mut view, 80, 24)[0]
        .starts_with("PAUSED 1.00 s: CPUs 0-1 for kernel threads, 1 event lost"));
    keys(&mut view, "?");
    assert!(screen(&mut view, 80, 24)
        .join("\n")
        .contains("pause what is shown"));
    // Any key closes it, and does nothing else.
    keys(&mut view, "q");
    assert_eq!(press(&mut view, KeyCode::Char('q')), Action::End);
    keys(&mut view, "/");
    let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
    assert_eq!(view.key(control('l')), Action::Redraw);
    assert_eq!(view.key(control('p')), Action::None);
    assert_eq!(view.key(control('c')), Action::End);
    assert_eq!(view.search, "");
    view.typing = false;
    view.message = Some("wrote page.html".to_owned());
    assert_eq!(screen(&mut view, 80, 24)[23].trim(), "wrote page.html");
    keys(&mut view, "j");
    assert_eq!(view.message, None);
}
