//! Reads one file as the product does, for `bench/extract`: `extract DIA FILE` names it, unpacks it and reads its text in
//! sandboxed children of DIA (`dia read-document`); what lies in an archive or a mailbox is read too. The first line of the
//! output is a JSON object, the rest is the text.
//!
//! `extract --scan DIA FILE` takes this program itself for tesseract: a page of made-up words at once. So the memory that
//! a scan of thousands of pages takes can be measured without recognising them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a measuring program: it reads its environment and a file, and answers on stdout"
)]

use std::{
    env,
    fs::File,
    io::{self, Read, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use domain::{
    outcome::Exception,
    text::{PageSource, Text},
};
use pipeline::{Format, MemberHead, MemberSink, ReadError, Reader, Settings, identify};

/// What identification looks at.
const HEAD: u64 = 4 << 20;
/// Formats whose text is what lies in them. What is attached to a message or embedded in a paper is another document.
const COLLECTIONS: &[&str] = &["zip", "tar", "gzip", "bzip2", "xz", "zstd", "7z", "rar", "mbox", "pst"];
/// Words on a page that was not recognised but made up: a full one.
const WORDS: u32 = 400;

static NEVER: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "stdin") {
        return pretend_tesseract(&arguments);
    }
    let scan = arguments.first().is_some_and(|first| first == "--scan");
    arguments.drain(..usize::from(scan));
    let [dia, file] = arguments.as_slice() else {
        eprintln!("usage: extract [--scan] DIA FILE");
        return ExitCode::FAILURE;
    };
    match read_file(dia, file, scan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("extract: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read_file(dia: &str, file: &str, scan: bool) -> io::Result<()> {
    let mut settings = Settings::default();
    if scan {
        settings.tesseract = Some(env::current_exe()?);
    }
    let settings = settings.discover(env::var("PATH").ok().as_deref(), env::var("HOME").ok().as_deref());
    let reader = Reader::new(settings, PathBuf::from(dia), vec!["read-document".to_owned()]);
    let mut head = Vec::new();
    File::open(file)?.take(HEAD).read_to_end(&mut head)?;
    let format = identify(&head, file).format;
    let mut found = Found::default();
    found.read(&reader, format, file, &|| Ok(Box::new(File::open(file)?)), 0)?;
    let (outcome, detail) = found.first.unwrap_or(("ok", String::new()));
    let told = serde_json::json!({
        "format": format.name(),
        "outcome": outcome,
        "detail": detail,
        "pages": found.pages,
        "recognised": found.recognised,
        "members": found.members,
        "failed": found.failed,
    });
    let mut output = io::stdout().lock();
    writeln!(output, "{told}")?;
    output.write_all(found.text.as_bytes())
}

/// Opens a file or a member to be read from its start.
type Open<'a> = dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a;

/// What came out of the file.
#[derive(Default)]
struct Found {
    text: String,
    pages: usize,
    recognised: usize,
    members: u32,
    failed: u32,
    /// What became of the file itself, when it was not read.
    first: Option<(&'static str, String)>,
}

impl Found {
    fn read(&mut self, reader: &Reader, format: Format, name: &str, open: &Open<'_>, depth: u32) -> io::Result<()> {
        let mut members = Members::default();
        let unpacked = reader.unpack(format, name, &mut open()?, &mut members, &NEVER);
        let read = reader.extract(format, name, &mut open()?, &NEVER);
        let collection = COLLECTIONS.contains(&format.name());
        match unpacked.and(read) {
            Ok(found) if collection => self.count(&found.text),
            Ok(found) => {
                self.count(&found.text);
                self.text.push_str(&found.text.text);
                self.text.push('\n');
            }
            Err(ReadError::Exception(exception)) if depth == 0 => {
                self.first = Some((exception.category.name(), exception.detail));
            }
            Err(ReadError::Exception(_)) => self.failed += 1,
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
        self.failed += members.failed;
        for (head, bytes) in members.whole {
            self.members += 1;
            if collection && depth < reader.settings().limits.max_depth {
                let format = identify(&bytes, &head.path).format;
                self.read(reader, format, &head.path, &|| Ok(Box::new(&bytes[..])), depth + 1)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, text: &Text) {
        self.pages += text.pages.len();
        self.recognised += text.pages.iter().filter(|page| page.source == PageSource::Ocr).count();
    }
}

#[derive(Default)]
struct Members {
    whole: Vec<(MemberHead, Vec<u8>)>,
    open: Option<(MemberHead, Vec<u8>)>,
    failed: u32,
}

impl MemberSink for Members {
    fn begin(&mut self, member: &MemberHead) -> io::Result<()> {
        self.open = Some((member.clone(), Vec::new()));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((_, data)) = &mut self.open {
            data.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.whole.extend(self.open.take());
        Ok(())
    }

    fn failed(&mut self, _: Exception) -> io::Result<()> {
        self.failed += 1;
        self.open = None;
        Ok(())
    }
}

/// Answers as tesseract does (TSV on stdout), without looking at the page.
fn pretend_tesseract(arguments: &[String]) -> ExitCode {
    let taken = io::copy(&mut io::stdin().lock(), &mut io::sink());
    let mut answer = String::from("level\tpage\tblock\tparagraph\tline\tword\tleft\ttop\twidth\theight\tconf\ttext\n");
    for word in 0..WORDS {
        let (line, column) = (word / 10, word % 10);
        let (left, top) = (column * 100, line * 40);
        answer.extend([format!("5\t1\t1\t1\t{line}\t{column}\t{left}\t{top}\t90\t30\t95\tword{word}\n")]);
    }
    let told = arguments.iter().any(|argument| argument == "tsv").then(|| io::stdout().write_all(answer.as_bytes()));
    if taken.is_ok() && told.is_none_or(|told| told.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
