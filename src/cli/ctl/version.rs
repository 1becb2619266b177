//! `version`.

use super::client::Call;
use super::failure::Failure;
use super::output::shown;
use super::session::Session;

/// Prints the own version and, if it can be reached, that of the node.
pub async fn run(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let own = serde_json::json!({"name": "scctl", "version": env!("CARGO_PKG_VERSION")});
    let server = session.call(&Call::get("/version")).await;
    let output = session.output;
    if !output.is_text() {
        let answer = serde_json::json!({"client": own, "server": server.ok()});
        return output.value(session.terminal, &answer);
    }
    session.terminal.say(concat!("scctl version: ", env!("CARGO_PKG_VERSION")));
    match server {
        Ok(server) => {
            let facts = [
                ("service center version:", shown(&server, "/version")),
                ("build tag:", shown(&server, "/buildTag")),
                ("api version:", shown(&server, "/apiVersion")),
            ];
            session.terminal.say("");
            for (name, value) in facts {
                session.terminal.say(&crate::config::logging::printable(&format!("{name} {value}")));
            }
        }
        // As in the original, a node that cannot be reached is no failure.
        Err(error) => session.note(&format!("the version of the node is not known: {error}")),
    }
    Ok(())
}
