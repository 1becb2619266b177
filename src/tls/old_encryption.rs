//! Private keys in password-protected PEM of the old form (RFC 1423: `Proc-Type: 4,ENCRYPTED`), which deployments of the original have.
//! OpenSSL derives the key by MD5. The cipher is AES in CBC mode.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};

use super::key_error::KeyError;

/// Whether a PEM text has this form.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
}

/// The same key in PEM without a password.
pub(super) fn decrypt(text: &str, password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begin = lines.iter().find(|line| line.starts_with("-----BEGIN")).ok_or(KeyError::NoKey)?;
    let info = lines.iter().find_map(|line| line.strip_prefix("DEK-Info:"));
    let info = info.ok_or_else(|| KeyError::Unsupported(String::new()))?;
    let (cipher, iv) =
        info.trim().split_once(',').ok_or_else(|| KeyError::damaged("DEK-Info names no initial vector"))?;
    let iv =
        hex::decode(iv.trim()).map_err(|_| KeyError::damaged("the initial vector in DEK-Info is not hex"))?;
    let key_length = match cipher {
        "AES-128-CBC" => 16,
        "AES-192-CBC" => 24,
        "AES-256-CBC" => 32,
        _ => return Err(KeyError::Unsupported(format!("cipher {cipher}: "))),
    };
    let body =
        lines.iter().filter(|line| !line.is_empty() && !line.contains(':') && !line.starts_with("-----"));
    let data = BASE64.decode(body.copied().collect::<String>());
    let data = data.map_err(|_| KeyError::damaged("its body is not base64"))?;
    let salt = iv.get(..8).ok_or_else(|| KeyError::damaged("the initial vector is too short"))?;
    let key = derive(password, salt, key_length);
    let invalid = |_| KeyError::damaged("the initial vector has the wrong length");
    let plain = match key_length {
        16 => cbc::Decryptor::<aes::Aes128>::new_from_slices(&key, &iv)
            .map_err(invalid)?
            .decrypt_padded_vec_mut::<Pkcs7>(&data),
        24 => cbc::Decryptor::<aes::Aes192>::new_from_slices(&key, &iv)
            .map_err(invalid)?
            .decrypt_padded_vec_mut::<Pkcs7>(&data),
        _ => cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, &iv)
            .map_err(invalid)?
            .decrypt_padded_vec_mut::<Pkcs7>(&data),
    };
    let plain = plain.map_err(|_| KeyError::Password)?;
    let end = begin.replacen("BEGIN", "END", 1);
    Ok(format!("{begin}\n{}\n{end}\n", BASE64.encode(&plain)).into_bytes())
}

/// Derives the key as OpenSSL does: MD5 over the last digest, the password and the salt, until there are enough bytes.
fn derive(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let (mut key, mut last) = (Vec::new(), Vec::new());
    while key.len() < length {
        last = Md5::new().chain_update(&last).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Made by OpenSSL for this test, and used nowhere else. The password is `Test#Pwd1`.
    const ENCRYPTED: &str = "\
-----BEGIN EC PRIVATE KEY-----\n\
Proc-Type: 4,ENCRYPTED\n\
DEK-Info: AES-256-CBC,C4FC7483BF49F971EC166C46F6BA0B16\n\
\n\
P2CJzEExNn0Xar9BoH5X7FCpbcH3Zi3rpcWeHL+Xyx6yyG9JONWzTZraVx3YixZ+\n\
Kwh77bU7M65PeDmasx9aQGv7T78S7YRcWJ8gSpkht7VqGXJSmzTC9KwYu1j2acE4\n\
QU53zJf4nyKxyeqUxH9cOoKBWYgwB46fX4Qx49m1S+w=\n\
-----END EC PRIVATE KEY-----\n\
";
    const PLAIN: &str = "\
-----BEGIN EC PRIVATE KEY-----\n\
MHcCAQEEIHKY0oKGz2Mo2qYn93cond+bDEbVkMu1oODFjb2wHZlToAoGCCqGSM49\n\
AwEHoUQDQgAEgjkQbxS+u3Xac6JYUJHvaW3zCHZpEB5viC/VKthGKvE+opivCWXa\n\
WZ7YYQ3ZQZnymfF/to6gzeTRDIlzYCguyw==\n\
-----END EC PRIVATE KEY-----\n\
";

    #[test]
    fn opens_with_its_password_only() {
        assert!(is_encrypted(ENCRYPTED));
        let opened = decrypt(ENCRYPTED, b"Test#Pwd1").unwrap();
        let letters = |pem: &str| pem.replace('\n', "");
        assert_eq!(letters(&String::from_utf8(opened).unwrap()), letters(PLAIN));
        assert_eq!(decrypt(ENCRYPTED, b"wrong"), Err(KeyError::Password));
        let other = decrypt(&ENCRYPTED.replace("AES-256-CBC", "DES-CBC"), b"").unwrap_err();
        assert!(
            other.to_string().starts_with("cipher DES-CBC: this version cannot read the encryption"),
            "{other}"
        );
        assert!(!is_encrypted(PLAIN));
    }
}
