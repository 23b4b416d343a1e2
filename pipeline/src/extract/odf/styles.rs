//! What styles say that matters to text: which hide it, and which slides are not shown.

use std::collections::HashSet;

use crate::extract::markup::Element;

/// The styles met so far.
#[derive(Debug, Default)]
pub(super) struct Styles {
    current: Option<String>,
    hidden_text: HashSet<String>,
    hidden_slides: HashSet<String>,
}

impl Styles {
    /// Takes in a start tag.
    pub(super) fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            "style" => self.current = element.attribute("name"),
            "text-properties" if element.attribute("display").as_deref() == Some("none") => {
                self.hidden_text.extend(self.current.clone());
            }
            "drawing-page-properties" if element.attribute("visibility").as_deref() == Some("hidden") => {
                self.hidden_slides.extend(self.current.clone());
            }
            _ => {}
        }
    }

    pub(super) fn hides_text(&self, element: &Element<'_>) -> bool {
        element.attribute("style-name").is_some_and(|name| self.hidden_text.contains(&name))
    }

    pub(super) fn hides_slide(&self, element: &Element<'_>) -> bool {
        element.attribute("style-name").is_some_and(|name| self.hidden_slides.contains(&name))
    }
}
