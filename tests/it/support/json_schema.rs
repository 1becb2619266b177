//! Checks a JSON value against a JSON schema, with the keywords that the daemon's OpenAPI document uses.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use regex::Regex;
use serde_json::{Value, json};

/// The keywords that [`problems`] knows. A schema with another keyword is a problem, because it would not be checked.
const KNOWN: [&str; 24] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "not",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "type",
    "uniqueItems",
];

/// What of a value is not as the schema says, each with its place. `document` has the targets of references.
pub fn problems(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(keywords) = schema.as_object() else {
        return if *schema == json!(false) { vec![format!("{place} must not be there")] } else { Vec::new() };
    };
    let mut found = Vec::new();
    let mut demand = |is_good: bool, what: &dyn Fn() -> String| {
        if !is_good {
            found.push(format!("{place} {}", what()));
        }
    };
    for name in keywords.keys() {
        demand(KNOWN.contains(&name.as_str()), &|| format!("has a schema with the unknown keyword {name}"));
    }
    let kind = kind_of(value);
    let is_of = |one: &Value| one == kind || one == "number" && kind == "integer";
    let kinds = &schema["type"];
    let is_of_kind = match kinds {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is_of),
        one => is_of(one),
    };
    demand(is_of_kind, &|| format!("is {value}, described as {kinds}"));
    if let Some(values) = schema["enum"].as_array() {
        demand(values.contains(value), &|| format!("is {value}, none of {values:?}"));
    }
    if let Some(only) = keywords.get("const") {
        demand(only == value, &|| format!("is {value}, not {only}"));
    }
    if let Some(not) = keywords.get("not") {
        demand(!problems(document, not, value, place).is_empty(), &|| {
            format!("is {value}, which is excluded: {not}")
        });
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| problems(document, choice, value, place).is_empty());
        demand(fits, &|| format!("is {value}, which no choice allows"));
    }
    let bound = |name: &str| {
        schema[name].as_i64().unwrap_or(if name.starts_with("min") { i64::MIN } else { i64::MAX })
    };
    let mut count = |count: i64, least: &str, most: &str| {
        let range = bound(least)..=bound(most);
        demand(range.contains(&count), &|| format!("has or is {count}, not within {range:?}"));
    };
    match value {
        Value::String(text) => {
            count(length(text.chars().count()), "minLength", "maxLength");
            if let Some(pattern) = schema["pattern"].as_str() {
                demand(finds(pattern, text), &|| format!("is {text:?}, which does not match {pattern}"));
            }
        }
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| number.as_f64().map(|number| number as i64));
            count(whole.unwrap_or(i64::MAX), "minimum", "maximum");
        }
        Value::Array(elements) => {
            count(length(elements.len()), "minItems", "maxItems");
            let different: HashSet<String> = elements.iter().map(Value::to_string).collect();
            demand(schema["uniqueItems"] != true || different.len() == elements.len(), &|| {
                "has an element twice".to_owned()
            });
        }
        Value::Object(members) => {
            count(length(members.len()), "minProperties", "maxProperties");
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                demand(members.contains_key(name), &|| format!("has no member {name}"));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(target) = schema["$ref"].as_str() {
        let target =
            document.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("no {target}"));
        found.extend(problems(document, target, value, place));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(problems(document, part, value, place));
    }
    if let (Value::Array(elements), Some(described)) = (value, keywords.get("items")) {
        found.extend(
            elements.iter().flat_map(|element| problems(document, described, element, &format!("{place}[]"))),
        );
    }
    if let Value::Object(members) = value {
        for (name, value) in members {
            let place = format!("{place}.{name}");
            if let Some(names) = keywords.get("propertyNames") {
                found.extend(problems(document, names, &json!(name), &format!("the name of {place}")));
            }
            if let Some(described) =
                schema["properties"].get(name).or_else(|| keywords.get("additionalProperties"))
            {
                found.extend(problems(document, described, value, &place));
            }
        }
    }
    found
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() != 0.0) => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn finds(pattern: &str, text: &str) -> bool {
    if pattern.starts_with("^(?=") {
        // The pattern of passwords has look-ahead, which `regex` has not.
        assert!(pattern.ends_with("[!-~]*$"), "{pattern}");
        let has = |class: fn(&char) -> bool| text.chars().any(|one| class(&one));
        let classes = [
            char::is_ascii_uppercase,
            char::is_ascii_lowercase,
            char::is_ascii_digit,
            char::is_ascii_punctuation,
        ];
        return classes.into_iter().all(has) && text.bytes().all(|byte| byte.is_ascii_graphic());
    }
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: Value, good: &[Value], bad: &[Value]) {
        let document = json!({"names": {"type": "string", "pattern": "^[a-z]*$"}});
        for value in good {
            assert_eq!(problems(&document, &schema, value, "it"), Vec::<String>::new(), "{schema}");
        }
        for value in bad {
            assert_ne!(
                problems(&document, &schema, value, "it"),
                Vec::<String>::new(),
                "{schema} takes {value}"
            );
        }
    }

    #[test]
    fn each_keyword_counts() {
        check(json!({}), &[json!(1), json!(null)], &[]);
        check(json!({"type": ["integer", "null"]}), &[json!(1), json!(null)], &[json!("1"), json!(1.5)]);
        check(json!({"type": "number"}), &[json!(1), json!(0.0), json!(1.5)], &[json!("1"), json!(null)]);
        check(json!({"$ref": "#/names", "maxLength": 2}), &[json!("ab")], &[json!("A"), json!("abc")]);
        check(json!({"enum": ["a", null]}), &[json!("a"), json!(null)], &[json!("b")]);
        check(json!({"const": 1}), &[json!(1)], &[json!(2)]);
        check(json!({"not": {"enum": ["a"]}}), &[json!("b")], &[json!("a")]);
        check(json!({"minLength": 1}), &[json!("é")], &[json!("")]);
        check(json!({"minimum": 1, "maximum": 2}), &[json!(1), json!(2)], &[json!(0), json!(3)]);
        let list = json!({"items": {"type": "string"}, "minItems": 1, "maxItems": 2, "uniqueItems": true});
        check(list, &[json!(["a"])], &[json!([]), json!([1]), json!(["a", "a"]), json!(["a", "b", "c"])]);
        let object = json!({"required": ["a"], "properties": {"a": {"type": "string"}}, "additionalProperties": false});
        check(object, &[json!({"a": "b"})], &[json!({}), json!({"a": 1}), json!({"a": "b", "c": 1})]);
        let map = json!({"propertyNames": {"$ref": "#/names"}, "additionalProperties": {"type": "integer"}, "maxProperties": 1});
        check(map, &[json!({"a": 1})], &[json!({"A": 1}), json!({"a": "1"}), json!({"a": 1, "b": 1})]);
        check(json!({"anyOf": [{"type": "string"}, {"const": 1}]}), &[json!("a"), json!(1)], &[json!(2)]);
        check(
            json!({"allOf": [{"type": "string"}, {"maxLength": 1}]}),
            &[json!("a")],
            &[json!(2), json!("ab")],
        );
        check(json!({"multipleOf": 2}), &[], &[json!(2)]);
    }
}
