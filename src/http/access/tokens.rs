//! Tokens whose signature has been verified. A worker remembers them, because a verification costs far more than a request.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use super::Denied;
use crate::cache::access::AccessView;
use crate::error::{Code, Error};
use crate::rbac::signed_in::SignedIn;
use crate::rbac::{Claims, Verifier};

/// How many tokens each of the two generations holds.
const MOST: usize = 4096;

/// How many bytes at the end of a token, which are a part of its signature, find it.
const TAIL: usize = 32;

/// Verified tokens, by the hash of their tail. The hash has a random key, and only a token with the same hash is compared, so the time of
/// the comparison tells nothing to somebody who does not know the signature. A token that is used moves to the young generation. When that is full, the old one is
/// dropped.
#[derive(Default)]
pub(super) struct KnownTokens {
    hasher: RandomState,
    young: HashMap<u64, KnownToken>,
    old: HashMap<u64, KnownToken>,
}

struct KnownToken {
    token: Box<str>,
    claims: Claims,
    /// The number of changes of accounts and roles that `caller` was made at.
    changes: u64,
    caller: Arc<SignedIn>,
}

impl KnownTokens {
    /// The caller that a token belongs to.
    pub(super) fn caller(
        &mut self,
        token: &str,
        now: i64,
        view: &AccessView,
        verifier: &Verifier,
    ) -> Result<Arc<SignedIn>, Denied> {
        let tail = &token.as_bytes()[token.len().saturating_sub(TAIL)..];
        let hash = self.hasher.hash_one(tail);
        if !self.young.contains_key(&hash)
            && let Some(known) = self.old.remove(&hash)
        {
            self.remember(hash, known);
        }
        if let Some(known) = self.young.get_mut(&hash).filter(|known| *known.token == *token) {
            if known.claims.expires_at <= now {
                self.young.remove(&hash);
                return Err(Error::new(Code::TokenExpired, "").into());
            }
            if known.changes != view.changes() {
                known.caller = Arc::new(SignedIn::of(&known.claims, view).map_err(Denied::stale)?);
                known.changes = view.changes();
            }
            return Ok(Arc::clone(&known.caller));
        }
        let claims = verifier.verify(token, now)?;
        let caller = Arc::new(SignedIn::of(&claims, view).map_err(Denied::stale)?);
        let known =
            KnownToken { token: token.into(), claims, changes: view.changes(), caller: Arc::clone(&caller) };
        self.remember(hash, known);
        Ok(caller)
    }

    fn remember(&mut self, hash: u64, known: KnownToken) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}
