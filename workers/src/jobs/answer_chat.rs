//! `answer_chat`: find passages the asker may read now, answer from them, say it while it is written, verify it, store it.
//! The answer and the job's completion are one transaction; a message that has ended (answered before, cancelled) is left
//! as it is, so a second delivery changes nothing. Where the model fails, the documents speak for themselves.

use std::time::Duration;

use domain::{
    error::Code,
    events::{Answer, ChatStep},
    ids::{DocumentId, fresh},
    jobs::AnswerChat,
};
use index::BlockCache;
use storage::{
    Tx, failpoint,
    messages::{self, Failure, Message, Speaker},
};

use crate::{
    answer::{Source, cited, extractive, gather::gather, voice::Voice},
    llm::{Excerpt, LlmConfig, Model, ModelError, Prompt, claims},
    readers::Readers,
    runner::{Handler, JobError, Run},
};

/// How often a run looks whether its message was cancelled.
const LOOK: Duration = Duration::from_millis(500);
/// Earlier questions and answers the model is told, as messages.
const EARLIER: u32 = 6;

/// Answers questions.
#[derive(Debug)]
pub(super) struct Answerer {
    readers: Readers,
    model: Option<Model>,
}

impl Answerer {
    pub(super) fn new(config: &LlmConfig, cache: BlockCache) -> Self {
        let model = Model::new(config).unwrap_or_else(|error| {
            tracing::error!(%error, "answers are extractive");
            None
        });
        Self { readers: Readers::new(cache), model }
    }
}

impl Handler<AnswerChat> for Answerer {
    async fn run(&self, job: &AnswerChat, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let message = Message::load(&mut tx, job.case, job.message).await?;
        if message.role != Speaker::Assistant || !message.state.is_open() {
            return Ok(());
        }
        let asked =
            message.body.question.ok_or_else(|| JobError::fail(anyhow::anyhow!("an answer without a question")))?;
        let question = Message::load(&mut tx, job.case, asked).await?;
        drop(tx);
        if !messages::begin(&run.storage, job.case, job.message).await? {
            return Ok(());
        }
        tokio::select! {
            biased;
            answered = self.answer(run, &message, &question) => answered,
            ended = ended(run, &message) => ended,
            () = run.cancel.cancelled() => Err(JobError::Cancelled),
        }
    }

    async fn buried(&self, tx: &mut Tx, job: &AnswerChat, _: &JobError) -> storage::Result<()> {
        let message = Message::load(tx, job.case, job.message).await?;
        let failure = Failure {
            code: Code::Internal.name().to_owned(),
            message: "the answer could not be written; ask again".to_owned(),
        };
        message.fail(tx, &failure).await.map(drop)
    }
}

/// Returns once somebody else has ended the message.
async fn ended(run: &Run, message: &Message) -> Result<(), JobError> {
    loop {
        tokio::time::sleep(LOOK).await;
        let mut tx = run.read().await?;
        if !messages::is_open(&mut tx, message.case_id, message.id).await? {
            return Ok(());
        }
    }
}

impl Answerer {
    async fn answer(&self, run: &Run, message: &Message, question: &Message) -> Result<(), JobError> {
        let mut voice = Voice::new(run, message);
        voice.say(ChatStep::Started);
        let Some(sources) = gather(run, &self.readers, message, &question.body.text).await? else {
            return refuse(run, message).await;
        };
        let answer = self.write(run, message, question, &sources, &mut voice).await?;
        failpoint::hit("answer.before_commit");
        let mut retrieved: Vec<DocumentId> = sources.iter().map(|source| source.document).collect();
        retrieved.sort_unstable();
        retrieved.dedup();
        let mut tx = run.begin().await?;
        // Asked again in the transaction that shows it: access may have ended while the answer was written.
        if !storage::conversations::may_ask(&mut tx, message.case_id, message.owner).await? {
            drop(tx);
            return refuse(run, message).await;
        }
        if !message.answer(&mut tx, &answer, retrieved).await? {
            return Ok(());
        }
        voice.say_after(&mut tx, ChatStep::Finished { answer });
        Ok(run.complete(tx).await?)
    }

    async fn write(
        &self,
        run: &Run,
        message: &Message,
        question: &Message,
        sources: &[Source],
        voice: &mut Voice,
    ) -> Result<Answer, JobError> {
        if let Some(model) = self.model.as_ref().filter(|_| !sources.is_empty()) {
            let mut tx = run.read().await?;
            let earlier = question.before(&mut tx, EARLIER).await?;
            drop(tx);
            match ask(model, question, &earlier, sources, voice).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!(message = %message.id, %error, "the model failed; the answer is extractive");
                    voice.say(ChatStep::Started);
                }
            }
        }
        let sources = sources.to_vec();
        let answer = tokio::task::spawn_blocking(move || extractive::answer(&sources)).await?;
        for sentence in &answer.sentences {
            voice.say(ChatStep::Delta { text: format!("{} ", sentence.text) });
        }
        if answer.sentences.is_empty() {
            voice.say(ChatStep::Delta { text: answer.text.clone() });
        }
        Ok(answer)
    }
}

/// Lets the model answer; whole sentences are said as they come, plain and without their citations, which are shown only
/// once verified.
async fn ask(
    model: &Model,
    question: &Message,
    earlier: &[Message],
    sources: &[Source],
    voice: &mut Voice,
) -> Result<Answer, ModelError> {
    let excerpts: Vec<Excerpt<'_>> =
        sources.iter().map(|s| Excerpt { name: &s.name, page: s.page(), text: s.passage() }).collect();
    let turns = turns(earlier);
    let mark = fresh().simple().to_string();
    let (prompt, taken) = Prompt::new(&question.body.text, &excerpts, turns, &mark, model.max_context_characters());
    let (mut text, mut said) = (String::new(), 0);
    model
        .answer(&prompt, |piece| {
            text.push_str(piece);
            if !piece.contains(['.', '?', '!', '\n', '[']) {
                return;
            }
            let whole = claims(&text, false);
            for claim in whole.iter().skip(said) {
                voice.say(ChatStep::Delta { text: format!("{} ", claim.text) });
            }
            said = said.max(whole.len());
        })
        .await?;
    let (claims, sources, method) = (claims(&text, true), sources[..taken].to_vec(), model.name().to_owned());
    for claim in claims.iter().skip(said) {
        voice.say(ChatStep::Delta { text: format!("{} ", claim.text) });
    }
    let judged = tokio::task::spawn_blocking(move || cited::answer(&claims, &sources, &method)).await;
    judged.map_err(|_| ModelError::Protocol("the answer could not be checked"))
}

/// Earlier questions with their answers.
fn turns(earlier: &[Message]) -> Vec<(String, String)> {
    let answers = earlier.iter().filter_map(|answer| Some((answer.body.question?, &answer.body.text)));
    let asked = |id| earlier.iter().find(|message| message.id == id).map(|message| message.body.text.clone());
    answers.filter_map(|(question, text)| Some((asked(question)?, text.clone()))).collect()
}

/// The asker may not read the case any more.
async fn refuse(run: &Run, message: &Message) -> Result<(), JobError> {
    let failure = Failure {
        code: Code::Forbidden.name().to_owned(),
        message: "you may no longer read the documents of this case".to_owned(),
    };
    let mut tx = run.begin().await?;
    if !message.fail(&mut tx, &failure).await? {
        return Ok(());
    }
    Ok(run.complete(tx).await?)
}
