//! Pages of lists: the parameters `limit` and `after`, and the answer `{"revision":…,"total":…,"items":[…],"next":"…"}`.
//!
//! `next` is a cursor: it says after which item the next page begins. Each list decides what its cursors hold, usually the sort
//! key of the last item. Then a page stays right while the registry changes between two requests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::spec::Parameter;
use crate::domain::event::Revision;
use crate::domain::json;
use crate::domain::shape::{MemberShape, ObjectShape, Shape};
use crate::domain::validate::rule::Shown;
use crate::error::Error;

/// Most items of a page.
pub const MOST_ITEMS: usize = 200;
/// Items of a page if the request does not say how many.
const USUAL_ITEMS: usize = 100;

pub const LIMIT: Parameter =
    Parameter::query("limit", "Most items of the answer, from 1 to 200. Without it: 100.")
        .matching("^(?:[1-9][0-9]?|1[0-9]{2}|200)$");
pub const AFTER: Parameter = Parameter::query(
    "after",
    "The page that follows another one: `next` of the answer before, with all other parameters as they were.",
)
.matching("^[A-Za-z0-9_-]+$");

/// The members of an answer that is a page, for its [`Shape`]. Between [`TOTAL`] and [`NEXT`] come [`items`], and what only some
/// lists have.
pub const REVISION: MemberShape = MemberShape {
    name: "revision",
    about: "The revision of the store that the answer shows.",
    shape: Shape::Long,
};
pub const TOTAL: MemberShape =
    MemberShape { name: "total", about: "The number of items on all pages together.", shape: Shape::Long };
pub const NEXT: MemberShape = MemberShape {
    name: "next",
    about: "`after` of the request for the next page. Absent on the last page.",
    shape: Shape::Text,
};
const ITEMS: &str = "items";

/// The member with the items of a page. `list` is the shape of the whole list.
pub const fn items(about: &'static str, list: Shape) -> MemberShape {
    MemberShape { name: ITEMS, about, shape: list }
}

/// The members that each page has, even if it is empty. `None` for an object that is no page.
pub fn always(object: &ObjectShape) -> Option<&'static [&'static str]> {
    object.members.starts_with(&[REVISION, TOTAL]).then_some(&["revision", "total", ITEMS])
}

/// Which page a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Most items of the page.
    pub limit: usize,
    /// The JSON of the cursor.
    after: Option<Vec<u8>>,
}

impl PageQuery {
    /// From the parameters `limit` and `after`. 400001 for other values than [`LIMIT`] and [`AFTER`] state.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Self::parse(call.query("limit").as_deref(), call.query("after").as_deref())
    }

    fn parse(limit: Option<&str>, after: Option<&str>) -> Result<Self, Error> {
        let limit = match limit {
            None => USUAL_ITEMS,
            Some(text) => limit_of(text).ok_or_else(|| {
                let shown = Shown::new(text);
                Error::invalid(format!(
                    "the parameter 'limit' is '{shown}'; give a number from 1 to {MOST_ITEMS}"
                ))
            })?,
        };
        let after = after.map(|text| BASE64.decode(text).map_err(|_| no_cursor(text))).transpose()?;
        Ok(Self { limit, after })
    }

    /// What the cursor in `after` holds. `None` for the first page. 400001 if the cursor is not of a list with such cursors.
    pub fn after<C: DeserializeOwned>(&self) -> Result<Option<C>, Error> {
        let Some(after) = &self.after else { return Ok(None) };
        let cursor = serde_json::from_slice(after);
        cursor.map(Some).map_err(|_| no_cursor(&BASE64.encode(after)))
    }

    /// The page that begins with the first of these items. `total` is the number of items on all pages. `cursor` gives the cursor
    /// of an item; if more items follow than fit, `next` is that of the last one on the page.
    pub fn page<T, C: Serialize>(
        &self,
        revision: Revision,
        total: usize,
        items: impl IntoIterator<Item = T>,
        cursor: impl FnOnce(&T) -> C,
    ) -> Page<T> {
        let mut rest = items.into_iter();
        let items: Vec<T> = rest.by_ref().take(self.limit).collect();
        let last = rest.next().and_then(|_| items.last());
        let next = last.map(cursor);
        page_of(revision, total, items, next)
    }
}

/// A page whose items somebody else has cut. `next` is the cursor of the page that follows, if one does.
pub fn page_of<T, C: Serialize>(revision: Revision, total: usize, items: Vec<T>, next: Option<C>) -> Page<T> {
    let next = next.map(|cursor| BASE64.encode(json::encode(&cursor)));
    Page { revision, total, items, next, more: () }
}

