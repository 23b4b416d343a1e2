//! `send_password_reset`: writes somebody a code with which they set a new password. The code is made here and kept as a digest; when
//! the letter cannot be handed over, it is void and the next attempt makes another.

use domain::{actor::Actor, ids, jobs::SendPasswordReset};
use storage::password_resets::{self, Letter};

use crate::{
    context::Context,
    mail::MailConfig,
    runner::{Handler, JobError, Run},
};

impl Handler<SendPasswordReset> for Context {
    async fn run(&self, job: &SendPasswordReset, run: &Run) -> Result<(), JobError> {
        let Some(user) = job.user.filter(|_| self.mail.is_on()) else { return Ok(()) };
        let actor = Actor::system(ids::fresh());
        let mut tx = run.storage.begin(&actor).await?;
        let Some(letter) = password_resets::issue_by_mail(&mut tx, user).await? else { return Ok(()) };
        tx.commit().await?;
        let sent = self
            .mail
            .send(std::slice::from_ref(&letter.email), "A new password for dia", text(&self.mail, &letter))
            .await;
        if sent.is_err() {
            let mut tx = run.storage.begin(&actor).await?;
            password_resets::unsent(&mut tx, user).await?;
            tx.commit().await?;
        }
        sent
    }
}

fn text(mail: &MailConfig, letter: &Letter) -> String {
    let code = &letter.code;
    let way = if mail.reset_page.is_empty() {
        format!("Set it with this code:\r\n\r\n    {code}\r\n")
    } else {
        format!("Set it here:\r\n\r\n    {}#{code}\r\n", mail.reset_page)
    };
    format!(
        "Somebody asked for a new password for your account at dia.\r\n\r\n{way}\r\nThis is good once, within twenty minutes. It ends all your \
         sessions;\r\na second factor is asked for as ever. If it was not you, do nothing.\r\n"
    )
}
