//! The one table of error codes that the API can answer with: name, HTTP status, meaning. `docs/errors.md` is generated
//! from it and checked by a test.

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $meaning:literal;)+) => {
        /// A code a client can act on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the body's `code` field.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means and what to do next.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", 400, "the request is malformed; the message says which part";
    MalformedJson = "malformed_json", 400, "the body is not the JSON this route expects; the message says where";
    BadQuery = "bad_query", 400, "the search query cannot be read; `at` points at the character";
    BadCursor = "bad_cursor", 400, "the cursor is not one this list gave out; start again without a cursor";
    MissingIdempotencyKey = "missing_idempotency_key", 400, "creating requests carry an Idempotency-Key header of 1 to 128 visible characters";
    Unauthenticated = "unauthenticated", 401, "the access token or API key is missing, expired or not valid; log in or refresh";
    BadCredentials = "bad_credentials", 401, "e-mail address or password is wrong";
    BadSecondFactor = "bad_second_factor", 401, "the code is wrong or was used, or the sign-in took too long; try the next code, or log in again";
    BadRefreshToken = "bad_refresh_token", 401, "the refresh token is unknown, expired or was used before; log in again";
    Forbidden = "forbidden", 403, "your role, or the scopes of your API key, do not allow this; ask a manager of the case";
    SecondFactorRequired = "second_factor_required", 403, "your role needs a second factor; set one up at POST /auth/mfa/totp, then go on";
    StepUpRequired = "step_up_required", 403, "this needs a fresh proof that it is you: send your password, and a code if you have a second factor, to POST /auth/step-up; then repeat the request";
    BadResetCode = "bad_reset_code", 403, "the code is wrong, over or was used; ask for another";
    BadSetupCode = "bad_setup_code", 403, "the setup code is wrong or was used; it is printed when dia starts on an empty system";
    SignupClosed = "signup_closed", 403, "sign-up is closed; ask an administrator for an invitation";
    NotFound = "not_found", 404, "there is no such thing, or it is not yours to see";
    MethodNotAllowed = "method_not_allowed", 405, "the route exists but not with this method";
    RequestTimeout = "request_timeout", 408, "the request took too long to arrive; send it again";
    Conflict = "conflict", 409, "the state of the thing does not allow this; read it again";
    EmailTaken = "email_taken", 409, "a user with this e-mail address exists";
    MailOff = "mail_off", 409, "dia sends no letters here; ask an administrator for a code";
    Infected = "infected", 409, "the virus scanner found something in the file; its bytes are not handed out";
    IdempotencyMismatch = "idempotency_mismatch", 409, "this Idempotency-Key was used with another request; use a fresh key";
    IdempotencyInProgress = "idempotency_in_progress", 409, "a request with this Idempotency-Key is still running; wait and repeat it";
    UnsupportedProtocol = "unsupported_protocol", 412, "uploads in pieces speak tus 1.0.0; send Tus-Resumable: 1.0.0";
    TooLarge = "too_large", 413, "the body or file exceeds the configured limit";
    UnsupportedMediaType = "unsupported_media_type", 415, "this route does not take that Content-Type";
    RangeNotSatisfiable = "range_not_satisfiable", 416, "the requested range lies outside the file";
    Invalid = "invalid", 422, "a field does not hold a permitted value; the message says which";
    WeakPassword = "weak_password", 422, "the password is too short or too easy to guess; the message says why";
    TooManyRequests = "too_many_requests", 429, "too many requests; wait for the time in Retry-After";
    ChecksumMismatch = "checksum_mismatch", 460, "the bytes that came do not have the checksum that was sent; send them again";
    Internal = "internal", 500, "something failed inside dia; the request id finds it in the log";
    Unavailable = "unavailable", 503, "dia is starting, stopping or a backend is away; repeat the request";
    StorageFull = "storage_full", 507, "the disk is full; nothing was stored, repeat the upload when there is room";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = Code::ALL.iter().map(|c| c.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| (400..600).contains(&c.status())));
    }

    /// `docs/errors.md` holds exactly these codes and meanings.
    #[test]
    fn the_documentation_is_true() {
        let page = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} | {} |", code.name(), code.status(), code.meaning());
            assert!(page.contains(&row), "docs/errors.md lacks: {row}");
        }
        let rows = page.split("## Exceptions").next().unwrap_or_default().matches("\n| `").count();
        assert_eq!(rows, Code::ALL.len());
    }
}
