//! Which messages of a thread must be read: those that say or bring something no later one does.

/// What a message says and brings, for [`inclusive`].
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// Its text, answers quoted below or above included, without the lines above it ([`body`]). `None` when it cannot be
    /// read.
    pub text: Option<&'a str>,
    /// What its attachments are, in order and without repetition: SHA-256 of each.
    pub attachments: &'a [[u8; 32]],
}

/// The text of a message without the lines above its body.
pub fn body(text: &str) -> &str {
    text.split_once("\n\n").map_or("", |(_, body)| body)
}

/// True for every message that is inclusive: no later message of its thread holds its whole text and all its attachments. The
/// bodies are those of one thread, earliest first. Marks of quotation at the start of lines, white space and case make no
/// difference. Copies that say and bring the same leave only the last one inclusive.
pub fn inclusive(bodies: &[Body<'_>]) -> Vec<bool> {
    let words: Vec<Option<String>> = bodies.iter().map(|body| body.text.map(words)).collect();
    let holds = |later: usize, earlier: usize| {
        let (Some(all), Some(some)) = (&words[later], &words[earlier]) else { return false };
        let brought = bodies[later].attachments;
        all.contains(some.as_str()) && bodies[earlier].attachments.iter().all(|one| brought.binary_search(one).is_ok())
    };
    let is_held = |earlier: usize| (earlier + 1..bodies.len()).any(|later| holds(later, earlier));
    (0..bodies.len()).map(|at| !is_held(at)).collect()
}

/// The words between blanks, a blank on either end, so that only whole words are found in others.
fn words(text: &str) -> String {
    let mut all = String::from(" ");
    for line in text.lines() {
        let line = line.trim_start_matches(|scalar: char| scalar.is_whitespace() || matches!(scalar, '>' | '|'));
        for word in line.split_whitespace() {
            all.push_str(&word.to_lowercase());
            all.push(' ');
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'a>(texts: &[&'a str]) -> Vec<Body<'a>> {
        texts.iter().map(|text| Body { text: Some(text), attachments: &[] }).collect()
    }

    #[test]
    fn what_a_later_message_holds_need_not_be_read() {
        let answer = "No.\n\nOn Monday Ann wrote:\n> Shall we sign\n> the lease?";
        let bodies = said(&["Shall we\nsign the lease?", answer, "Thanks. No.", "Thanks. No. Bye."]);
        assert_eq!(inclusive(&bodies), [false, true, false, true]);
        assert_eq!(inclusive(&said(&["art", "party"])), [true, true], "half words prove nothing");
    }

    #[test]
    fn only_later_messages_count_and_the_last_copy_stays() {
        assert_eq!(inclusive(&said(&["a b", "a", "A ", ""])), [true, false, true, true]);
    }

    #[test]
    fn what_brings_attachments_that_no_later_one_brings_must_be_read() {
        let (lease, plan) = ([1; 32], [2; 32]);
        let mut bodies = said(&["see attached", "thanks\n> see attached", "thanks > see attached once more"]);
        bodies[0].attachments = std::slice::from_ref(&lease);
        assert_eq!(inclusive(&bodies), [true, true, true]);
        let both = [lease, plan];
        bodies[1].attachments = &both;
        assert_eq!(inclusive(&bodies), [false, true, true]);
    }

    #[test]
    fn what_cannot_be_read_is_inclusive_and_holds_nothing() {
        let mut bodies = said(&["a", "b", "a b"]);
        bodies[2].text = None;
        assert_eq!(inclusive(&bodies), [true, true, true]);
    }

    #[test]
    fn the_lines_above_a_body_are_not_what_it_says() {
        assert_eq!(body("From: Ann\nSubject: The lease\n\nShall we sign?\n\nAnn"), "Shall we sign?\n\nAnn");
        assert_eq!(body("From: Ann\n"), "");
    }
}
