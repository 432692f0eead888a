// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus watch`: which kernel threads run where, what else runs outside of the list, and why.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    cause,
    check::Outcome,
    cli::WatchArgs,
    cpuset::{CpuSet, Named},
    error::{Error, Result},
    events::{self, Side},
    machine::Root,
    output::{self, left, right, Role, Style},
    recording::{Recording, Run, Thread},
    stream::{self, Stream},
    sys,
    tracefs::{Instance, Tracefs},
    ui::Ui,
};

pub mod collector;
pub mod session;

use session::Session;

/// How long the buffers are left alone between two looks: they hold tens of thousands of switches.
const INTERVAL: Duration = Duration::from_millis(250);

/// Keeps this process on the CPUs for kernel threads, so that it does not disturb what it watches.
fn confine(cpus: &CpuSet, online: &CpuSet) -> Result<()> {
    let usable = cpus.and(online);

    if usable.is_empty() {
        return Err(Error::new(format_args!(
            "none of CPUs {} is online, and watch runs nowhere else: choose from CPUs {online}",
            Named(cpus)
        )));
    }
    sys::set_affinity(0, &usable).map_err(|error| {
        Error::new(format_args!(
            "cannot keep to CPUs {usable}: {error}; a cpuset may forbid them: run it outside of that"
        ))
    })
}

/// The signals that end the watch as its time does.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));

    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Error::new(format_args!("cannot catch signal {signal}: {error}")))?;
    }
    Ok(stop)
}

/// Returns the CPUs online now.
fn online(root: &Root, before: &CpuSet) -> CpuSet {
    root.read_list("sys/devices/system/cpu/online")
        .unwrap_or_else(|| before.clone())
}

/// Watches, and returns what was seen.
fn watch(
    root: &Root,
    args: &WatchArgs,
    outcome: &Outcome,
    ui: Option<&mut Ui>,
) -> Result<Recording> {
    let stop = stop_flag()?;
    let mut ui = ui;
    let (tracefs, decoder) = Tracefs::find(root)?;
    let stream = Stream::new(tracefs.page, decoder);
    let mut session = Session::new(root, outcome, stream);
    let mut instances = instances(&tracefs, &session, args)?;
    let mut raw = args.raw.as_deref().map(RawFile::create).transpose()?;
    let mut buffer = Vec::new();

    for instance in &mut instances {
        instance.open(&online(root, &session.recording.online))?;
    }
    let begin = sys::monotonic_ns();
    let end = args
        .time
        .map(|time| begin.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    session.begin(begin);
    for instance in &instances {
        instance.record(true)?;
    }

    loop {
        let now = sys::monotonic_ns();
        let last = stop.load(Ordering::Relaxed) || end.is_some_and(|end| now >= end);
        for instance in &mut instances {
            if last {
                instance.record(false)?;
            }
            instance.open(&online(root, &session.recording.online))?;
            let mut failed = Ok(());
            instance.drain(&mut buffer, |cpu, page| {
                if let Some(raw) = raw.as_mut().filter(|_| failed.is_ok()) {
                    failed = raw.save(cpu, page);
                }
                session.stream.feed(cpu, page);
            })?;
            failed?;
        }
        session.take(if last { u64::MAX } else { now });
        session.recording.duration_ns = now.saturating_sub(begin);
        if last {
            session.finish(now);
            break;
        }

        let left = end.map_or(INTERVAL, |end| {
            Duration::from_nanos(end.saturating_sub(now))
        });
        let pause = INTERVAL.min(left);
        match ui.as_deref_mut() {
            Some(ui) => {
                session.look();
                if ui.show(&session.recording, pause)? {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            None => thread::sleep(pause),
        }
    }
    if let Some(raw) = raw {
        raw.finish()?;
    }
    Ok(session.recording)
}

/// Makes the instances: one for what runs on the CPUs outside, and one for the threads on the others
/// and for who wants something of the CPUs outside.
fn instances(tracefs: &Tracefs, session: &Session<'_>, args: &WatchArgs) -> Result<Vec<Instance>> {
    let outside = session.outside();
    let possible = &session.recording.possible;
    let decoder = &session.stream.decoder;
    let marked = |(event, stack)| (event, stack && args.stack);

    if outside.is_empty() {
        let switch = std::iter::once((events::SWITCH, false));
        return Ok(vec![tracefs.instance("", None, switch)?]);
    }
    let mut made = Vec::new();
    let inside = possible.minus(&outside);
    if !inside.is_empty() {
        let events = decoder
            .paths(Side::Everywhere)
            .filter(|(event, _)| !args.outside_only || !events::follows_threads(event))
            .map(marked);
        made.push(tracefs.instance(".inside", Some(&inside), events)?);
    }
    let events = decoder.paths(Side::Outside).map(marked);
    made.push(tracefs.instance("", Some(&outside), events)?);
    Ok(made)
}

/// The pages as they come, for tests and reports of faults.
struct RawFile<'a> {
    path: &'a Path,
    out: BufWriter<File>,
}

impl<'a> RawFile<'a> {
    fn fail(path: &Path, error: &io::Error) -> Error {
        Error::new(format_args!("cannot write {}: {error}", path.display()))
    }

    fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| Self::fail(path, &error))?;
        let out = BufWriter::new(file);
        Ok(Self { path, out })
    }

    fn save(&mut self, cpu: u32, page: &[u8]) -> Result<()> {
        stream::save(&mut self.out, cpu, page).map_err(|error| Self::fail(self.path, &error))
    }

    fn finish(mut self) -> Result<()> {
        let done = self.out.flush();
        done.map_err(|error| Self::fail(self.path, &error))
    }
}

