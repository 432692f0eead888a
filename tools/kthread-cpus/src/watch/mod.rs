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
    recording::Recording,
    runs::{lines, totals},
    stream::{self, Stream},
    sys,
    tracefs::{Instance, Tracefs},
    ui::Ui,
};

pub mod collector;
pub mod outputs;
pub mod prometheus;
pub mod roster;
pub mod session;

use outputs::Outputs;
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

/// Returns what is set by any of the signals.
fn flag(signals: &[i32]) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));

    for &signal in signals {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(|error| Error::new(format_args!("cannot catch signal {signal}: {error}")))?;
    }
    Ok(flag)
}

/// Writes what has been seen so far, in the course of the watch. What goes wrong does not end it.
fn report_now(
    args: &WatchArgs,
    outputs: &mut Outputs<'_>,
    now: u64,
    recording: &Recording,
    ui: Option<&mut Ui>,
) {
    let said = match (outputs.has_report(), &ui) {
        (true, _) => match outputs.write(now, recording) {
            Ok(paths) => format!("wrote {}", paths.join(", ")),
            Err(error) => error.to_string(),
        },
        (false, None) => match print(args, recording) {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        (false, Some(_)) => "no file to write to: begin it with --report FILE".to_owned(),
    };

    say(ui, said);
}

/// Says something to the user.
fn say(ui: Option<&mut Ui>, text: String) {
    match ui {
        Some(ui) => ui.say(text),
        None => eprintln!("kthread-cpus: {text}"),
    }
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
    outputs: &mut Outputs<'_>,
    mut ui: Option<&mut Ui>,
) -> Result<Recording> {
    let stop = flag(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT])?;
    let report = flag(&[libc::SIGUSR1])?;
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

        let asked = report.swap(false, Ordering::Relaxed);
        let due = outputs.is_due(now);
        if asked || due || ui.is_some() {
            session.look();
        }
        if due {
            if let Err(error) = outputs.write_metrics(now, &session.recording) {
                say(ui.as_deref_mut(), error.to_string());
            }
        }
        if asked {
            let recording = &session.recording;
            report_now(args, outputs, now, recording, ui.as_deref_mut());
        }

        let left = end.map_or(INTERVAL, |end| {
            Duration::from_nanos(end.saturating_sub(now))
        });
        let pause = INTERVAL.min(left);
        match ui.as_deref_mut() {
            Some(ui) => {
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
        output::span(recording.duration_ns),
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
    let mut outputs = Outputs::new(args)?;
    let full = !args.json
        && !args.text
        && std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal();
    let recording = if full {
        let mut ui = Ui::new()?;
        watch(root, args, &outcome, &mut outputs, Some(&mut ui))?
    } else {
        watch(root, args, &outcome, &mut outputs, None)?
    };

    // Should a file fail, what has been seen is not lost.
    let written = outputs.write(sys::monotonic_ns(), &recording);
    print(args, &recording)?;
    written.map(|_| ())
}

/// Prints what has been seen.
fn print(args: &WatchArgs, recording: &Recording) -> Result<()> {
    output::write_to(None, |out| {
        if args.json {
            let (intrusions, intrusions_exempt) = recording.intrusions();
            let document = Document {
                intrusions,
                intrusions_exempt,
                recording,
            };
            serde_json::to_writer(&mut *out, &document)?;
            Ok(writeln!(out)?)
        } else {
            write_text(out, recording, Style::of_stdout())
        }
    })
}
