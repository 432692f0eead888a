// SPDX-License-Identifier: GPL-2.0

//! The time that the two parsers take, on the lists that src/inputs.rs has.
//!
//! It depends on the machine and on what else it does. What must hold is said in instructions: see
//! src/bin/instructions.rs.

use std::{ffi::CString, hint::black_box};

use criterion::{criterion_main, BenchmarkId, Criterion};
use kthread_cpus_core::cpulist::{self, Mask};
use kthread_cpus_oracle::{bitmap_parselist_of_c, inputs};

fn cpulist(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cpulist");

    for input in inputs::inputs() {
        let mut words = vec![0; input.nbits.div_ceil(usize::BITS) as usize];
        let text = CString::new(input.text.clone()).expect("no list has a NUL byte");
        let name = format!("{} at {}", input.name, input.nbits);

        group.bench_function(BenchmarkId::new("C", &name), |bencher| {
            bencher.iter(|| bitmap_parselist_of_c(black_box(&text), &mut words, input.nbits));
        });
        group.bench_function(BenchmarkId::new("Rust", &name), |bencher| {
            bencher.iter(|| {
                let mut mask = Mask::new(&mut words, input.nbits)?;
                cpulist::parse(black_box(&input.text), &mut mask).ok()
            });
        });
    }
    group.finish();
}

mod benches {
    //! What the macro makes has no documentation.
    #![allow(missing_docs)]

    criterion::criterion_group!(benches, super::cpulist);
}
criterion_main!(benches::benches);
