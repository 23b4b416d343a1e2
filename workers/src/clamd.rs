//! Asks clamd whether a file is infected: its INSTREAM command (clamd(8)), over a Unix socket or TCP. The file goes in
//! pieces, each behind its length (u32, big endian), a length of 0 ends it; clamd answers with one line that ends in a NUL.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use pipeline::Clamd;
use tokio_util::sync::CancellationToken;

/// Bytes sent at once.
const PIECE: usize = 256 << 10;
/// Longest answer that is read.
const LONGEST_ANSWER: usize = 4_096;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a silent conversation looks whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// What clamd says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing was found.
    Clean,
    /// It is infected with what clamd calls this.
    Infected(String),
    /// It is larger than clamd's `StreamMaxLength`, so clamd did not look.
    TooLarge,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// Nobody listens at the address.
    #[error("clamd cannot be reached: {0}")]
    Away(#[source] io::Error),
    /// The conversation broke off, or clamd was silent for too long.
    #[error("clamd gave no verdict: {0}")]
    Broken(#[source] io::Error),
    /// clamd answered with something else than a verdict.
    #[error("clamd gave an answer that is no verdict")]
    Nonsense,
    /// The file itself could not be read.
    #[error("the file could not be read: {0}")]
    File(#[source] io::Error),
    /// The job was told to stop.
    #[error("stopped")]
    Cancelled,
}

trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// A conversation. The socket's own timeouts are short, so that a stop is noticed; the patience with clamd is counted here.
struct Talk<'a> {
    line: Box<dyn Line>,
    patience: Duration,
    cancel: &'a CancellationToken,
}

/// Sends a file to clamd and gives its verdict. Blocks.
pub(crate) fn scan(clamd: &Clamd, file: &mut dyn Read, cancel: &CancellationToken) -> Result<Verdict, ScanError> {
    let line = connect(clamd).map_err(ScanError::Away)?;
    let mut talk = Talk { line, patience: Duration::from_secs(clamd.timeout_seconds.max(1)), cancel };
    let sent = talk.send(file);
    if let Err(ScanError::File(_) | ScanError::Cancelled) = sent {
        return sent.map(|()| Verdict::Clean);
    }
    // clamd hangs up on a stream that is too long, and its answer says so: a broken pipe is no verdict yet.
    let mut answer = Vec::new();
    let heard = talk.hear(&mut answer);
    match (verdict(&answer), sent.and(heard)) {
        (Some(Verdict::Clean) | None, Err(broken)) => Err(broken),
        (Some(verdict), _) => Ok(verdict),
        (None, Ok(())) if answer.is_empty() => Err(ScanError::Broken(io::ErrorKind::UnexpectedEof.into())),
        (None, Ok(())) => Err(ScanError::Nonsense),
    }
}

fn connect(clamd: &Clamd) -> io::Result<Box<dyn Line>> {
    if clamd.address.starts_with('/') {
        let stream = UnixStream::connect(&clamd.address)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        return Ok(Box::new(stream));
    }
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the address has no host");
    for address in clamd.address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LOOK))?;
                stream.set_write_timeout(Some(LOOK))?;
                return Ok(Box::new(stream));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl Talk<'_> {
    fn send(&mut self, file: &mut dyn Read) -> Result<(), ScanError> {
        self.say(b"zINSTREAM\0")?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = match file.read(&mut piece) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ScanError::File(error)),
            };
            let length = u32::try_from(read).map_err(|error| ScanError::File(io::Error::other(error)))?;
            self.say(&length.to_be_bytes())?;
            if read == 0 {
                return Ok(());
            }
            self.say(&piece[..read])?;
        }
    }

    fn say(&mut self, mut bytes: &[u8]) -> Result<(), ScanError> {
        while !bytes.is_empty() {
            let written = self.patiently(|line| line.write(bytes))?;
            if written == 0 {
                return Err(ScanError::Broken(io::ErrorKind::WriteZero.into()));
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Reads until the end of the answer.
    fn hear(&mut self, answer: &mut Vec<u8>) -> Result<(), ScanError> {
        let mut piece = [0; 512];
        while answer.len() < LONGEST_ANSWER && answer.last() != Some(&0) {
            let read = self.patiently(|line| line.read(&mut piece))?;
            if read == 0 {
                return Ok(());
            }
            answer.extend_from_slice(&piece[..read]);
        }
        Ok(())
    }

    /// Repeats what timed out until clamd was silent for too long or the job is told to stop.
    fn patiently(&mut self, mut step: impl FnMut(&mut dyn Line) -> io::Result<usize>) -> Result<usize, ScanError> {
        let begun = Instant::now();
        loop {
            if self.cancel.is_cancelled() {
                return Err(ScanError::Cancelled);
            }
            match step(&mut *self.line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if begun.elapsed() >= self.patience {
                        return Err(ScanError::Broken(io::ErrorKind::TimedOut.into()));
                    }
                }
                done => return done.map_err(ScanError::Broken),
            }
        }
    }
}

/// The verdict in a whole answer: `stream: OK`, `stream: NAME FOUND`, or the complaint about a stream that is too long.
fn verdict(answer: &[u8]) -> Option<Verdict> {
    let answer = std::str::from_utf8(answer.strip_suffix(b"\0")?).ok()?.trim_end();
    if answer == "INSTREAM size limit exceeded. ERROR" {
        return Some(Verdict::TooLarge);
    }
    match answer.strip_prefix("stream: ")? {
        "OK" => Some(Verdict::Clean),
        found => Some(Verdict::Infected(found.strip_suffix(" FOUND")?.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_verdict_counts() {
        let infected = |name: &str| Some(Verdict::Infected(name.to_owned()));
        for (answer, want) in [
            ("stream: OK\0", Some(Verdict::Clean)),
            ("stream: Eicar-Test-Signature FOUND\0", infected("Eicar-Test-Signature")),
            ("stream: Win.Trojan.OK FOUND\0", infected("Win.Trojan.OK")),
            ("INSTREAM size limit exceeded. ERROR\0", Some(Verdict::TooLarge)),
            ("stream: OK", None),
            ("stream: NOT OK\0", None),
            ("stream: Can't allocate memory ERROR\0", None),
            ("stream: O", None),
            ("UNKNOWN COMMAND\0", None),
            ("\0", None),
            ("", None),
        ] {
            assert_eq!(verdict(answer.as_bytes()), want, "{answer:?}");
        }
        assert_eq!(verdict(b"stream: \xff FOUND\0"), None);
    }
}
