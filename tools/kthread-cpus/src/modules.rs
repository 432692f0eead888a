// SPDX-License-Identifier: GPL-2.0

//! The modules of the crate do not import each other in a circle: each can be read, and changed,
//! after those that it is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The modules that each one imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the first names of what a text has of the crate, as in `crate::a::b` and
/// `crate::{a, b::{c, d}}`.
fn imported(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let word = |text: &str| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name: String = text
            .trim_start()
            .chars()
            .take_while(|c| is_name(*c))
            .collect();
        (!name.is_empty()).then_some(name)
    };

    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut begin = 0;
        for (at, c) in group.char_indices() {
            match (c, depth) {
                (',' | '}', 0) => {
                    found.extend(word(&group[begin..at]));
                    begin = at + 1;
                }
                ('{', _) => depth += 1,
                ('}', _) => depth -= 1,
                _ => {}
            }
            if c == '}' && depth == 0 && begin == at + 1 {
                break;
            }
        }
    }
    found
}

/// Adds what the files below a directory import, to the module that they are of.
fn read(directory: &Path, of: Option<&str>, imports: &mut Imports) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = of.unwrap_or(name);

        if path.is_dir() {
            read(&path, Some(module), imports);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !["lib", "main", "modules"].contains(&module)
        {
            let text = fs::read_to_string(&path).unwrap();
            let known = imports.entry(module.to_owned()).or_default();
            known.extend(imported(&text));
            known.remove(module);
        }
    }
}

/// Returns the modules that are left when those have been taken away, again and again, that import
/// none of the rest.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let left: BTreeSet<_> = imports.keys().cloned().collect();
        let before = imports.len();
        imports.retain(|_, imported| imported.intersection(&left).next().is_some());
        if imports.len() == before {
            return imports;
        }
    }
}

#[test]
fn no_modules_import_each_other() {
    let mut imports = Imports::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        None,
        &mut imports,
    );

    // It sees what there is to see.
    assert!(imports["watch"].contains("recording") && imports["recording"].contains("cause"));
    assert!(imports["cause"].contains("events") && imports["report"].contains("png"));
    let circles = circles(imports);
    assert!(circles.is_empty(), "in a circle, or above one: {circles:?}");
}

#[test]
fn circles_are_found() {
    let names = |text: &str| Vec::from_iter(imported(text)).join(" ");
    assert_eq!(
        names("use crate::{\n    a::{b, c},\n    d,\n    e::f,\n};\nuse crate::g::h;\ncrate::i();"),
        "a d e g i"
    );
    assert_eq!(names("use crate::{a, b::c}; struct D { e: F }"), "a b");

    let graph = |pairs: &[(&str, &str)]| {
        let mut imports = Imports::new();
        for (module, imported) in pairs {
            for name in [module, imported] {
                imports.entry((*name).to_owned()).or_default();
            }
            let known = imports.get_mut(*module).unwrap();
            known.insert((*imported).to_owned());
        }
        circles(imports).into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]), "");
    assert_eq!(
        graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]),
        "a b c"
    );
}
