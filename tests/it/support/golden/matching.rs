//! Compares an answer with the expected one. Objects have the same members, and arrays the same items, in any order unless the step says
//! `ordered`. Texts match by the rules of [`super::holes`].

use serde_json::{Number, Value};

use super::holes::{Bindings, Piece, fill, match_text, pieces, shown};
use super::pattern::Pattern;

/// A difference and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub String);

/// Whether the order of an array's items counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The same items, in any order.
    Any,
    /// Item by item.
    Kept,
}

/// Matches a document and binds its holes. After a mismatch the bindings are unspecified, so the caller matches with a copy.
///
/// For an array in any order each expected item takes the first remaining item that matches.
pub fn match_value(
    want: &Pattern,
    got: &Value,
    bindings: &mut Bindings,
    at: &str,
    order: Order,
) -> Result<(), Mismatch> {
    match (want, got) {
        (Pattern::Text(text), _) => match_any_text(text, got, bindings, at),
        (Pattern::Object(members), Value::Object(got)) => {
            let wanted: Vec<(String, &Pattern)> =
                members.iter().map(|(name, value)| (fill(name, bindings), value)).collect();
            let missing: Vec<&String> =
                wanted.iter().map(|(name, _)| name).filter(|&name| !got.contains_key(name)).collect();
            let surplus: Vec<&String> =
                got.keys().filter(|&name| wanted.iter().all(|(wanted, _)| wanted != name)).collect();
            if !missing.is_empty() || !surplus.is_empty() {
                return Err(Mismatch(format!("{at}: members missing {missing:?}, too many {surplus:?}")));
            }
            for (name, value) in wanted {
                match_value(value, &got[&name], bindings, &format!("{at}/{name}"), order)?;
            }
            Ok(())
        }
        (Pattern::Array(items), Value::Array(got)) => match_items(items, got, bindings, at, order),
        (Pattern::Null, Value::Null) => Ok(()),
        (Pattern::Bool(want), Value::Bool(got)) if want == got => Ok(()),
        (Pattern::Number(want), Value::Number(got)) if same_number(want, got) => Ok(()),
        _ => {
            Err(Mismatch(format!("{at}: want {}, got {}", shown(&want.to_string()), shown(&got.to_string()))))
        }
    }
}

/// The text patterns `${:any}` and `${:int}` match values of other types.
fn match_any_text(text: &str, got: &Value, bindings: &mut Bindings, at: &str) -> Result<(), Mismatch> {
    if let [Piece::Binds(name, kind)] = pieces(text).as_slice()
        && matches!(kind.as_str(), "any" | "int")
    {
        if kind == "int" && !(got.is_i64() || got.is_u64()) {
            return Err(Mismatch(format!("{at}: want a whole number, got {}", shown(&got.to_string()))));
        }
        if !name.is_empty() {
            let value = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
            bindings.insert(name.clone(), value);
        }
        return Ok(());
    }
    match got {
        Value::String(got) => match_text(text, got, bindings, at),
        other => Err(Mismatch(format!("{at}: want {}, got {}", shown(text), shown(&other.to_string())))),
    }
}

fn match_items(
    items: &[Pattern],
    got: &[Value],
    bindings: &mut Bindings,
    at: &str,
    order: Order,
) -> Result<(), Mismatch> {
    let (items, others_may_follow) = match items {
        [items @ .., Pattern::Text(last)] if last == "${:rest}" => (items, true),
        items => (items, false),
    };
    if got.len() < items.len() || (got.len() > items.len() && !others_may_follow) {
        let got = shown(&Value::Array(got.to_vec()).to_string());
        return Err(Mismatch(format!("{at}: want {} items, got {got}", items.len())));
    }
    let mut left: Vec<&Value> = got.iter().collect();
    for (number, item) in items.iter().enumerate() {
        let at = format!("{at}/{number}");
        let candidates = if order == Order::Kept { 1 } else { left.len() };
        let mut first_mismatch = None;
        let mut taken = None;
        for (position, candidate) in left.iter().take(candidates).enumerate() {
            let mut trial = bindings.clone();
            match match_value(item, candidate, &mut trial, &at, order) {
                Ok(()) => {
                    *bindings = trial;
                    taken = Some(position);
                    break;
                }
                Err(mismatch) => first_mismatch = first_mismatch.or(Some(mismatch)),
            }
        }
        match (taken, first_mismatch) {
            (Some(position), _) => {
                left.remove(position);
            }
            (None, Some(mismatch)) if candidates == 1 => return Err(mismatch),
            (None, _) => {
                let item = item.map_texts(&|text| fill(text, bindings)).to_string();
                let left: Vec<String> = left.iter().map(ToString::to_string).collect();
                let left = shown(&left.join(", "));
                return Err(Mismatch(format!("{at}: no item matches {} among {left}", shown(&item))));
            }
        }
    }
    Ok(())
}

