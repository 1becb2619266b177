//! Why a command does not do what it was asked for, and the exit code that a script sees.

use super::client::CallError;

/// The answer is no: what was asked for does not exist or is not so.
pub const NO: u8 = 1;
/// The node cannot be reached, or its answer cannot be used (`EX_UNAVAILABLE` of sysexits).
pub const UNREACHABLE: u8 = 69;
/// The node rejects the request because of its load (`EX_TEMPFAIL`).
pub const OVERLOADED: u8 = 75;
/// The caller may not do this (`EX_NOPERM`).
pub const DENIED: u8 = 77;

/// A message for standard error and an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    /// Empty: the output says it already.
    pub text: String,
}

impl Failure {
    pub fn no(text: impl Into<String>) -> Self {
        Self { code: NO, text: text.into() }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: super::super::EXIT_USAGE, text: text.into() }
    }

    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, text: text.into() }
    }

    /// An exit code alone.
    pub fn silent(code: u8) -> Self {
        Self { code, text: String::new() }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match &error {
            CallError::Unreachable(_) | CallError::NoAnswer(_) => UNREACHABLE,
            CallError::Refused(refusal) => match (refusal.status, refusal.code) {
                (429 | 503, _) => OVERLOADED,
                (401 | 403, _) => DENIED,
                (400, 400_001) => super::super::EXIT_USAGE,
                // Not an answer of the registry: another server, or another protocol.
                (_, 0) => UNREACHABLE,
                (400..500, _) => NO,
                _ => UNREACHABLE,
            },
        };
        Self { code, text: error.to_string() }
    }
}
