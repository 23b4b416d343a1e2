//! Every file of a folder through the real child, by format: what opened (its text must be sound), what did not and why, CPU
//! and memory. The samples by default; `DIA_SURVEY=folder cargo test -p pipeline survey -- --nocapture` for a measurement.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pipeline::{Format, ReadError, identify};

use crate::machine::{NEVER, check, reader, unpack};

#[test]
fn survey() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let folder = std::env::var("DIA_SURVEY").unwrap_or_else(|_| samples.to_owned());
    let reader = reader();
    let mut opened: BTreeMap<&str, (u32, u32, usize)> = BTreeMap::new();
    let mut exceptions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut files = Vec::new();
    walk(Path::new(&folder), &mut files);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let found = identify(&bytes[..bytes.len().min(1 << 20)], &name);
        let entry = opened.entry(found.format.name()).or_default();
        entry.0 += 1;
        if found.extension_mismatch {
            exceptions.entry("(mismatch)".into()).or_default().push(format!("{name} is {}", found.format.name()));
        }
        let started = std::time::Instant::now();
        match reader.extract(found.format, &name, &mut &bytes[..], &NEVER) {
            Ok(pipeline::Extraction { text, .. }) => {
                check(&text);
                entry.1 += 1;
                entry.2 += text.text.len();
                for warning in &text.warnings {
                    let line = format!("{name} page {:?}: {}", warning.page, warning.detail);
                    exceptions.entry(format!("(warning {})", warning.category.name())).or_default().push(line);
                }
                if let Ok(folder) = std::env::var("DIA_SURVEY_TEXT") {
                    std::fs::write(Path::new(&folder).join(name.replace('/', "__") + ".txt"), &text.text).unwrap();
                }
            }
            Err(ReadError::Exception(exception)) => {
                exceptions
                    .entry(exception.category.name().into())
                    .or_default()
                    .push(format!("{name}: {}", exception.detail));
            }
            Err(error) => panic!("{name}: {error}"),
        }
        if started.elapsed().as_secs() >= 3 {
            println!("slow {:?} {name}", started.elapsed());
        }
        if found.format.is_container() && found.format != Format::Empty {
            let (result, members) = unpack(&reader, found.format, &bytes);
            for (head, _, failed) in &members.0 {
                if let Some(exception) = failed {
                    let line = format!("{name} > {}: {}", head.path, exception.detail);
                    exceptions.entry(format!("(member {})", exception.category.name())).or_default().push(line);
                }
            }
            if let Err(error) = result {
                exceptions.entry("(unpack)".into()).or_default().push(format!("{name}: {error}"));
            }
        }
    }
    for (format, (files, good, bytes)) in &opened {
        println!("{format:18} {files:4} files {good:4} opened {bytes:9} bytes of text");
    }
    for (category, names) in &exceptions {
        println!("{category} {}", names.len());
        for name in names {
            println!("    {name}");
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}
