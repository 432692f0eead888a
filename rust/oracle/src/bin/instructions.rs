// SPDX-License-Identifier: GPL-2.0

//! Counts the instructions of the two parsers under callgrind, which does not depend on what else
//! the machine does, and fails when Rust takes more of them than it may.
//!
//!     instructions            needs valgrind; scripts/bench-parser builds it as the kernel is built
//!     instructions --lists    prints the lists for the guest: bits, hexadecimal digits (- for none), name

use std::{
    env,
    ffi::CString,
    fs,
    hint::black_box,
    io,
    path::Path,
    process::{Command, ExitCode},
};

use kthread_cpus_core::cpulist::{self, Mask};
use kthread_cpus_oracle::{
    bitmap_parselist_of_c, compare,
    inputs::{self, Input},
    lists::{self, Rng},
};

/// How many of C's instructions Rust may take.
const LIMIT: f64 = 0.8;

/// The same where C steps from group to group.
const GROUPS: (&str, f64) = ("0-8191:1/2", 0.05);

/// The same for lists that nobody writes: of nothing but separators or with many of these, which are
/// skipped one by one, and with many regions of many digits, which are read twice.
const UNUSUAL: f64 = 2.0;

/// So many separators one after the other nobody writes.
const MANY_SEPARATORS: usize = 7;

/// Whether nobody writes that.
fn is_unusual(text: &[u8]) -> bool {
    let separates = |byte: &u8| b", \t\n\x0b\x0c\r\xa0".contains(byte);

    text.iter().all(separates)
        || text
            .windows(MANY_SEPARATORS)
            .any(|bytes| bytes.iter().all(separates))
}

/// So many random lists are measured as well.
const RANDOM: usize = 1000;

/// Random lists, cut at the first NUL byte: there they end.
fn random() -> Vec<Input> {
    let mut random = Rng::with_seed(1);

    (0..RANDOM)
        .map(|_| {
            let (mut text, nbits) = lists::list(&mut random);
            let end = text.iter().position(|&byte| byte == 0);

            text.truncate(end.unwrap_or(text.len()));
            Input {
                name: text.escape_ascii().to_string(),
                text,
                nbits,
            }
        })
        .collect()
}

/// What memset() takes depends on where the memory begins.
#[repr(align(64))]
struct Buffer([usize; 8192 / usize::BITS as usize]);

/// Parses every list with C and then with Rust. Callgrind writes a file after each.
fn measured(inputs: &[Input]) {
    let mut buffer = Buffer([0; 8192 / usize::BITS as usize]);

    for input in inputs {
        let words = &mut buffer.0[..input.nbits.div_ceil(usize::BITS) as usize];
        let text = CString::new(input.text.clone()).expect("no list has a NUL byte");

        black_box(bitmap_parselist_of_c(&text, words, input.nbits));
        let mut mask = Mask::new(words, input.nbits).expect("no mask is empty");
        black_box(cpulist::parse(&input.text, &mut mask)).ok();
    }
}

/// What callgrind has counted in the call of number `call`, from 1.
fn count(directory: &Path, call: usize) -> io::Result<u64> {
    let path = directory.join(format!("calls.{call}"));
    let text = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let count = text.lines().find_map(|line| {
        let count = line.strip_prefix("summary: ")?;
        count.trim().parse().ok()
    });

    count.ok_or_else(|| io::Error::other(format!("{}: no summary", path.display())))
}

/// Runs this program under callgrind, and returns the two counts of each list.
fn counts(inputs: &[Input]) -> io::Result<Vec<(u64, u64)>> {
    let directory = env::temp_dir().join(format!("instructions.{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    for function in ["bitmap_parselist", "*cpulist::parse", "*cpulist5parse"] {
        command.arg(format!("--toggle-collect={function}"));
        command.arg(format!("--dump-after={function}"));
    }
    command.arg(format!(
        "--callgrind-out-file={}",
        directory.join("calls").display()
    ));
    let output = command
        .arg(env::current_exe()?)
        .arg("--measured")
        .output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("valgrind: {}", why.trim())));
    }

    let counts = (0..inputs.len())
        .map(|at| {
            Ok((
                count(&directory, 2 * at + 1)?,
                count(&directory, 2 * at + 2)?,
            ))
        })
        .collect();
    fs::remove_dir_all(&directory)?;
    counts
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let lists = inputs::inputs();
    if env::args().nth(1).as_deref() == Some("--lists") {
        for Input { name, text, nbits } in &lists {
            let digits: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            let digits = if digits.is_empty() { "-" } else { &digits };
            println!("{nbits} {digits} {name}");
        }
        return Ok(true);
    }

    let unusual = [inputs::separators(), random()];
    let listed = lists.len();
    let separators = unusual[0].len();
    let inputs = [lists, unusual.concat()].concat();
    // This is the program that callgrind runs.
    if env::args().nth(1).as_deref() == Some("--measured") {
        measured(&inputs);
        return Ok(true);
    }

    // A fast parser that is wrong is of no use.
    for input in &inputs {
        compare(&input.text, input.nbits)?;
    }

    println!(
        "{:<48} {:>5} {:>8} {:>8} {:>6}",
        "list", "bits", "C", "Rust", "ratio"
    );
    let measured: Vec<_> = inputs.iter().zip(counts(&inputs)?).collect();
    let (lists, unusual) = measured.split_at(listed);
    let (separators, random) = unusual.split_at(separators);

    Ok([
        tell(lists, LIMIT, "lists", true),
        tell(separators, UNUSUAL, "runs of separators", false),
        tell(random, UNUSUAL, "random lists", false),
    ]
    .iter()
    .all(|&within| within))
}

/// Prints the highest ratio of Rust to C, and those that are too high, or `all` of them. Returns
/// whether none is.
fn tell(measured: &[(&Input, (u64, u64))], limit: f64, what: &str, all: bool) -> bool {
    let mut within = true;
    let mut high = 0;
    let mut worst: Option<(f64, &Input)> = None;

    for (input, (c, rust)) in measured {
        let ratio = *rust as f64 / *c as f64;
        let limit = match &input.name {
            name if name == GROUPS.0 => GROUPS.1,
            _ if is_unusual(&input.text) => UNUSUAL,
            _ => limit,
        };
        let over = ratio > limit;

        within &= !over;
        high += usize::from(ratio > LIMIT);
        if worst.is_none_or(|(worst, _)| ratio > worst) {
            worst = Some((ratio, input));
        }
        if all || over {
            let name: String = input.name.chars().take(48).collect();
            let mark = if over { " too many" } else { "" };
            println!(
                "{name:<48} {:>5} {c:>8} {rust:>8} {ratio:>6.3}{mark}",
                input.nbits
            );
        }
    }
    if let Some((ratio, input)) = worst {
        println!(
            "{} {what}; {high} are above {LIMIT}; the highest ratio is {ratio:.3}, of \"{}\" at {} bits",
            measured.len(),
            input.name,
            input.nbits
        );
    }
    within
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "instructions: Rust takes more than {LIMIT} times as many as C (on {} more than {}, \
                 on what nobody writes more than {UNUSUAL})",
                GROUPS.0, GROUPS.1
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}
