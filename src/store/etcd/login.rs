//! The login at one node of etcd: gets a token, puts it into requests, and renews it.
//!
//! etcd rejects a token before it does anything else, so a rejected request is safe to send again with the next token, even if it writes.
//! A token is rejected when it has expired, when a restart of etcd has forgotten it, when users or roles have changed, and when it is
//! missing because authentication was turned on later. All requests that are rejected together wait for one login.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use etcd_client::AuthClient;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use http::{HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::transport;
use tower::{BoxError, Service};

use super::failure::{Failure, of_client};
use super::options::Credentials;
use crate::metrics;

/// The call that gives a token, and needs none.
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// What requests carry.
#[derive(Debug)]
pub(super) enum Token {
    /// There was no login yet.
    Unknown,
    /// etcd knows no users.
    NotNeeded,
    Value(HeaderValue),
}

/// A login that several requests wait for.
type Running = Shared<BoxFuture<'static, Result<(), Failure>>>;

/// The token of a node.
pub(super) struct Login {
    credentials: Option<Credentials>,
    token: Arc<ArcSwap<Token>>,
    running: Mutex<Option<Running>>,
}

impl Login {
    pub fn new(credentials: Option<Credentials>) -> Self {
        let token = if credentials.is_some() { Token::Unknown } else { Token::NotNeeded };
        Self { credentials, token: Arc::new(ArcSwap::from_pointee(token)), running: Mutex::new(None) }
    }

    /// The token that a request made now carries.
    pub fn token(&self) -> Arc<Token> {
        self.token.load_full()
    }

    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Has requests through a channel carry the token.
    pub fn authorize(&self, channel: transport::Channel) -> Authorized {
        Authorized { channel, token: Arc::clone(&self.token) }
    }

    /// Logs in, unless another token than `used` is there already. Calls during a login wait for that login. It goes on if no call waits
    /// any more.
    pub async fn renew(&self, used: &Arc<Token>, auth: AuthClient, limit: Duration) -> Result<(), Failure> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let running = {
            let mut running = self.running.lock();
            if !Arc::ptr_eq(&self.token.load(), used) {
                return Ok(());
            }
            match &*running {
                Some(login) if login.peek().is_none() => login.clone(),
                _ => {
                    let login = log_in(credentials.clone(), Arc::clone(&self.token), auth, limit);
                    let login = login.boxed().shared();
                    tokio::spawn(login.clone());
                    running.insert(login).clone()
                }
            }
        };
        running.await
    }
}

async fn log_in(
    Credentials { user, password }: Credentials,
    token: Arc<ArcSwap<Token>>,
    mut auth: AuthClient,
    limit: Duration,
) -> Result<(), Failure> {
    let late = || Failure::NotSent("no answer to the authentication within the limit".to_owned());
    let next = match timeout(limit, auth.authenticate(user, password)).await.map_err(|_| late())? {
        Ok(answer) => {
            let mut value = HeaderValue::try_from(answer.token())
                .map_err(|_| Failure::NotSent("etcd's token cannot be sent in a header".to_owned()))?;
            value.set_sensitive(true);
            metrics::ETCD_LOGINS.add(1);
            Token::Value(value)
        }
        Err(error) if is_auth_disabled(&error) => Token::NotNeeded,
        Err(error) => {
            return Err(match of_client(error) {
                // The request that needs the token was not sent.
                Failure::Unsettled(why) => Failure::NotSent(why),
                failure => failure,
            });
        }
    };
    token.store(Arc::new(next));
    Ok(())
}

fn is_auth_disabled(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message() == "etcdserver: authentication is not enabled")
}

/// A channel whose requests carry the token of its node.
#[derive(Clone)]
pub(super) struct Authorized {
    channel: transport::Channel,
    token: Arc<ArcSwap<Token>>,
}

impl Service<Request<Body>> for Authorized {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Token::Value(value) = &**self.token.load()
            && request.uri().path() != AUTHENTICATE
        {
            request.headers_mut().insert("token", value.clone());
        }
        let answer = self.channel.call(request);
        async move { answer.await.map_err(Into::into) }.boxed()
    }
}
