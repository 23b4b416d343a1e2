//! `recognise_text`: what `extract_text` does, for documents with scanned pages. It has a queue of its own, so that a
//! thousand scans never stand before a letter.

use domain::jobs::RecogniseText;
use storage::Tx;

use super::{extract_text::Reached, give_up};
use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

impl Handler<RecogniseText> for Context {
    async fn run(&self, job: &RecogniseText, run: &Run) -> Result<(), JobError> {
        match self.read(&self.reader, job.case, job.document, run).await? {
            Reached::TheEnd => Ok(()),
            Reached::AScan => Err(JobError::fail(anyhow::anyhow!("this reader does not stop at scans"))),
        }
    }

    async fn buried(&self, tx: &mut Tx, job: &RecogniseText, error: &JobError) -> storage::Result<()> {
        give_up(tx, job.case, job.document, error).await
    }
}
