//! The child's side: reads the request, shuts itself in, and only then reads and parses the document.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::{Command, ExitCode},
    sync::Mutex,
};

use domain::{
    outcome::{Category, Exception},
    text::Text,
};

use crate::{
    extract::{self, Engines, PageImage},
    passwords::{KeyRing, Passwords},
    reader::Extraction,
    sandbox::{self, Cell},
    settings::Settings,
    unpack,
    wire::{self, Frame, ImageHead, Probe, Request, Task},
};

/// Parsers recurse as deep as documents nest; this much stack takes what is sensible, and the rest is a named crash.
const STACK: usize = 64 << 20;

/// What the child process runs: one request from stdin, its document until end of input, frames to stdout. Ends with a
/// code of its own when it could not shut itself in.
pub fn child_main() -> ExitCode {
    sandbox::unblock_stderr();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // 121: see sandbox::EXIT_NOT_SANDBOXED; an exit code is a byte.
        Err(Failure::NotSandboxed) => ExitCode::from(u8::try_from(sandbox::EXIT_NOT_SANDBOXED).unwrap_or(u8::MAX)),
        Err(Failure::Pipe) => ExitCode::FAILURE,
    }
}

enum Failure {
    NotSandboxed,
    Pipe,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Pipe
    }
}

fn serve() -> Result<(), Failure> {
    // Unbuffered, so that not one byte of the document is read before the door closes.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let Request { task, settings, passwords } = wire::read_request(&mut input)?;
    if let Task::Recognise { orientation, dpi } = task {
        return Err(become_tesseract(&settings, orientation, dpi));
    }
    let engines = match &task {
        Task::Extract { format, .. } => Engines::load(*format, &settings),
        _ => Engines::none(),
    };
    sandbox::enter(Cell::Parser, &settings.limits).map_err(|_| Failure::NotSandboxed)?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let mut output = BufWriter::new(output);
    let answer = on_a_deep_stack(|| guarded(|| perform(task, bytes, &settings, passwords, &engines, &mut output)))?;
    match answer {
        Ok(frame) => wire::write_frame(&mut output, &frame)?,
        Err(exception) => wire::write_frame(&mut output, &Frame::Failed(exception))?,
    }
    Ok(())
}

fn perform(
    task: Task,
    bytes: Vec<u8>,
    settings: &Settings,
    passwords: Passwords,
    engines: &Engines,
    output: &mut (dyn Write + Send),
) -> Result<Frame, Exception> {
    let keys = KeyRing::new(passwords);
    match task {
        Task::Unpack { format, name } => unpack::members(format, &name, bytes, &settings.limits, &keys, &mut |frame| {
            wire::write_frame(output, frame)
        })
        .map(Frame::Unpacked),
        Task::Extract { format, name } => {
            let mut send = |image: PageImage| {
                let PageImage { page, width, height, dpi, is_beside, .. } = image;
                let head = ImageHead { page, width, height, dpi, is_beside };
                wire::write_frame(output, &Frame::Image(head))?;
                wire::write_data(output, &image.grey)
            };
            let text = extract::document(format, &name, bytes, settings, engines, &keys, &mut send)?;
            Ok(Frame::Text(Box::new(Extraction { text, opened_with: keys.opened_with() })))
        }
        Task::Probe(probe) => Ok(Frame::Text(Box::new(Extraction { text: attempt(probe), ..Extraction::default() }))),
        Task::Recognise { .. } => Err(Exception::new(Category::Internal, "not a parser's task")),
    }
}

/// Runs `work` with room for deep recursion.
fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the reader's thread ended early"))
    })
}

/// Turns a panic into an exception that says where, never what: a panic's message may quote the document.
fn guarded<T>(work: impl FnOnce() -> Result<T, Exception>) -> Result<T, Exception> {
    static PLACE: Mutex<Option<String>> = Mutex::new(None);
    panic::set_hook(Box::new(|info| {
        if let (Some(location), Ok(mut place)) = (info.location(), PLACE.lock()) {
            let file = location.file().rsplit("/src/").next().unwrap_or_default();
            *place = Some(format!("{file}:{}", location.line()));
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let place = PLACE.lock().ok().and_then(|mut place| place.take()).unwrap_or_default();
        Err(Exception::new(Category::Crashed, format!("the reader failed at {place}")))
    })
}

/// Replaces this process by tesseract, in a cell of its own; comes back only when that fails.
fn become_tesseract(settings: &Settings, orientation: bool, dpi: u32) -> Failure {
    let Some(program) = settings.tesseract.as_deref() else { return Failure::NotSandboxed };
    if sandbox::enter(Cell::Tesseract(program), &settings.limits).is_err() {
        return Failure::NotSandboxed;
    }
    let mut command = Command::new(program);
    command.args(["stdin", "stdout", "--dpi", &dpi.to_string()]);
    if orientation {
        command.args(["--psm", "0", "-l", "osd"]);
    } else {
        command.args(["-l", &settings.ocr_languages.join("+"), "tsv"]);
    }
    // One page is one processor's work; more threads only fight each other.
    let _reason = command.env_clear().env("OMP_THREAD_LIMIT", "1").exec();
    Failure::NotSandboxed
}

fn attempt(probe: Probe) -> Text {
    match probe {
        Probe::Doors => Text { text: doors().join("\n"), ..Text::default() },
        Probe::Memory => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 16 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        Probe::Processor => loop {
            std::hint::spin_loop();
        },
        Probe::Sleep => loop {
            std::thread::sleep(std::time::Duration::from_hours(1));
        },
        Probe::Stack => {
            std::hint::black_box(recurse(1));
            Text::default()
        }
        #[allow(clippy::panic, reason = "panicking is what is asked for")]
        Probe::Panic => panic!("secret words of a document"),
    }
}

/// Names of the forbidden things that were possible.
fn doors() -> Vec<&'static str> {
    let temporary = Path::new("/tmp/dia-reader-probe");
    let attempts: [(&str, bool); 8] = [
        ("read /etc/passwd", std::fs::read("/etc/passwd").is_ok()),
        ("list /", std::fs::read_dir("/").is_ok_and(|mut entries| entries.next().is_some_and(|entry| entry.is_ok()))),
        ("write a file", std::fs::write(temporary, b"x").is_ok()),
        ("make a folder", std::fs::create_dir(temporary).is_ok()),
        ("open a TCP socket", std::net::TcpListener::bind("127.0.0.1:0").is_ok()),
        ("open a UDP socket", std::net::UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("open a local socket", std::os::unix::net::UnixStream::pair().is_ok()),
        ("start a program", Command::new("/bin/true").status().is_ok()),
    ];
    attempts.into_iter().filter(|(_, possible)| *possible).map(|(name, _)| name).collect()
}

#[allow(unconditional_recursion, reason = "overflowing the stack is what is asked for")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth.wrapping_add(1)))).wrapping_add(depth)
}