/// 1 and 1.0 are the same number.
fn same_number(want: &Number, got: &Number) -> bool {
    want == got || (want.is_f64() != got.is_f64() && want.as_f64() == got.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(want: &str, got: &str, order: Order) -> Result<Bindings, String> {
        let mut bindings = Bindings::from([("x".to_owned(), "1".to_owned())]);
        let want = serde_json::from_str(want).unwrap();
        let got = serde_json::from_str(got).unwrap();
        match_value(&want, &got, &mut bindings, "body", order).map_err(|Mismatch(why)| why)?;
        bindings.remove("x");
        Ok(bindings)
    }

    /// Asserts a match that binds these values.
    #[track_caller]
    fn matches(want: &str, got: &str, bound: &[(&str, &str)]) {
        let bindings = outcome(want, got, Order::Any).unwrap();
        let seen: Vec<(&str, &str)> =
            bindings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(seen, bound);
    }

    /// Asserts a mismatch whose message has this part.
    #[track_caller]
    fn differs(want: &str, got: &str, part: &str) {
        let why = outcome(want, got, Order::Any).unwrap_err();
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn objects_have_the_same_members() {
        matches(r#"{"a":1,"b${x}":{}}"#, r#"{"b1":{},"a":1}"#, &[]);
        differs(r#"{"a":1}"#, "{}", r#"body: members missing ["a"], too many []"#);
        differs(r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#"too many ["b"]"#);
        differs(r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, "body/a/b: want \"1\", got \"2\"");
        differs("{}", "[]", "body: want");
        differs("{}", "null", "body: want");
    }

    #[test]
    fn scalars_keep_their_type() {
        matches("[1,2.0,true,null]", "[1.0,2,true,null]", &[]);
        differs("1", "true", "want");
        differs("1", "\"1\"", "want");
        differs("\"1\"", "1", "want");
        differs("true", "false", "want");
        differs("null", "0", "want");
        differs("18446744073709551615", "18446744073709551614", "want");
    }

    #[test]
    fn any_and_int_stand_for_whole_values() {
        matches(
            r#"{"a":"${a:any}","b":"${:any}","c":"${c:any}"}"#,
            r#"{"a":"t","b":[1],"c":{"k":[1]}}"#,
            &[("a", "t"), ("c", r#"{"k":[1]}"#)],
        );
        matches(r#""${n:int}""#, "-7", &[("n", "-7")]);
        differs(r#""${:int}""#, "1.5", "whole number");
        differs(r#""${:int}""#, "true", "whole number");
        differs(r#""${:int}""#, "\"1\"", "whole number");
        differs(r#""${:str}""#, "1", "want");
    }

    #[test]
    fn items_come_in_any_order() {
        matches("[1,2,2]", "[2,1,2]", &[]);
        matches(r#"[{"k":"a","v":"${v:str}"},{"k":"b"}]"#, r#"[{"k":"b"},{"k":"a","v":"1"}]"#, &[("v", "1")]);
        differs("[1,2,3]", "[1,4,5]", "body/1: no item matches \"2\" among \"4, 5\"");
        differs("[1,2,2]", "[2,1,1]", "body/2: want \"2\", got \"1\"");
        differs("[1]", "[1,1]", "want 1 items");
        differs("[1,1]", "[1]", "want 2 items");
        differs(r#"[{"a":1}]"#, r#"[{"a":2}]"#, "body/0/a");
    }

    #[test]
    fn an_item_that_does_not_fit_binds_nothing() {
        matches(r#"[{"a":"${a:str}","b":1}]"#, r#"[{"a":"y","b":1}]"#, &[("a", "y")]);
        let two = r#"[{"a":"${a:str}","b":1},{"a":"x","b":2}]"#;
        matches(two, r#"[{"a":"x","b":2},{"a":"y","b":1}]"#, &[("a", "y")]);
    }

    #[test]
    fn order_counts_when_asked() {
        assert!(outcome("[1,2]", "[1,2]", Order::Kept).is_ok());
        let why = outcome("[1,2]", "[2,1]", Order::Kept).unwrap_err();
        assert_eq!(why, "body/0: want \"1\", got \"2\"");
        assert!(outcome(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, Order::Kept).is_err());
    }

    #[test]
    fn rest_lets_others_follow() {
        matches(r#"[2,"${:rest}"]"#, "[1,2,3]", &[]);
        matches(r#"[2,"${:rest}"]"#, "[2]", &[]);
        matches(r#"["${:rest}"]"#, "[]", &[]);
        differs(r#"[2,"${:rest}"]"#, "[1,3]", "no item matches");
        differs(r#"[1,2,"${:rest}"]"#, "[1]", "want 2 items");
    }

    #[test]
    fn what_one_member_binds_the_next_may_use() {
        matches(r#"{"z":"${z:id}","a":"<${z}>"}"#, r#"{"a":"<q>","z":"q"}"#, &[("z", "q")]);
        differs(r#"{"a":"<${z}>","z":"${z:id}"}"#, r#"{"a":"<q>","z":"q"}"#, "not bound");
    }
}
