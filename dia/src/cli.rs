//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// dia takes in the documents of a legal matter and makes them answerable.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file (TOML); see `dia config show`.
    #[arg(long, global = true, env = "DIA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Server that client commands speak to.
    #[arg(long, global = true, env = "DIA_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What dia can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API and work the queues in one process.
    Serve,
    /// Serve the API only; the queues are worked by `dia work`. Needs PostgreSQL.
    Api,
    /// Work the queues only, as one process of a fleet. Needs PostgreSQL.
    Work {
        /// The queues, separated by commas; what `workers.queues` says when absent.
        #[arg(long, value_delimiter = ',')]
        queues: Vec<String>,
        /// Jobs of a queue at once, such as extract=4, separated by commas; what `[workers]` says for the others.
        #[arg(long, value_delimiter = ',')]
        concurrency: Vec<String>,
    },
    /// List the processes that work the queues.
    Workers,
    /// Say how many processes each queue should have, by its depth, its oldest job and how long its jobs take.
    Autoscale {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Bring the database schema up to date and stop.
    Migrate {
        /// A role of PostgreSQL that is then given what `dia api` and `dia work` need, and no more.
        #[arg(long)]
        grant_to: Option<String>,
    },
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after jobs, on the data directory itself (also while dia serves).
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Look after queues, on the data directory itself (also while dia serves).
    #[command(subcommand)]
    Queues(QueuesCommand),
    /// Look after people, on the data directory itself (also while dia serves).
    #[command(subcommand)]
    Users(UsersCommand),
    /// Look after the signed log of what was done, on the data directory itself (also while dia serves).
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check a bundle of the audit log, or a case that was taken away, as a server handed them out; needs nothing but them and the key.
    Verify {
        /// The bundle; the folder of an unpacked case.
        bundle: PathBuf,
        /// The key that you have pinned, as `dia audit key` prints it.
        #[arg(long)]
        key: String,
        /// Checkpoints that you have kept, files or directories: a log that is shorter, or another one, is refused.
        #[arg(long = "checkpoints")]
        kept: Vec<PathBuf>,
    },
    /// Look after the list of files that are left out of every case (deNIST).
    #[command(subcommand)]
    KnownFiles(KnownFilesCommand),
    /// Read one document in a sandbox; dia runs this itself.
    #[command(hide = true)]
    ReadDocument,
    /// Speak to a server.
    #[command(flatten)]
    Client(ClientCommand),
}

/// `dia config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the manual: every key with its meaning, unit and default.
    Show,
    /// Read the configuration as `dia serve` would and say what is wrong.
    Check,
}

/// `dia jobs …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first.
    List {
        /// Only in this state: ready, running, done, dead, cancelled.
        #[arg(long)]
        state: Option<String>,
        /// Only of this kind, such as `extract_text`.
        #[arg(long)]
        kind: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one job as JSON.
    Show {
        /// The job's id.
        id: String,
    },
    /// Make a dead or cancelled job due again.
    Retry {
        /// The job's id.
        id: String,
    },
    /// Cancel a waiting or running job; its document ends as excluded.
    Cancel {
        /// The job's id.
        id: String,
    },
}

/// `dia queues …`
#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// Depth, age and pause of every queue.
    List,
    /// Stop claiming from a queue; running jobs finish.
    Pause {
        /// ingest, extract, ocr, index, relate, chat, network or maintenance.
        queue: String,
    },
    /// Claim from a queue again.
    Resume {
        /// ingest, extract, ocr, index, relate, chat, network or maintenance.
        queue: String,
    },
}

/// `dia users …`
#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List everybody who signed up, newest first.
    List,
    /// Suspend a person: sessions, API keys and open sockets end, for good.
    Suspend {
        /// The person's e-mail address.
        email: String,
    },
    /// Let a suspended person sign in again.
    Restore {
        /// The person's e-mail address.
        email: String,
    },
    /// Take away the second factor that a person has lost.
    RemoveSecondFactor {
        /// The person's e-mail address.
        email: String,
    },
    /// Print a code with which a person sets a new password within twenty minutes, at POST /auth/reset-password.
    ResetPassword {
        /// The person's e-mail address.
        email: String,
    },
}

/// `dia audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the public key that verifies the log: pin it where nobody can change it.
    Key,
    /// Make every leaf and hash of the log again from its rows, and compare with all checkpoints, the published ones included.
    Check,
}

/// `dia known-files …`
#[derive(Debug, Subcommand)]
pub(crate) enum KnownFilesCommand {
    /// Make the sorted file out of lists: the NSRL's text or CSV, or one hash a line. It counts from the next start on.
    Import {
        /// Lists of MD5, SHA-1 or SHA-256 hashes in hexadecimal digits; of several in a line the strongest is taken.
        #[arg(required = true)]
        lists: Vec<PathBuf>,
        /// File to make; what `workers.known_files` names when absent.
        #[arg(long)]
        into: Option<PathBuf>,
    },
}

