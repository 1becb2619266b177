//! The pair of keys that tests sign with. It is the pair of the recorded exchanges, and it protects nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub const PRIVATE: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIIEowIBAAKCAQEAkw5TH8mk3Rh3ahJiOw+sC7qDYKZU8rq3ZbI4IEkqHyrwOa1D\n\
CprXN8CPJJ3Zi28TS/VTPSFNNplErdCs22x2xOYk6+SMsEpLlvwWoBAmjw43x0xa\n\
YuiwYtH9rRYiUKZgr20HnapjU4lIR/OMeg6DvE+w0nGqA8jwSxPQNJmIM6X7+L62\n\
t/83dRXZzfrNn7+Joz+UwYKOkcX3qS7+Wj0mytnWGiaYMuLi9fcapp3EMUBdi47B\n\
BTiwRie5hgd2R2lTx8/OxWKLkROd21kcdy4CynxQR9T1XBUFbKQB982Etqft1qLv\n\
HuUvJdzb0aTCa3nJjXy0tgXjvklaGRrNUREdZwIDAQABAoIBABoJq0YxmfNb5aju\n\
YF48xCW/fIucZ+YikV58U9vDmKW0IJzVxM0X5YuFmNLO8Dn0DOKiKX7lapqEQNjV\n\
3gVsCwuKBHeQHCkKvp+ZOxhUQ7+IsO+k4UwqDzEwJU6EYMcO7oehMnwEM1oTMK0s\n\
vm7OKx0orxJT9dp9ta5Vb8QgezFJqZ7mEfaj1dRuWVmBDzW89Rp+Bmvdc5laZSHq\n\
Mo0fa/nsadhatZGUfd8V7gHEUqF8YAVbVBHXi4sSxTDp1sR82rjq6zmIpti5X1J0\n\
OplnD+iYdtzoNF5w9JJcYaZnDiP5K8P8cmhXtzI0yYGTc8w1z4ZzfsUMAQFsCPrD\n\
rT8uhKECgYEAzq41CujUTUIZi1jpgoaOtLSzpgIRV68sRNNydyRNdJp+/p6IjQmW\n\
inXWdUWXTOIDOnm8A4wBc4ObbbxPg65mmNRGgHiQKBy/xv8n+owA66SAJklNOz3r\n\
Z9Ir9x5UgR/1B4e8YF0rryXhs/1iNTodD3aR8H70oxjGcnoZRUWUsasCgYEAtiW/\n\
CmSHCF+LqoAiIeoQYgxkjhPOxDFFdST+4OIPQ3/a+q0Fxx4iQ8WrV/6UiE0N+w5l\n\
X2DHwLekjsXyBSqJJT96vgJB1YaAUGC/GJ3suwcXRHAIzUwFXli0fYHUVggFajWo\n\
YUr812ij+baABz5jFh+syo6LsSDEawuIi/Pt/zUCgYEAnib2FcwGMLxE2bmGrceT\n\
SboAwiZQ6Pz1bhEzRPH1hyV1yha7vNi6Zmc3XPOMjFtiRwvCECDBN4hclkMDwWrh\n\
vU6qSEJ5ZQhiw76Z9AHP7oEpQqLSw2NlUEOmOuntlgVDNajrP/3roJHnPRjGXp6C\n\
gEOl9xbe0jLyH8VIsxZEaxMCgYBp611CT97uEZGIHma6zf+k5Iv8yqvsDrLTQiYs\n\
44f4unq+VqsLdQx72JCg5Nu+vwAoQ+DTK9Y8zQ2WMKliM6/4xwc7QtjBsCshkoDN\n\
cdhdkewH0hZsO47LpE2gxkSRmqx7bKRzn0WUhbcE2QluLOs1zEmQqH+3CtTtYpGO\n\
wNRfGQKBgBVHkojAinENJECdk3bhJUkHj7uJGU8LE40tTton1Ud89R8cZEeziJNF\n\
0qmeLDHnri8Mncq8gdH7jGC12U8vy6LEqMAOe9BUML/Rwcwgbywgty4Px+iYEkv+\n\
xK9P621dmoh0sKUM6GFf3tQ/oqQ4cY/nOAtx0nzHcIhl8KWeyISG\n\
-----END RSA PRIVATE KEY-----\n\
";

pub const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkw5TH8mk3Rh3ahJiOw+s\n\
C7qDYKZU8rq3ZbI4IEkqHyrwOa1DCprXN8CPJJ3Zi28TS/VTPSFNNplErdCs22x2\n\
xOYk6+SMsEpLlvwWoBAmjw43x0xaYuiwYtH9rRYiUKZgr20HnapjU4lIR/OMeg6D\n\
vE+w0nGqA8jwSxPQNJmIM6X7+L62t/83dRXZzfrNn7+Joz+UwYKOkcX3qS7+Wj0m\n\
ytnWGiaYMuLi9fcapp3EMUBdi47BBTiwRie5hgd2R2lTx8/OxWKLkROd21kcdy4C\n\
ynxQR9T1XBUFbKQB982Etqft1qLvHuUvJdzb0aTCa3nJjXy0tgXjvklaGRrNUREd\n\
ZwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";

/// Both files of a pair in a folder that is deleted in the end.
pub struct Files {
    folder: TempDir,
}

impl Files {
    #[expect(clippy::unwrap_used, reason = "tests")]
    pub fn new(private: &str, public: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(files.private(), private).unwrap();
        fs::write(files.public(), public).unwrap();
        files
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn private(&self) -> PathBuf {
        self.folder.path().join("private.key")
    }

    pub fn public(&self) -> PathBuf {
        self.folder.path().join("public.key")
    }
}
