//! Hashes of passwords, in the text forms that the original writes and reads, and generated passwords.
//!
//! | form | written | read |
//! | --- | --- | --- |
//! | `1024$8$1$<salt>$<key>`: scrypt with its parameters N, r, p; salt and key in hex | yes | yes |
//! | `$2a$…`: bcrypt | no | yes, old accounts have it |
//!
//! These functions compute for milliseconds. `hasher` runs them apart from the threads that answer requests.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{CryptoRng, Rng};
use scrypt::Params;
use subtle::ConstantTimeEq;

const LOG_N: u8 = 10;
const R: u32 = 8;
const P: u32 = 1;
const SALT_BYTES: usize = 8;
const KEY_BYTES: usize = 32;

/// Most memory that a stored hash may make the check take: 32 times that of our own. A hash that asks for more is not checked,
/// since whoever planted it would stop logins.
const MAX_MEMORY: u64 = 32 * 1024 * 1024;
/// Most passes over that memory, as `p` asks for them.
const MAX_PASSES: u32 = 16;
/// Most rounds of a stored bcrypt hash, as a power of 2: some 4 s of CPU. The original writes 10 or less.
const MAX_BCRYPT_COST: u32 = 15;

/// A hash of no known password, for accounts that do not exist.
const NOBODY: &str =
    "1024$8$1$6e6f2d6f6e652121$0000000000000000000000000000000000000000000000000000000000000000";

/// Hashing failed. The parameters are constants, so this is a fault of the program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password cannot be hashed: {0}")]
pub struct HashError(String);

/// Hashes a password with a new salt.
pub fn hash(password: &str) -> Result<String, HashError> {
    let salt: [u8; SALT_BYTES] = rand::rng().random();
    let key = derive(password, &salt, LOG_N, R, P, KEY_BYTES)
        .ok_or_else(|| HashError("scrypt failed".to_owned()))?;
    Ok(format!("{}${R}${P}${}${}", 1_u64 << LOG_N, hex::encode(salt), hex::encode(key)))
}

/// Whether the stored hash is one of the password. Without a hash, or with one that cannot be read, the answer is no, after the
/// same computation as with a hash that [`hash`] made: the time does not tell whether an account exists. Old accounts with a
/// bcrypt hash take longer.
pub fn verify(stored: Option<&str>, password: &str) -> bool {
    match stored {
        Some(bcrypt) if bcrypt.starts_with("$2a$") => verify_bcrypt(bcrypt, password),
        stored => stored.and_then(|stored| verify_scrypt(stored, password)).unwrap_or_else(|| {
            verify_scrypt(NOBODY, password);
            false
        }),
    }
}

/// Whether a text has one of the forms of a hash. [`verify`] may still reject it.
pub fn is_hash(text: &str) -> bool {
    let is_scrypt =
        text.split('$').count() == 5 && text.bytes().all(|byte| byte == b'$' || byte.is_ascii_hexdigit());
    is_scrypt || text.starts_with("$2a$")
}

fn verify_bcrypt(stored: &str, password: &str) -> bool {
    let cost = stored.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
    cost.is_some_and(|cost| cost <= MAX_BCRYPT_COST) && bcrypt::verify(password, stored).unwrap_or(false)
}

/// Nothing if the stored text is not of the form, or asks for too much.
fn verify_scrypt(stored: &str, password: &str) -> Option<bool> {
    let mut parts = stored.split('$');
    let mut part = || parts.next();
    let n: u64 = part()?.parse().ok()?;
    let r: u32 = part()?.parse().ok()?;
    let p: u32 = part()?.parse().ok()?;
    let salt = hex::decode(part()?).ok()?;
    let key = hex::decode(part()?).ok()?;
    let memory = n.checked_mul(128)?.checked_mul(u64::from(r))?;
    if part().is_some() || !n.is_power_of_two() || memory > MAX_MEMORY || p > MAX_PASSES {
        return None;
    }
    let log_n = u8::try_from(n.ilog2()).ok()?;
    let derived = derive(password, &salt, log_n, r, p, key.len())?;
    Some(derived.ct_eq(&key).into())
}

fn derive(password: &str, salt: &[u8], log_n: u8, r: u32, p: u32, length: usize) -> Option<Vec<u8>> {
    let parameters = Params::new(log_n, r, p, length).ok()?;
    let mut key = vec![0; length];
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut key).ok()?;
    Some(key)
}

