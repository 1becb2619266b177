//! `health`, with the exit codes of the original.

use super::client::{Call, CallError};
use super::failure::Failure;
use super::session::Session;

/// No node of the registry answers, or it answers with the code 500003.
const UNAVAILABLE: u8 = 2;
/// The node answers that it is not healthy.
const ABNORMAL: u8 = 3;
/// The code of an internal error.
const INTERNAL: u32 = 500_003;

/// Prints nothing if the node is healthy.
pub async fn run(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let path = session.path("registry/health");
    match session.call(&Call::get(path)).await {
        Ok(answer) if !session.output.is_text() => {
            let output = session.output;
            output.value(session.terminal, &answer)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let code = match &error {
                CallError::Refused(refusal) if !matches!(refusal.code, 0 | INTERNAL) => ABNORMAL,
                _ => UNAVAILABLE,
            };
            Err(Failure { code, text: error.to_string() })
        }
    }
}