/// `dia exceptions …`
#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionsCommand {
    /// Try exceptions again; a document named with --document also when it was ignored.
    Retry {
        /// The database's id.
        database: String,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Set exceptions aside with a note; they count as excluded until they are retried by --document.
    Ignore {
        /// The database's id.
        database: String,
        /// Why.
        #[arg(long)]
        note: String,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Replace the file of a document; the former one is kept as a version.
    Replace {
        /// The document's id.
        document: String,
        /// The file.
        file: PathBuf,
        /// Why.
        #[arg(long)]
        note: Option<String>,
    },
}

/// Which exceptions; all of the database when nothing is named.
#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// Only of this category, such as encrypted.
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// Only this document.
    #[arg(long)]
    pub(crate) document: Option<String>,
    /// Only of this batch.
    #[arg(long)]
    pub(crate) batch: Option<String>,
}

/// `dia passwords …`
#[derive(Debug, Subcommand)]
pub(crate) enum PasswordsCommand {
    /// Keep passwords: one that is asked for, or one a line from stdin or a file. None is ever shown again.
    Add {
        #[command(flatten)]
        whose: For,
        /// File with one password a line (UTF-8).
        #[arg(long)]
        file: Option<PathBuf>,
        /// Where they come from.
        #[arg(long)]
        note: Option<String>,
    },
    /// List what is kept: where each comes from and how often it fitted, never the password.
    List {
        /// The case's id.
        #[arg(long)]
        case: String,
    },
    /// Remove a password; what it opened stays open.
    Remove {
        /// The case's id.
        #[arg(long)]
        case: String,
        /// The password's id, as `list` shows it.
        password: String,
    },
}

/// What passwords are for.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct For {
    /// The case's id.
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// One protected document's id: kept for its case too, and tried at once.
    #[arg(long)]
    pub(crate) document: Option<String>,
}

/// Commands that speak to a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create your user with the setup code or an invitation; the password is asked for, or read from `DIA_PASSWORD`.
    Signup {
        /// Your e-mail address.
        #[arg(long)]
        email: String,
        /// Your name.
        #[arg(long)]
        name: String,
        /// The setup code that dia printed, or an invitation.
        #[arg(long)]
        code: Option<String>,
    },
    /// Sign in; the password is asked for, or read from `DIA_PASSWORD`.
    Login {
        /// Your e-mail address.
        #[arg(long)]
        email: String,
    },
    /// Sign out and forget the tokens.
    Logout,
    /// List your cases, or create one with --create.
    Cases {
        /// Title of a case to create.
        #[arg(long)]
        create: Option<String>,
    },
    /// List databases, or create one with --create.
    Databases {
        /// Only of this case; the case of the one created.
        #[arg(long)]
        case: Option<String>,
        /// Name of a database to create.
        #[arg(long, requires = "case")]
        create: Option<String>,
    },
    /// Upload a file or a folder with everything in it, and account for every file. Interrupted, it resumes.
    Import {
        /// File or folder.
        path: PathBuf,
        /// The database's id.
        #[arg(long)]
        database: String,
        /// Whose documents these are.
        #[arg(long)]
        custodian: Option<String>,
        /// Return once everything is uploaded, without waiting for processing.
        #[arg(long)]
        no_wait: bool,
    },
    /// The equation of a database.
    Status {
        /// The database's id.
        database: String,
    },
    /// What could not be processed, and why; and what to do about it.
    #[command(args_conflicts_with_subcommands = true)]
    Exceptions {
        /// The database's id.
        database: Option<String>,
        /// What to do about them; without it they are listed.
        #[command(subcommand)]
        command: Option<ExceptionsCommand>,
    },
    /// Passwords that open the protected documents of a case: tried on what comes, and again on what could not be opened.
    #[command(subcommand)]
    Passwords(PasswordsCommand),
    /// Take a case away: its files as they were received, how each came, and the signed log, for `dia verify`.
    Export {
        /// The case's id.
        case: String,
        /// Only the documents of this database.
        #[arg(long)]
        database: Option<String>,
        /// The tape archive to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take what was done away as a file with its proofs, for `dia verify`.
    Trail {
        /// The case's id; the whole log when absent (administrators).
        #[arg(long)]
        case: Option<String>,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Read a batch again: what an older version or other settings read, and the exceptions they left.
    Reprocess {
        /// The database's id.
        database: String,
        /// The batch's id.
        batch: String,
        /// Also what today's version with today's settings has read.
        #[arg(long)]
        all: bool,
    },
    /// Search a database.
    Search {
        /// The database's id.
        #[arg(long)]
        database: String,
        /// The query: words, "phrases", AND OR NOT, field:value, prefix*.
        query: String,
    },
    /// Ask a question about a case and see the answer with its citations.
    Ask {
        /// The case's id.
        #[arg(long)]
        case: String,
        /// Only from this database.
        #[arg(long)]
        database: Option<String>,
        /// The question.
        question: String,
    },
}
