//! `login`.

use std::io::IsTerminal as _;

use clap::Args;
use hyper::Method;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use super::client::Call;
use super::contexts::{Context, SavedToken};
use super::failure::Failure;
use super::output::text;
use super::session::Session;

/// The context that a login makes if there is none.
const FIRST_CONTEXT: &str = "default";

/// Log in with an account, and keep its token for the context. The password is read from the terminal or from standard input
#[derive(Args)]
pub struct Login {
    /// Name of the account
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// How long the token is valid, 15m to 24h
    #[arg(long, value_name = "TIME", default_value = "12h")]
    lifetime: String,
}

impl Login {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let folder = session.place.folder.clone();
        let folder = folder.ok_or_else(|| {
            Failure::usage("there is no place for the token: set XDG_CONFIG_HOME or HOME to a folder")
        })?;
        let mut contexts = session.place.contexts.clone();
        let name = match &session.place.context {
            Some(name) => name.clone(),
            None if contexts.contexts.is_empty() => FIRST_CONTEXT.to_owned(),
            None => {
                return Err(Failure::usage(
                    "no context is in use, so the token would belong to none; choose one with --context or `context use`",
                ));
            }
        };
        let addr = session.place.addr.clone();
        let kept = contexts.contexts.get(&name).map(|context| context.addr.as_str()).unwrap_or_default();
        if !kept.is_empty() && kept != addr {
            return Err(Failure::usage(format!(
                "the context '{name}' has the address '{kept}', and the token would come from '{addr}'; leave --addr out, or change the \
                 address of the context with `context set`"
            )));
        }
        let is_plain = session.client.target().addresses.iter().any(|it| !it.is_https && !it.is_loopback());
        if is_plain {
            session.note("warning: the password and the token go over plain HTTP, which others can read");
        }
        let password = password(session)?;
        let body = json!({"name": self.account, "password": password, "tokenExpirationTime": self.lifetime});
        // The token that is there may have ended, and the route needs none.
        session.client.set_token(None);
        let answer = session.call(&Call::new(Method::POST, "/v4/token").body(body)).await?;
        let token = text(&answer, "/token").to_owned();
        if token.is_empty() {
            return Err(Failure::unreachable("the answer of the node has no token"));
        }
        let made = || Context { addr: addr.clone(), ..Context::default() };
        contexts.contexts.entry(name.clone()).or_insert_with(made);
        contexts.current.get_or_insert_with(|| name.clone());
        let mut tokens = folder.tokens()?;
        tokens.insert(name.clone(), SavedToken { addr, account: self.account.clone(), token });
        folder.write_contexts(&contexts)?;
        let path = folder.write_tokens(&tokens)?;
        session.note(&format!(
            "logged in as '{}'; the token of the context '{name}' is in {}",
            self.account,
            path.display()
        ));
        Ok(())
    }
}

fn password(session: &mut Session<'_, '_>) -> Result<String, Failure> {
    let hidden = std::io::stdin().is_terminal().then(Hidden::begin).flatten();
    if hidden.is_some() {
        session.terminal.prompt("password: ");
    }
    let typed = session.typed()?;
    if hidden.is_some() {
        session.note("");
    }
    drop(hidden);
    typed
        .filter(|password| !password.is_empty())
        .ok_or_else(|| Failure::usage("standard input has no password; type it, or send it there"))
}

/// While it exists, the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Option<Self> {
        let old = tcgetattr(std::io::stdin()).ok()?;
        let mut new = old.clone();
        new.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &new).ok()?;
        Some(Self(old))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
