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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::SnapshotBuilder;
    use crate::domain::account::Account;
    use crate::domain::event::RegistryEvent;
    use crate::rbac::test_keys::{Files, PRIVATE, PUBLIC};
    use crate::rbac::{KeyPair, Signer};

    const NOW: i64 = 1_700_000_000;
    const LIFETIME: i64 = 900;

    struct TokenWorld {
        builder: SnapshotBuilder,
        known: KnownTokens,
        signer: Signer,
        verifier: Verifier,
    }

    impl TokenWorld {
        fn new() -> Self {
            let files = Files::new(PRIVATE, PUBLIC);
            let pair = KeyPair::load(&files.private(), &files.public()).unwrap();
            let (signer, verifier) = (pair.signer(), pair.verifier());
            Self { builder: SnapshotBuilder::default(), known: KnownTokens::default(), signer, verifier }
        }

        /// Writes the account `a`; a token of it.
        fn account(&mut self, id: &str, roles: &[&str]) -> String {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            let account = Account {
                id: id.to_owned(),
                name: "a".to_owned(),
                status: "active".to_owned(),
                roles,
                ..Account::default()
            };
            let lifetime = Duration::from_secs(LIFETIME.unsigned_abs());
            let token = self.signer.sign(&account, account.role_names(), lifetime, NOW).unwrap();
            self.builder.apply(RegistryEvent::AccountPut("a".into(), Arc::new(account), 1));
            token
        }

        fn caller(&mut self, token: &str, now: i64) -> Result<Arc<SignedIn>, Denied> {
            self.known.caller(token, now, &self.builder.current().access, &self.verifier)
        }

        fn code(&mut self, token: &str, now: i64) -> Option<Code> {
            self.caller(token, now).err().map(|denied| denied.error.code)
        }
    }

    #[test]
    fn a_caller_is_kept_until_accounts_or_roles_change() {
        let mut world = TokenWorld::new();
        let token = world.account("1", &["r"]);
        let first = world.caller(&token, NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &world.caller(&token, NOW).unwrap()));
        assert!(!first.is_admin);
        world.account("1", &["admin"]);
        assert!(world.caller(&token, NOW).unwrap().is_admin);
        world.builder.apply(RegistryEvent::AccountDeleted("a".into()));
        let denied = world.caller(&token, NOW).unwrap_err();
        assert_eq!((denied.error.code, denied.may_be_stale), (Code::TokenOwnerDeleted, true));
        let second = world.account("2", &["r"]);
        assert_eq!(world.code(&token, NOW), Some(Code::TokenOwnerDeleted));
        assert_eq!(world.code(&second, NOW), None);
    }

    #[test]
    fn a_known_token_expires() {
        let mut world = TokenWorld::new();
        let token = world.account("1", &["r"]);
        assert_eq!(world.code(&token, NOW + LIFETIME - 1), None);
        assert_eq!(world.code(&token, NOW + LIFETIME), Some(Code::TokenExpired));
        assert!(world.known.young.is_empty());
        assert_eq!(world.code(&token, NOW + LIFETIME), Some(Code::TokenExpired));
    }

    /// Only the whole token counts, although its end finds it.
    #[test]
    fn another_token_with_the_same_end_is_not_known() {
        let mut world = TokenWorld::new();
        let token = world.account("1", &["r"]);
        assert_eq!(world.code(&token, NOW), None);
        let tail = &token[token.len() - TAIL..];
        let other = token.replacen("eyJ", "eyK", 1);
        for forged in [tail, &format!("x.y.{tail}"), &format!("{token}{tail}"), &other] {
            let denied = world.caller(forged, NOW).unwrap_err();
            assert_eq!((denied.error.code, denied.may_be_stale), (Code::Unauthorized, false), "{forged}");
        }
        assert_eq!(world.code("", NOW), Some(Code::Unauthorized));
        assert_eq!(world.known.young.len(), 1, "nothing that is forged is kept");
    }

    #[test]
    fn two_generations_bound_the_memory_and_keep_what_is_used() {
        let mut world = TokenWorld::new();
        let token = world.account("1", &["r"]);
        let used = world.caller(&token, NOW).unwrap();
        let claims = world.verifier.verify(&token, NOW).unwrap();
        for number in 0..5 * MOST as u64 {
            let (claims, caller) = (claims.clone(), Arc::clone(&used));
            world.known.remember(number, KnownToken { token: "".into(), claims, changes: 0, caller });
            if number % 1000 == 0 {
                assert!(Arc::ptr_eq(&used, &world.caller(&token, NOW).unwrap()));
            }
            assert!(world.known.young.len() <= MOST && world.known.old.len() <= MOST);
        }
        assert!(Arc::ptr_eq(&used, &world.caller(&token, NOW).unwrap()));
        let unused = 1;
        assert!(!world.known.young.contains_key(&unused) && !world.known.old.contains_key(&unused));
    }
}
