// SPDX-License-Identifier: GPL-2.0

//! Tells what comes of texts: of a CPU list with C's `bitmap_parselist()`, and of a value of the boot
//! option with the parser that the kernel has for it.
//!
//! Reads lines "list NBITS HEX" and "option NBITS HEX" from its standard input, where HEX is the text
//! byte by byte, and prints for each "ok CPUS" ("ok CLASSES CPUS" for the option), "errno N", or what
//! is wrong and the offset of it. CPUS are numbers with commas between, or "none". Where the arithmetic
//! of C wraps, the result is that of the grammar.

use std::{
    io::{self, BufRead},
    process::ExitCode,
};

use kthread_cpus_core::{
    cpulist::{Mask, Reason},
    option::{self, Error},
};
use kthread_cpus_oracle::{
    compare, errno,
    model::{self, Arithmetic},
    with_c, Agreement,
};

fn cpus(words: &[usize]) -> String {
    let bits = usize::BITS as usize;
    let set = |cpu: &usize| (words[cpu / bits] >> (cpu % bits)) & 1 != 0;
    let cpus: Vec<_> = (0..words.len() * bits)
        .filter(set)
        .map(|cpu| cpu.to_string())
        .collect();

    if cpus.is_empty() {
        "none".into()
    } else {
        cpus.join(",")
    }
}

fn of_list(text: &[u8], nbits: u32) -> Result<String, Box<dyn std::error::Error>> {
    let result = match compare(text, nbits)? {
        Agreement::Same => with_c(text, nbits),
        Agreement::Wraps => model::parse(text, nbits, Arithmetic::Exact).map_err(errno),
    };

    Ok(match result {
        Ok(words) => format!("ok {}", cpus(&words)),
        Err(errno) => format!("errno {}", -errno),
    })
}

fn of_option(value: &[u8], nbits: u32) -> String {
    let mut words = vec![0; nbits.div_ceil(usize::BITS) as usize];
    let Some(mut mask) = Mask::new(&mut words, nbits) else {
        return "no mask".into();
    };

    match option::parse(value, &mut mask) {
        Ok(classes) => format!("ok {classes} {}", cpus(&words)),
        Err(Error::UnknownFlag(offset)) => format!("unknown-flag {offset}"),
        Err(Error::NoComma(offset)) => format!("no-comma {offset}"),
        Err(Error::List(error)) => match error.reason {
            Reason::Malformed => format!("malformed {}", error.offset),
            Reason::OutOfRange => format!("too-large {}", error.offset),
            Reason::Overflow => format!("overflow {}", error.offset),
        },
    }
}

fn outcome(line: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or("a line with too few words");
    let (what, nbits, hex) = (word()?, word()?.parse()?, word()?);
    let text = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16))
        .collect::<Result<Vec<_>, _>>()?;

    match what {
        "list" => of_list(&text, nbits),
        "option" => Ok(of_option(&text, nbits)),
        _ => Err(format!("neither list nor option: {what}").into()),
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    for line in io::stdin().lock().lines() {
        println!("{}", outcome(&line?)?);
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outcomes: {error}");
            ExitCode::FAILURE
        }
    }
}