fn limit_of(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok())?.filter(|limit| *limit <= MOST_ITEMS)
}

fn no_cursor(text: &str) -> Error {
    Error::invalid(format!(
        "the parameter 'after' is '{}', which is no cursor of this list; take it from 'next' of the answer before",
        Shown::new(text)
    ))
}

/// A page of a list. `M` has the members that only some lists have besides those of each page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T, M = ()> {
    pub revision: Revision,
    /// The number of items on all pages together.
    pub total: usize,
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    #[serde(flatten)]
    pub more: M,
}

impl<T> Page<T> {
    /// The page with more members.
    pub fn with<M>(self, more: M) -> Page<T, M> {
        let Self { revision, total, items, next, .. } = self;
        Page { revision, total, items, next, more }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::error::Code;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Place(String, u64);

    fn text<T: Serialize, M: Serialize>(page: &Page<T, M>) -> String {
        String::from_utf8(json::encode(page)).unwrap()
    }

    #[test]
    fn limits() {
        let limit = |text: Option<&str>| {
            PageQuery::parse(text, None).map(|page| page.limit).map_err(|error| error.code)
        };
        let stated = match LIMIT.value {
            crate::http::spec::ParameterValue::Regex(regex) => regex::Regex::new(regex).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(limit(None), Ok(100));
        for number in 1..=200 {
            let text = number.to_string();
            assert_eq!(limit(Some(&text)), Ok(number));
            assert!(stated.is_match(&text), "{text}");
        }
        for bad in ["", "0", "201", "999", "-1", "+1", "01", " 1", "1.0", "x", "99999999999999999999999", "٣"]
        {
            assert_eq!(limit(Some(bad)), Err(Code::InvalidParameters), "{bad:?}");
            assert!(!stated.is_match(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_pages_of_a_list_hold_each_item_once() {
        let all: Vec<u64> = (0..450).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = PageQuery::parse(Some("200"), after.as_deref()).unwrap();
            let from = query.after::<Place>().unwrap();
            let rest = all.iter().copied().filter(|item| from.as_ref().is_none_or(|from| *item > from.1));
            let page = query.page(7, all.len(), rest, |item| Place("é/?".to_owned(), *item));
            assert_eq!((page.revision, page.total), (7, 450));
            seen.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_page_that_holds_the_rest_has_no_next() {
        let query = PageQuery::parse(Some("2"), None).unwrap();
        let page = |items: &[u64]| query.page(1, items.len(), items.to_vec(), |item| *item);
        assert_eq!(text(&page(&[])), r#"{"revision":1,"total":0,"items":[]}"#);
        assert_eq!(text(&page(&[5, 6])), r#"{"revision":1,"total":2,"items":[5,6]}"#);
        assert_eq!(text(&page(&[5, 6, 7])), r#"{"revision":1,"total":3,"items":[5,6],"next":"Ng"}"#);
    }

    #[test]
    fn a_list_adds_members() {
        #[derive(Serialize)]
        struct Counts {
            counts: u64,
        }
        let page = PageQuery::parse(None, None).unwrap().page(1, 0, [0; 0], |item| *item);
        assert_eq!(
            text(&page.with(Counts { counts: 3 })),
            r#"{"revision":1,"total":0,"items":[],"counts":3}"#
        );
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_rejected() {
        let read = |after: &str| {
            let after = PageQuery::parse(None, Some(after)).and_then(|query| query.after::<Place>());
            after.map_err(|error| (error.code, error.detail.into_owned()))
        };
        let good = BASE64.encode(r#"["a",3]"#);
        assert_eq!(read(&good), Ok(Some(Place("a".to_owned(), 3))));
        let other =
            [r#"["a"]"#, "3", "[3,3]", "", "{", "\u{0}", r#"["a",3] "x""#].map(|text| BASE64.encode(text));
        let broken = ["=", "a", "a b", "é", "WyJhIiwzXQ=="].map(str::to_owned);
        for bad in other.into_iter().chain(broken) {
            let (code, detail) = read(&bad).unwrap_err();
            assert_eq!(code, Code::InvalidParameters);
            assert!(detail.contains(&format!("'{bad}', which is no cursor")), "{detail}");
        }
    }

    #[test]
    fn pages_are_told_from_other_objects() {
        const PAGE: &[MemberShape] = &[REVISION, TOTAL, items("", Shape::List(&Shape::Text)), NEXT];
        let always = |members| always(&ObjectShape { name: "X", about: "", members });
        assert_eq!(always(PAGE), Some(&["revision", "total", "items"][..]));
        assert_eq!(always(&[TOTAL]), None);
    }
}
