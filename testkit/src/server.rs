//! The real binary as a process: started over a data directory, watched, stopped with SIGTERM or killed with SIGKILL.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long a start may take before it counts as failed.
const START: Duration = Duration::from_mins(1);
/// How long a graceful stop may take.
const STOP: Duration = Duration::from_secs(90);

/// Where a server keeps its things, and how it is started.
#[derive(Debug, Clone)]
pub struct Home {
    binary: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Where its temporary files go.
    pub temporary: PathBuf,
    /// Where it logs; every start appends.
    pub log: PathBuf,
    settings: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// `http://127.0.0.1:PORT`
    pub address: String,
    /// What lets the first user sign up; printed while nobody has.
    pub setup_code: Option<String>,
}

impl Home {
    /// A home in `directory`, for the `dia` beside the running program.
    pub fn new(directory: &Path) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("dia");
        ensure!(binary.is_file(), "{} is not built; run `cargo build --package dia`", binary.display());
        let temporary = directory.join("temporary");
        std::fs::create_dir_all(&temporary)?;
        Ok(Self {
            binary,
            data: directory.join("data"),
            temporary,
            log: directory.join("dia.log"),
            settings: Vec::new(),
        })
    }

    /// The same with a setting of the environment, such as `DIA_WORKERS__LEASE_SECONDS`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of the binary in this home: what it logs is appended, and it ends with the test.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("DIA_DATA__DIRECTORY", &self.data).env("DIA_API__LISTEN", "127.0.0.1:0");
        command.env("TMPDIR", &self.temporary).envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        Ok(command)
    }

    /// Starts the server's process without waiting until it serves.
    pub fn spawn(&self) -> Result<Child> {
        self.spawn_as("serve")
    }

    fn spawn_as(&self, kind: &str) -> Result<Child> {
        let child = self.command(&[kind])?.spawn();
        child.with_context(|| format!("cannot start {}", self.binary.display()))
    }

    /// Starts the server and waits until it serves.
    pub async fn start(&self) -> Result<Server> {
        self.start_as("serve").await
    }

    /// The same as another kind of process with a door: `serve` or `api`.
    pub async fn start_as(&self, kind: &str) -> Result<Server> {
        let mut child = self.spawn_as(kind)?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, address)) = line.split_once("listens on ") {
                    return Ok::<_, anyhow::Error>(Some(address.trim().to_owned()));
                }
            }
            Ok(None)
        };
        let found = timeout(START, listening).await.context("the server did not start in time")??;
        let Some(address) = found else {
            let status = child.wait().await?;
            bail!("the server ended while starting ({status}); see {}", self.log.display());
        };
        let mut server = Server { child, lines, address, setup_code: None };
        server.read_setup_code().await?;
        Ok(server)
    }
}

impl Server {
    /// The lines after the address; the setup code, if any, is among the first of them.
    async fn read_setup_code(&mut self) -> Result<()> {
        while let Ok(line) = timeout(Duration::from_millis(200), self.lines.next_line()).await {
            let Some(line) = line? else { break };
            if let Some((_, code)) = line.split_once("setup code: ") {
                self.setup_code = Some(code.trim().to_owned());
                break;
            }
        }
        Ok(())
    }

    /// The process's id.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// True once the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.or_else(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => Ok(()),
            _ => Err(error),
        })?;
        Ok(())
    }

    /// Stops the process with SIGTERM and returns how it ended.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        let id = self.child.id().context("the server has already ended")?;
        let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(sent.success(), "the server could not be told to stop");
        let ended = timeout(STOP, self.child.wait()).await;
        Ok(ended.with_context(|| format!("the server did not stop within {STOP:?}"))??)
    }
}
