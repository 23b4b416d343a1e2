//! dia as a client of its own API: what the web app and other programs do, from a terminal.

mod account;
mod ask;
mod exceptions;
mod import;
mod journal;
mod passwords;
mod read;
mod session;
mod trail;

use anyhow::Result;

use crate::cli::ClientCommand;

/// Runs a client command against `server`.
pub(crate) async fn run(command: ClientCommand, server: String) -> Result<()> {
    match command {
        ClientCommand::Signup { email, name, code } => account::signup(&server, &email, &name, code.as_deref()).await,
        ClientCommand::Login { email } => account::login(&server, &email).await,
        ClientCommand::Logout => account::logout(&server).await,
        ClientCommand::Cases { create } => read::cases(&server, create.as_deref()).await,
        ClientCommand::Databases { case, create } => read::databases(&server, case.as_deref(), create.as_deref()).await,
        ClientCommand::Import { path, database, custodian, no_wait } => {
            import::run(&server, &path, &database, custodian.as_deref(), no_wait).await
        }
        ClientCommand::Status { database } => read::status(&server, &database).await,
        ClientCommand::Exceptions { database, command } => exceptions::run(&server, database.as_deref(), command).await,
        ClientCommand::Passwords(command) => passwords::run(&server, command).await,
        ClientCommand::Reprocess { database, batch, all } => {
            exceptions::reprocess(&server, &database, &batch, all).await
        }
        ClientCommand::Export { case, database, out } => trail::export(&server, &case, database.as_deref(), &out).await,
        ClientCommand::Trail { case, out } => trail::run(&server, case.as_deref(), &out).await,
        ClientCommand::Search { database, query } => read::search(&server, &database, &query).await,
        ClientCommand::Ask { case, database, question } => {
            ask::run(&server, &case, database.as_deref(), &question).await
        }
    }
}
