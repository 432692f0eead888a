// SPDX-License-Identifier: GPL-2.0

//! Any bytes as a mask's size and a list: C and Rust must make the same of it.

#![no_main]

use kthread_cpus_oracle::{compare, lists};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((nbits, text)) = lists::from_bytes(data) {
        if let Err(difference) = compare(text, nbits) {
            panic!("{difference}");
        }
    }
});
