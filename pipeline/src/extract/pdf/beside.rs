//! What stands beside the text of a PDF's pages, written as the pages are: headings from bookmarks, comments, form values.
//! The parser of these must not take the text that was read down with it.

use super::{
    builtin::Builtin,
    guarded,
    objects::{Bookmark, Objects},
};
use crate::{compose::Composer, extract::asides::Asides};

/// A document with less text than this (in scalars) is only the notice that a dynamic form needs another program.
const NOTICE: u32 = 1_000;

#[derive(Default)]
pub(super) struct Beside {
    bookmarks: Vec<Bookmark>,
    asides: Asides,
}

impl Beside {
    pub(super) fn outline(&mut self, document: &Builtin) {
        self.bookmarks = guarded(|| Objects(document.document()).bookmarks());
    }

    pub(super) fn has_bookmark(&self, page: usize) -> bool {
        self.bookmarks.iter().any(|bookmark| bookmark.page == page)
    }

    /// Ends a page, from 0. `with_fields` is false when the page's text has the form's values already.
    pub(super) fn page(&mut self, document: &Builtin, page: usize, with_fields: bool, composer: &mut Composer) {
        for bookmark in self.bookmarks.iter().filter(|bookmark| bookmark.page == page) {
            composer.mark_heading(bookmark.level, &bookmark.title);
        }
        for aside in guarded(|| Objects(document.document()).asides(page, with_fields)) {
            self.asides.push(aside);
        }
        self.asides.write(composer);
    }

    /// Ends the document with its XFA form: the values, and the words when no page shows them.
    pub(super) fn form(&mut self, document: &Builtin, composer: &mut Composer) {
        let Some(form) = guarded(|| Objects(document.document()).xfa()) else { return };
        if composer.begin_span() < NOTICE {
            for line in &form.template {
                composer.end_line();
                composer.push(line);
            }
            for value in form.values {
                self.asides.push(value);
            }
            self.asides.write(composer);
        }
    }
}
