//! One child process: started in its own process group with an empty environment, fed, watched, and always reaped.

use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use domain::outcome::Category;

use super::ReadError;
use crate::{
    limits::Limits,
    sandbox,
    wire::{self, Frame, Request},
};

/// How often the cancel flag is looked at.
const WATCH: Duration = Duration::from_millis(25);

/// One start of the child.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
    pub(crate) request: Request,
    pub(crate) wall_seconds: u64,
    /// Most bytes of input; more is `too_large`.
    pub(crate) max_input: u64,
    pub(crate) cancel: &'a AtomicBool,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait for the next frame.
    Continue,
    /// That was the last frame wanted.
    Finished,
}

impl Launch<'_> {
    /// Runs the child over `input` and gives each frame to `take` until it says it is finished.
    pub(crate) fn run(
        &self,
        input: &mut dyn Read,
        take: &mut dyn FnMut(Frame) -> Result<Turn, ReadError>,
    ) -> Result<(), ReadError> {
        // Words with boxes take about five times the bytes of their text.
        let max_frame = self.request.settings.limits.max_text_bytes.saturating_mul(8).saturating_add(16 << 20);
        let mut pages = 0_u32;
        self.converse(input, &mut |stdout, watch| loop {
            let frame = match wire::read_frame(stdout, max_frame) {
                Ok(Some(frame)) => frame,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(ReadError::exception(Category::Crashed, "the reader's answer made no sense"));
                }
                // Ended, or cut in the middle of a frame: the exit status says why.
                Ok(None) | Err(_) => return Ok(Turn::Continue),
            };
            if matches!(frame, Frame::Image(_)) {
                pages = pages.saturating_add(1);
                watch.grant_pages(&self.request.settings.limits, pages);
            }
            if watch.paused(|| take(frame))? == Turn::Finished {
                return Ok(Turn::Finished);
            }
        })
    }

    /// Runs the child over `input` and gives its whole output, at most `max` bytes.
    pub(crate) fn output(&self, input: &mut dyn Read, max: u64) -> Result<Vec<u8>, ReadError> {
        let mut output = Vec::new();
        self.converse(input, &mut |stdout, _| {
            stdout.by_ref().take(max).read_to_end(&mut output)?;
            Ok(Turn::Continue)
        })
        .map(|()| output)
    }

    fn converse(
        &self,
        input: &mut dyn Read,
        listen: &mut dyn FnMut(&mut ChildStdout, &Watch) -> Result<Turn, ReadError>,
    ) -> Result<(), ReadError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ReadError::Cancelled);
        }
        let mut child = self.spawn()?;
        let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a pipe is missing").into());
        };
        let watch = Watch::new(child.id(), Duration::from_secs(self.wall_seconds));
        let (told, status) = std::thread::scope(|scope| {
            scope.spawn(|| watch.keep(self.cancel));
            let told = self.feed(stdin, input, &watch).and_then(|()| listen(&mut stdout, &watch));
            // Closing our end lets a child that still writes die of it.
            drop(stdout);
            if !matches!(told, Ok(Turn::Continue)) {
                watch.kill();
            }
            let status = watch.reap(&mut child);
            (told, status)
        });
        self.judge(told, status?, &watch, &mut child)
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(self.program);
        command.args(self.args).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// Sends request and document. A child that closes its end early has its reasons: its answer or exit tells them.
    fn feed(&self, mut stdin: ChildStdin, input: &mut dyn Read, watch: &Watch) -> Result<(), ReadError> {
        if wire::write_request(&mut stdin, &self.request).is_err() {
            return Ok(());
        }
        let mut left = self.max_input;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = match watch.paused(|| input.read(&mut buffer)) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(rest) = left.checked_sub(read as u64) else {
                return Err(ReadError::exception(Category::TooLarge, "the document is larger than allowed"));
            };
            left = rest;
            if stdin.write_all(buffer.get(..read).unwrap_or_default()).is_err() {
                return Ok(());
            }
        }
    }

    fn judge(
        &self,
        told: Result<Turn, ReadError>,
        status: ExitStatus,
        watch: &Watch,
        child: &mut Child,
    ) -> Result<(), ReadError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ReadError::Cancelled);
        }
        match told {
            Err(error) => return Err(error),
            Ok(Turn::Finished) => return Ok(()),
            Ok(Turn::Continue) => {}
        }
        if watch.timed_out() {
            return Err(ReadError::exception(
                Category::TimedOut,
                format!("not read within {} seconds", self.wall_seconds),
            ));
        }
        let limits = &self.request.settings.limits;
        let memory = || {
            ReadError::exception(Category::Memory, format!("more than {} bytes of memory needed", limits.memory_bytes))
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) if code == sandbox::EXIT_NOT_SANDBOXED => {
                Err(io::Error::other("the sandbox could not be set up").into())
            }
            (_, Some(libc::SIGXCPU)) => Err(ReadError::exception(
                Category::TimedOut,
                format!("more than {} seconds of processor time needed", limits.cpu_seconds),
            )),
            // Nobody here sent it: the kernel ran out of memory and chose this process.
            (_, Some(libc::SIGKILL)) => Err(memory()),
            _ if ran_out_of_memory(child) => Err(memory()),
            (Some(code), _) => {
                Err(ReadError::exception(Category::Crashed, format!("the reader ended with code {code}")))
            }
            (None, signal) => Err(ReadError::exception(
                Category::Crashed,
                format!("the reader was ended by signal {}", signal.unwrap_or_default()),
            )),
        }
    }
}

