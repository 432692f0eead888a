// SPDX-License-Identifier: GPL-2.0

//! Parses random lists with C and with Rust, and stops at the first difference.
//!
//!     lists [COUNT [SEED]]

use std::{env, process::ExitCode};

use kthread_cpus_oracle::{
    compare,
    lists::{self, Rng},
    with_rust, Agreement,
};

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let count: u64 = args.next().map_or(Ok(1_000_000), |arg| arg.parse())?;
    let seed = args.next().map_or(Ok(1), |arg| arg.parse())?;
    let mut random = Rng::with_seed(seed);
    let (mut valid, mut wraps) = (0u64, 0u64);

    for _ in 0..count {
        let (text, nbits) = lists::list(&mut random);

        wraps += u64::from(compare(&text, nbits)? == Agreement::Wraps);
        valid += u64::from(with_rust(&text, nbits).is_ok());
    }
    println!(
        "{count} lists from seed {seed}: no difference ({valid} valid, {} with an error; in {wraps} \
         the arithmetic of C wraps)",
        count - valid
    );
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lists: {error}");
            ExitCode::FAILURE
        }
    }
}