const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";
const SPECIAL: &[u8] = b"-~!@#$%^&*()_=+|<>{}[]";

/// Characters of a generated password. The original takes 8.
const GENERATED_LENGTH: usize = 16;

/// A random password that satisfies the rules of passwords: each class of characters comes at least once.
pub fn generate() -> String {
    generate_from(&mut rand::rng())
}

fn generate_from(random: &mut impl CryptoRng) -> String {
    const CLASSES: [&[u8]; 4] = [UPPER, LOWER, DIGITS, SPECIAL];
    let all = CLASSES.concat();
    let of_each = CLASSES.into_iter();
    let others = std::iter::repeat_n(all.as_slice(), GENERATED_LENGTH - CLASSES.len());
    let mut characters: Vec<u8> =
        of_each.chain(others).filter_map(|class| class.choose(random).copied()).collect();
    characters.shuffle(random);
    characters.into_iter().map(char::from).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_only() {
        let stored = hash("Tester#Pwd1").unwrap();
        assert!(verify(Some(&stored), "Tester#Pwd1"));
        assert!(is_hash(&stored) && is_hash("$2a$06$x"));
        for text in ["", "Tester#Pwd1", "1024$8$1$ab", "1024$8$1$x$y"] {
            assert!(!is_hash(text), "{text}");
        }
        for wrong in ["", "tester#Pwd1", "Tester#Pwd1 ", "Tester#Pwd"] {
            assert!(!verify(Some(&stored), wrong), "{wrong:?}");
        }
        assert_ne!(hash("Tester#Pwd1").unwrap(), stored, "each hash has its own salt");
    }

    #[test]
    fn the_text_form_is_that_of_the_original() {
        let stored = hash("Tester#Pwd1").unwrap();
        let parts: Vec<&str> = stored.split('$').collect();
        assert_eq!(parts[..3], ["1024", "8", "1"]);
        assert_eq!(parts[3..].iter().map(|hex| hex.len()).collect::<Vec<_>>(), [16, 64]);
    }

    /// The test vector of RFC 7914 with N = 1024.
    #[test]
    fn scrypt_is_as_published() {
        let stored = "1024$8$16$4e61436c$fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886\
                      ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640";
        assert!(verify(Some(stored), "password"));
        assert!(!verify(Some(stored), "Password"));
    }

    /// A vector of Go's library, and a hash made here.
    #[test]
    fn bcrypt_is_read() {
        let stored = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert!(verify(Some(stored), "allmine"));
        assert!(!verify(Some(stored), "allmin"));
        let made = bcrypt::hash_with_salt("Tester#Pwd1", 4, *b"sixteen bytes ok").unwrap();
        let made = made.format_for_version(bcrypt::Version::TwoA);
        assert!(made.starts_with("$2a$04$"));
        assert!(verify(Some(&made), "Tester#Pwd1"));
        assert!(!verify(Some(&made), "Tester#Pwd2"));
    }

    #[test]
    fn what_cannot_be_read_is_no_password() {
        let key = "00".repeat(32);
        for stored in [
            String::new(),
            "Tester#Pwd1".to_owned(),
            "1024$8$1".to_owned(),
            format!("1024$8$1$zz${key}"),
            format!("1024$8$1$aa${key}$x"),
            format!("1000$8$1$aa${key}"),
            format!("1048576$8$1$aa${key}"),
            format!("1024$8$1000000$aa${key}"),
            format!("18446744073709551615$8$1$aa${key}"),
            format!("0$8$1$aa${key}"),
            "1024$8$1$aa$".to_owned(),
            "$2a$31$sixteenbytesokaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
            "$2a$".to_owned(),
            "$2a$ä".to_owned(),
        ] {
            assert!(!verify(Some(&stored), ""), "{stored}");
            assert!(!verify(Some(&stored), "Tester#Pwd1"), "{stored}");
        }
        assert!(!verify(None, "Tester#Pwd1"));
        assert_eq!(verify_scrypt(NOBODY, "Tester#Pwd1"), Some(false), "as much work as for an account");
    }

    #[test]
    fn generated_passwords_have_each_class() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let password = generate();
            assert_eq!(password.len(), GENERATED_LENGTH);
            for class in [UPPER, LOWER, DIGITS, SPECIAL] {
                assert!(password.bytes().any(|byte| class.contains(&byte)), "{password}");
            }
            assert!(seen.insert(password));
        }
    }
}