/// Rust's allocator says so on stderr before it aborts. Nothing else of stderr is looked at or kept.
fn ran_out_of_memory(child: &mut Child) -> bool {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(64 << 10).read_to_end(&mut said);
    }
    let said = String::from_utf8_lossy(&said);
    said.contains("memory allocation of") || said.contains("bad_alloc")
}

/// Watches one child from a thread of its own: kills its process group when the flag is raised or its time is over.
struct Watch {
    group: u32,
    allowed: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Set while the parent waits for the child, which is what the wall-clock limit counts.
    waiting_since: Option<Instant>,
    waited: Duration,
    timed_out: bool,
    /// Set before the child is reaped: from then on its number may belong to another process.
    over: bool,
}

impl Watch {
    fn new(group: u32, allowed: Duration) -> Self {
        let state =
            State { waiting_since: Some(Instant::now()), waited: Duration::ZERO, timed_out: false, over: false };
        Self { group, allowed, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the child is reaped.
    fn keep(&self, cancel: &AtomicBool) {
        let mut state = self.lock();
        while !state.over {
            let waited =
                state.waited.saturating_add(state.waiting_since.map_or(Duration::ZERO, |since| since.elapsed()));
            let timed_out = waited > self.allowed;
            if timed_out || cancel.load(Ordering::Relaxed) {
                state.timed_out |= timed_out;
                sandbox::kill_group(self.group);
            }
            state = self.changed.wait_timeout(state, WATCH).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Does something that is not the child's fault if it takes long.
    fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        {
            let mut state = self.lock();
            let since = state.waiting_since.take();
            state.waited = state.waited.saturating_add(since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        let result = work();
        self.lock().waiting_since = Some(Instant::now());
        result
    }

    fn kill(&self) {
        let state = self.lock();
        if !state.over {
            sandbox::kill_group(self.group);
        }
    }

    /// Lets the child compute a little longer for each page it has rendered.
    fn grant_pages(&self, limits: &Limits, pages: u32) {
        let state = self.lock();
        if !state.over {
            sandbox::grant_pages(self.group, limits, pages);
        }
    }

    fn timed_out(&self) -> bool {
        self.lock().timed_out
    }

    /// Waits for the child's end. Polls, because a blocking wait would free the process number while the watching
    /// thread may still signal it.
    fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut pause = Duration::from_micros(100);
        loop {
            let mut state = self.lock();
            let status = child.try_wait();
            if !matches!(status, Ok(None)) {
                state.over = true;
                self.changed.notify_all();
                return status.and_then(|status| status.ok_or_else(|| io::Error::other("no exit status")));
            }
            drop(state);
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(Duration::from_millis(10));
        }
    }
}
