//! What attacks came to: how many were tried, and each that was not answered as it should have been.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The attacks of one class.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// How many were tried.
    pub(crate) tried: u64,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
    /// What is worth saying besides.
    pub(crate) notes: Vec<String>,
}

impl Class {
    /// Counts an attack; `what` says what was wrong where the answer was not `right`.
    pub(crate) fn judge(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.tried += 1;
        if !right {
            self.failures.push(what());
        }
    }

    /// The same for an answer that a judge looked at.
    pub(crate) fn hear(&mut self, attack: &str, verdict: Result<(), String>) {
        self.tried += 1;
        if let Err(wrong) = verdict {
            self.failures.push(format!("{attack}: {wrong}"));
        }
    }

    /// Says something besides.
    pub(crate) fn note(&mut self, words: String) {
        self.notes.push(words);
    }

    /// Takes what another part of the class found.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.tried += other.tried;
        self.failures.extend(other.failures);
        self.notes.extend(other.notes);
    }
}

/// The last line of the program.
pub(crate) fn report(classes: &BTreeMap<&str, Class>, seconds: f64) -> Value {
    let counts = |class: &Class| json!({ "tried": class.tried, "failures": class.failures.len() });
    let each: BTreeMap<&str, Value> = classes.iter().map(|(name, class)| (*name, counts(class))).collect();
    let failures: usize = classes.values().map(|class| class.failures.len()).sum();
    json!({ "classes": each, "failures": failures, "seconds": (seconds * 10.0).round() / 10.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        let mut class = Class::default();
        class.judge(true, || "right".to_owned());
        class.judge(false, || "wrong".to_owned());
        class.hear("an attack", Err("heard".to_owned()));
        class.hear("an attack", Ok(()));
        let report = report(&BTreeMap::from([("x", class)]), 1.0);
        assert_eq!(report["classes"]["x"], json!({ "tried": 4, "failures": 2 }));
        assert_eq!(report["failures"], 2);
    }
}
