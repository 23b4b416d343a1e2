//! What of the audit trail somebody should look at soon: rules over events, and the alerts they raise. A rule counts events of some
//! actions that concern one subject within a time; everything it needs stands in plain columns of the trail, so that no key of a
//! case is ever needed to watch over it.

use std::time::Duration;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// When there is time: it may well be meant.
    Notice,
    /// Today.
    Warning,
    /// Now.
    Critical,
}

impl Severity {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Whom or what a rule counts events of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Who did it.
    Actor,
    /// Where it was asked from.
    Address,
    /// What was acted on.
    Resource,
    /// The whole system.
    System,
}

impl Subject {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Address => "address",
            Self::Resource => "resource",
            Self::System => "system",
        }
    }
}

/// What a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Events.
    Events,
    /// Different resources that the events name.
    Resources,
    /// Different cases.
    Cases,
    /// Events that name no resource: sign-ins to accounts that are not there.
    Nameless,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name in rows, JSON, logs and the configuration.
    pub name: &'static str,
    /// What it means, for whoever reads the alert.
    pub meaning: &'static str,
    /// How soon somebody should look.
    pub severity: Severity,
    /// The actions that count.
    pub actions: &'static [&'static str],
    /// A field of the event's details that must have this value; only for events of no case.
    pub only: Option<(&'static str, &'static str)>,
    /// Whom or what they are counted by.
    pub subject: Subject,
    /// What is counted.
    pub counted: Counted,
    /// How many raise an alert, unless the configuration says otherwise.
    pub threshold: u64,
    /// Within this time.
    pub window: Duration,
}

const TEN_MINUTES: Duration = Duration::from_mins(10);
const HOUR: Duration = Duration::from_hours(1);

/// A rule for something that is looked at whenever it happens.
const fn each(name: &'static str, severity: Severity, actions: &'static [&'static str], meaning: &'static str) -> Rule {
    Rule {
        name,
        meaning,
        severity,
        actions,
        only: None,
        subject: Subject::Resource,
        counted: Counted::Events,
        threshold: 1,
        window: HOUR,
    }
}

/// A rule for what one actor does too much of.
const fn much(
    name: &'static str,
    actions: &'static [&'static str],
    threshold: u64,
    window: Duration,
    meaning: &'static str,
) -> Rule {
    Rule { subject: Subject::Actor, threshold, window, ..each(name, Severity::Warning, actions, meaning) }
}

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        threshold: 10,
        window: TEN_MINUTES,
        ..each(
            "brute_force",
            Severity::Warning,
            &["session.login_failed"],
            "somebody guesses the password of one account",
        )
    },
    Rule {
        subject: Subject::Address,
        counted: Counted::Resources,
        threshold: 5,
        window: TEN_MINUTES,
        ..each(
            "password_spray",
            Severity::Warning,
            &["session.login_failed"],
            "wrong passwords for several accounts come from one address",
        )
    },
    Rule {
        subject: Subject::Address,
        counted: Counted::Nameless,
        threshold: 10,
        window: TEN_MINUTES,
        ..each(
            "account_probing",
            Severity::Notice,
            &["session.login_failed"],
            "somebody signs in to accounts that are not there",
        )
    },
    each(
        "token_replay",
        Severity::Critical,
        &["session.replayed"],
        "a refresh token that was used before came back: it may have been stolen; the session was ended",
    ),
    much(
        "mass_download",
        &["document.downloaded", "document.version_downloaded"],
        200,
        HOUR,
        "one person downloads many original files",
    ),
    much("mass_view", &["document.viewed"], 2_000, HOUR, "one person opens many documents"),
    much("mass_search", &["case.searched"], 1_000, HOUR, "one person searches far more often than people do"),
    much("mass_question", &["message.asked"], 300, HOUR, "one person asks far more often than people do"),
    much("mass_deletion", &["document.deleted"], 50, TEN_MINUTES, "one person deletes many documents"),
    Rule {
        counted: Counted::Cases,
        ..much(
            "case_hopping",
            &["document.viewed", "document.downloaded", "case.searched"],
            20,
            HOUR,
            "one person reads in many cases",
        )
    },
    each("case_exported", Severity::Warning, &["case.exported"], "somebody took the files of a case away"),
    each("case_deleted", Severity::Warning, &["case.deleted"], "a case was deleted"),
    Rule {
        only: Some(("role", "administrator")),
        ..each(
            "administrator_made",
            Severity::Critical,
            &["user.signed_up", "user.role_set"],
            "somebody became an administrator",
        )
    },
    Rule {
        only: Some(("role", "administrator")),
        subject: Subject::Actor,
        ..each("administrator_invited", Severity::Warning, &["user.invited"], "an administrator was invited")
    },
    much("many_keys", &["api_key.created"], 5, HOUR, "one person makes many API keys"),
    each(
        "key_out_of_network",
        Severity::Critical,
        &["api_key.refused"],
        "an API key came from a network it is not for: it may have been stolen",
    ),
    Rule {
        threshold: 5,
        window: TEN_MINUTES,
        ..each(
            "second_factor_guessing",
            Severity::Critical,
            &["session.second_factor_failed"],
            "somebody who knows a password guesses the code of the second factor",
        )
    },
    each("second_factor_removed", Severity::Warning, &["second_factor.removed"], "a second factor was taken away"),
    each(
        "recovery_code_used",
        Severity::Notice,
        &["second_factor.recovery_code_used"],
        "somebody signed in with a recovery code",
    ),
    each(
        "password_reset_issued",
        Severity::Warning,
        &["user.password_reset_issued"],
        "an administrator gave out a code that sets somebody's password",
    ),
    each("user_suspended", Severity::Notice, &["user.suspended"], "somebody was suspended"),
    each(
        "break_glass",
        Severity::Critical,
        &["break_glass.asked", "break_glass.approved"],
        "an administrator asks to read a case without being a member, or may",
    ),
    Rule {
        subject: Subject::Actor,
        ..each("wall_lifted", Severity::Warning, &["case.wall_lifted"], "an ethical wall was taken away")
    },
    each("webhook_added", Severity::Notice, &["webhook.created"], "a case tells another program what happens in it"),
    much("trail_exported", &["audit.exported"], 1, HOUR, "the audit trail was taken away as a file"),
    each(
        "password_changed",
        Severity::Notice,
        &["user.password_changed", "user.password_reset"],
        "a password was changed",
    ),
    each(
        "integrity_failure",
        Severity::Critical,
        &["document.damaged"],
        "stored bytes are missing or are not those that were written",
    ),
    Rule {
        subject: Subject::System,
        ..each(
            "log_damaged",
            Severity::Critical,
            &["audit.damaged"],
            "the audit log does not go on from what was signed: rows were changed",
        )
    },
    Rule {
        subject: Subject::System,
        threshold: 10,
        window: HOUR,
        ..each("jobs_given_up", Severity::Warning, &["job.buried"], "jobs fail for good")
    },
    Rule {
        subject: Subject::System,
        ..each("queue_paused", Severity::Notice, &["queue.paused"], "a queue was paused or resumed")
    },
];

/// The rule of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rules_have_names_of_their_own_and_can_be_met() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        for rule in RULES {
            assert!(rule.threshold > 0 && !rule.actions.is_empty() && !rule.window.is_zero(), "{}", rule.name);
            assert_eq!(super::rule(rule.name), Some(rule));
        }
        assert_eq!(rule("everything"), None);
    }
}
