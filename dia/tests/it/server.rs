//! A real `dia serve` on a free port with a data directory of its own, and commands against it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "a lamp burns in the reading room";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) home: TempDir,
    pub(crate) url: String,
    pub(crate) code: Option<String>,
}

/// The address of the server whose home this is: free when first asked for, the same after a restart.
fn address(home: &Path) -> String {
    let kept = home.join("address");
    if let Ok(address) = std::fs::read_to_string(&kept) {
        return address;
    }
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    std::fs::write(kept, &address).unwrap();
    address
}

/// The binary with nothing of the machine's own environment that dia would read.
pub(crate) fn dia(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dia"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DIA_") || name.starts_with("XDG_")) {
        command.env_remove(name);
    }
    let pdfium = Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/dia/libpdfium.so");
    if pdfium.is_file() {
        command.env("DIA_PDFIUM_LIBRARY", pdfium);
    }
    command.env("HOME", home).env("DIA_PASSWORD", PASSWORD).env("DIA_API__LISTEN", address(home));
    command
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts on an existing home folder and waits until it listens.
    pub(crate) fn start_in(home: TempDir) -> Self {
        Self::start_with(home, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(home: TempDir, variables: &[(&str, &str)]) -> Self {
        Self::start_saying(home, variables, Stdio::inherit())
    }

    /// The same with somewhere for what it logs.
    pub(crate) fn start_saying(home: TempDir, variables: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        Self::start_as("serve", home, variables, log)
    }

    /// The same as another kind of process with a door: `serve` or `api`.
    pub(crate) fn start_as(kind: &str, home: TempDir, variables: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        let mut serve = dia(home.path());
        serve.arg(kind).envs(variables.iter().copied());
        let mut child = serve.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self { child, home, url: String::new(), code: None };
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("dia listens on ") {
                url.clone_into(&mut server.url);
            }
            if let Some(code) = line.strip_prefix("setup code: ") {
                server.code = Some(code.to_owned());
            }
            if line.contains("/api/v1/reference") {
                break;
            }
        }
        assert!(!server.url.is_empty(), "the server did not start");
        if server.code.is_none() && !server.home.path().join("signed-up").exists() {
            server.code = lines.find_map(|line| line.unwrap().strip_prefix("setup code: ").map(ToOwned::to_owned));
        }
        // Keeps the pipe open, so that the server's last line finds a reader.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }

    /// Runs a command against this server.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        dia(self.home.path()).env("DIA_SERVER", &self.url).args(args).output().unwrap()
    }

    /// Runs a command that must succeed; its output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = dia(self.home.path());
        command.env("DIA_SERVER", &self.url);
        command
    }

    /// Signs up the first user.
    pub(crate) fn sign_up(&self) {
        let code = self.code.clone().expect("a setup code");
        self.ok(&["signup", "--email", "ada@example.org", "--name", "Ada", "--code", &code]);
        std::fs::write(self.home.path().join("signed-up"), "").unwrap();
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Asks it to stop and waits; the exit must be clean.
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "unclean stop: {status}");
        std::mem::replace(&mut self.home, tempfile::tempdir().unwrap())
    }

    /// Waits until it dies by itself.
    pub(crate) fn die(mut self) -> TempDir {
        assert!(!self.child.wait().unwrap().success());
        std::mem::replace(&mut self.home, tempfile::tempdir().unwrap())
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> TempDir {
        self.signal("-KILL");
        self.child.wait().unwrap();
        std::mem::replace(&mut self.home, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
