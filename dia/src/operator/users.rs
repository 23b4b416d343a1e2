//! `dia users …`.

use anyhow::{Context, Result};
use domain::page::PageQuery;
use storage::{
    Tx, password_resets, second_factors,
    users::{self, Change, User, normal_email},
};

use super::operator;
use crate::{cli::UsersCommand, compose, config::Config, out};

/// `dia users …`
pub(crate) async fn users(command: UsersCommand, config: Config) -> Result<()> {
    let storage = compose::storage(&config).await?;
    match command {
        UsersCommand::List => list(&mut storage.read(&operator()).await?).await?,
        UsersCommand::Suspend { email } => set_active(storage.begin(&operator()).await?, &email, false).await?,
        UsersCommand::Restore { email } => set_active(storage.begin(&operator()).await?, &email, true).await?,
        UsersCommand::RemoveSecondFactor { email } => {
            let mut tx = storage.begin(&operator()).await?;
            let user = named(&mut tx, &email).await?;
            second_factors::remove_of(&mut tx, user.id).await.context("cannot take the second factor away")?;
            tx.commit().await?;
            out::line(&format!("{} signs in by password alone now", user.email));
        }
        UsersCommand::ResetPassword { email } => {
            let mut tx = storage.begin(&operator()).await?;
            let user = named(&mut tx, &email).await?;
            let (code, ends) = password_resets::issue(&mut tx, user.id).await.context("cannot give out a code")?;
            tx.commit().await?;
            out::line(&format!("{code}  good once until {ends}"));
        }
    }
    storage.db.close().await;
    Ok(())
}

async fn list(tx: &mut Tx) -> Result<()> {
    let mut page = PageQuery::default();
    loop {
        let found = users::list(tx, &page).await?;
        found.items.iter().for_each(show);
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(()),
        }
    }
}

async fn set_active(mut tx: Tx, email: &str, is_active: bool) -> Result<()> {
    let id = named(&mut tx, email).await?.id;
    let change = Change { is_active: Some(is_active), role: None };
    let user = users::change(&mut tx, id, change).await.context("cannot change the person")?;
    tx.commit().await?;
    show(&user);
    Ok(())
}

async fn named(tx: &mut Tx, email: &str) -> Result<User> {
    let account = match normal_email(email) {
        Some(email) => users::by_email(tx, &email).await?,
        None => None,
    };
    Ok(account.with_context(|| format!("nobody has the address `{email}`; `dia users list` shows everybody"))?.user)
}

fn show(user: &User) {
    let factor = if user.has_second_factor { "  second factor" } else { "" };
    let suspended = if user.is_active { "" } else { "  suspended" };
    let last = user.last_login.map_or_else(|| "never".to_owned(), |at| at.to_string());
    out::line(&format!("{}  {:<13}  {}  signed in {last}{factor}{suspended}", user.id, user.role.name(), user.email));
}
