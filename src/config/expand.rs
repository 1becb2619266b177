//! Replaces `${NAME}` and `${NAME||default}` in the values of app.conf and app.yaml, and `$NAME` in paths of files. Pure: a function
//! looks up the variables. No library knows the first syntax.

/// Replaces `${NAME}`, `${NAME||default}`, `${NAME^^||default}` (result in upper case) and `${NAME,,||default}` (result in lower
/// case). A variable that is unset or empty and has no default is replaced by nothing, and is in the list of names that is
/// returned. A `${` without `}` stays as it is. A replaced value is not searched again.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inner, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        let (name, default) = match inner.split_once("||") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let (name, case) = if let Some(name) = name.strip_suffix("^^") {
            (name, str::to_uppercase as fn(&str) -> String)
        } else if let Some(name) = name.strip_suffix(",,") {
            (name, str::to_lowercase as fn(&str) -> String)
        } else {
            (name, str::to_owned as fn(&str) -> String)
        };
        match (variable(name.trim()).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&case(&value)),
            (None, Some(default)) => out.push_str(&case(default)),
            (None, None) => unset.push(name.trim().to_owned()),
        }
        rest = tail;
    }
    out.push_str(rest);
    (out, unset)
}

/// Replaces `$NAME` and `${NAME}` as a shell does. A variable that is unset is replaced by nothing.
pub fn expand_path(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let plain = after
            .split_at(after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len()));
        let (name, tail) = braced.unwrap_or(plain);
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&variable(name).unwrap_or_default());
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("Node-A".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn check(text: &str, expected: &str, unset: &[&str]) {
        let (value, missing) = expand(text, &variable);
        assert_eq!(
            (value.as_str(), missing.as_slice()),
            (expected, unset.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
            "{text:?}"
        );
    }

    #[test]
    fn values() {
        check("plain $HOST", "plain $HOST", &[]);
        check("${HOST}", "Node-A", &[]);
        check("${HOST||x}:${PORT||30100}", "Node-A:30100", &[]);
        check("${HOST^^||x} ${HOST,,||x}", "NODE-A node-a", &[]);
        check("${NONE^^||abc}", "ABC", &[]);
        check("${EMPTY||d}", "d", &[]);
        check("${NONE||}", "", &[]);
        check("a${NONE}b", "ab", &["NONE"]);
        check("${NESTED}", "${HOST}", &[]);
        check("${HOST", "${HOST", &[]);
        check("${}", "", &[""]);
        check("$${HOST}", "$Node-A", &[]);
    }

    #[test]
    fn paths() {
        for (text, expected) in [
            ("/var/$HOST/sc.log", "/var/Node-A/sc.log"),
            ("${HOST}.log", "Node-A.log"),
            ("$NONE/x", "/x"),
            ("cost$", "cost$"),
            ("${HOST", "${HOST"),
        ] {
            assert_eq!(expand_path(text, &variable), expected, "{text:?}");
        }
    }
}