/// The JSON of `watch`: the recording, and what it comes to.
#[derive(Serialize)]
struct Document<'a> {
    intrusions: crate::recording::Intrusions,
    intrusions_exempt: crate::recording::Intrusions,
    #[serde(flatten)]
    recording: &'a Recording,
}

/// Returns the totals for a person, in two lines.
pub fn totals(recording: &Recording) -> [String; 2] {
    let (wrong, exempt) = recording.intrusions();
    let outside = recording.online.minus(&recording.cpus);

    if outside.is_empty() {
        return [
            "no CPU is outside: kernel threads may run on all of them".to_owned(),
            "ask about some with --cpus LIST".to_owned(),
        ];
    }
    [
        format!(
            "intrusions on CPUs {outside}: {} by kernel threads that should not ({})",
            wrong.count,
            output::duration(wrong.ns)
        ),
        format!(
            "and {} by those that have to be there ({})",
            exempt.count,
            output::duration(exempt.ns)
        ),
    ]
}

/// A thread that ran, added up for a person.
pub struct Line<'a> {
    /// The thread.
    pub thread: &'a Thread,
    /// Where it ran.
    pub cpus: CpuSet,
    /// How long.
    pub ns: u64,
    /// How often.
    pub count: u64,
    /// How long outside.
    pub ns_outside: u64,
    /// How often outside.
    pub count_outside: u64,
}

/// Adds up what may be any number in a recording.
fn sum<'a>(runs: impl IntoIterator<Item = &'a Run>, value: fn(&Run) -> u64) -> u64 {
    runs.into_iter()
        .fold(0, |sum, run| sum.saturating_add(value(run)))
}

/// Returns the threads that ran: first those that ran outside and should not, longest first.
pub fn lines(recording: &Recording) -> Vec<Line<'_>> {
    let mut lines: Vec<_> = recording
        .threads
        .iter()
        .filter(|thread| !thread.runs.is_empty())
        .map(|thread| {
            let outside = |run: &&Run| !recording.cpus.contains(run.cpu);
            Line {
                thread,
                cpus: thread.runs.iter().map(|run| run.cpu).collect(),
                ns: sum(&thread.runs, |run| run.ns),
                count: sum(&thread.runs, |run| run.count),
                ns_outside: sum(thread.runs.iter().filter(outside), |run| run.ns),
                count_outside: sum(thread.runs.iter().filter(outside), |run| run.count),
            }
        })
        .collect();

    lines.sort_by_key(|line| {
        let wrong = line.count_outside > 0 && line.thread.class.is_steered();
        (!wrong, std::cmp::Reverse((line.ns_outside, line.ns)))
    });
    lines
}

/// Writes a table.
fn write_text(out: &mut dyn Write, recording: &Recording, style: Style) -> Result<()> {
    for note in &recording.notes {
        writeln!(out, "{}", style.paint(Role::Notable, note))?;
    }
    let lines = lines(recording);
    let columns = [
        right("PID"),
        left("CLASS"),
        left("RAN ON"),
        right("TIMES"),
        right("TIME"),
        right("OUTSIDE"),
        right("TIME"),
        left("NAME"),
    ];
    output::table(
        out,
        style,
        &columns,
        lines.len(),
        |row, column, text| {
            let line = &lines[row];
            text.push_str(&match column {
                0 => line.thread.pid.to_string(),
                1 => line.thread.class.to_string(),
                2 => line.cpus.to_string(),
                3 => line.count.to_string(),
                4 => output::duration(line.ns),
                5 => line.count_outside.to_string(),
                6 => output::duration(line.ns_outside),
                _ => line.thread.name.clone(),
            });
        },
        |row| match (
            lines[row].count_outside > 0,
            lines[row].thread.class.is_steered(),
        ) {
            (true, true) => Role::Bad,
            (true, false) => Role::Notable,
            _ => Role::Plain,
        },
    )?;
    writeln!(
        out,
        "\n{} of {} kernel threads ran, in {} and {} switches",
        lines.len(),
        recording.threads.len(),
        output::duration(recording.duration_ns),
        recording.switches
    )?;
    for line in totals(recording) {
        writeln!(out, "{line}")?;
    }
    cause::text::write(out, &recording.account, style)?;
    if recording.lost > 0 {
        let line = format!(
            "at least {} events were lost: the machine switched faster than it could be read",
            recording.lost
        );
        writeln!(out, "{}", style.paint(Role::Notable, &line))?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
///
/// When there is nothing to watch with, or the output cannot be written.
pub fn run(root: &Root, args: &WatchArgs) -> Result<()> {
    // Not even the first look at the machine is to be taken from elsewhere.
    let machine = crate::machine::Machine::read(root);
    let target = crate::target::Target::find(&machine, args.cpus.as_deref())?;
    confine(&target.cpus, &machine.online)?;
    sys::raise_file_limit();

    let outcome = Outcome::find(root, args.cpus.as_deref(), false)?;
    let full = !args.json
        && !args.text
        && std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal();
    let recording = if full {
        let mut ui = Ui::new()?;
        watch(root, args, &outcome, Some(&mut ui))?
    } else {
        watch(root, args, &outcome, None)?
    };

    if let Some(path) = &args.record {
        output::write_to(Some(path), |out| {
            serde_json::to_writer(&mut *out, &recording)?;
            Ok(writeln!(out)?)
        })?;
    }
    output::write_to(None, |out| {
        if args.json {
            let (intrusions, intrusions_exempt) = recording.intrusions();
            let document = Document {
                intrusions,
                intrusions_exempt,
                recording: &recording,
            };
            serde_json::to_writer(&mut *out, &document)?;
            Ok(writeln!(out)?)
        } else {
            write_text(out, &recording, Style::of_stdout())
        }
    })
}
