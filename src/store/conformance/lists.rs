//! Cases about listing.

use futures_util::StreamExt;

use super::{
    StoreUnderTest, area, grant, key, list_all, names, present, put, put_leased, unconditional, within, write,
};
use crate::store::port::Op;

pub async fn an_empty_area_is_one_empty_page(subject: StoreUnderTest) {
    let store = &subject.store;
    let mut pages = store.list(&[&area()]);
    let first =
        within("the first page", pages.next()).await.expect("one page must come").expect("a listing works");
    assert!(first.entries.is_empty(), "nothing is there, got {:?}", first.entries);
    assert!(first.revision >= 0, "a revision is not negative");
    assert!(within("the end", pages.next()).await.is_none(), "one page is all");
}

pub async fn many_keys_come_in_pages_of_one_revision(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let numbers: Vec<u32> = (0..4_500).collect();
    let mut last = 0;
    for chunk in numbers.chunks(100) {
        let ops = chunk.iter().map(|n| put(&key(&area, format_args!("{n:05}")), n.to_string())).collect();
        last = write(store, ops).await.revision;
    }
    let mut pages = store.list(&[&area]);
    let mut sizes = Vec::new();
    while let Some(page) = within("a page", pages.next()).await {
        sizes.push(page.expect("a page").entries.len());
    }
    assert!(sizes.len() >= 3, "4,500 keys need three pages at least, got {sizes:?}");
    assert!(sizes.iter().all(|size| *size > 0), "no page of a listing with keys is empty, got {sizes:?}");

    let (entries, revision) = list_all(store, &area).await;
    assert!(revision >= last, "a listing is at least as new as the writes finished before it");
    assert_eq!(entries.len(), numbers.len());
    for (entry, n) in entries.iter().zip(numbers) {
        assert_eq!(&*entry.key, format!("{area}{n:05}"));
        assert_eq!(entry.value, n.to_string());
    }
}

pub async fn writes_during_a_listing_do_not_show(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    for chunk in (0..2_400u32).collect::<Vec<_>>().chunks(100) {
        let ops = chunk.iter().map(|n| put(&key(&area, format_args!("{n:05}")), "old")).collect();
        write(store, ops).await;
    }
    let mut pages = store.list(&[&area]);
    let first = within("the first page", pages.next()).await.expect("a page").expect("a page");
    write(store, vec![put(&key(&area, "02399"), "new"), put(&key(&area, "99999"), "new")]).await;
    write(store, vec![Op::Delete(key(&area, "02398"))]).await;
    let mut entries = first.entries;
    while let Some(page) = within("a page", pages.next()).await {
        let page = page.expect("a page");
        assert_eq!(page.revision, first.revision, "all pages are of one revision");
        entries.extend(page.entries);
    }
    assert_eq!(entries.len(), 2_400, "keys written or deleted during the listing must not show");
    assert!(
        entries.iter().all(|entry| entry.value == "old"),
        "values written during the listing must not show"
    );
}

/// `a/b` lists `a/b`, `a/bc` and `a/b/c`.
pub async fn a_prefix_is_text_not_a_folder(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let keys = ["b", "b-c", "b/c", "b/c/d", "b0", "bc", "a", "c", "b\u{fffd}", "b\u{10ffff}"];
    write(store, keys.iter().map(|name| put(&key(&area, name), *name)).collect()).await;
    let listed = names(store, &format!("{area}b")).await;
    let expected: Vec<&str> = vec!["", "-c", "/c", "/c/d", "0", "c", "\u{fffd}", "\u{10ffff}"];
    assert_eq!(listed, expected.into_iter().map(str::to_owned).collect());
    let below = names(store, &format!("{area}b/")).await;
    assert_eq!(below, ["c", "c/d"].into_iter().map(str::to_owned).collect());
}

/// Two prefixes have several pages each, one has no keys, and one has few. Keys between the prefixes are not listed.
pub async fn several_prefixes_are_of_one_revision(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let trees = ["a/", "b/", "c/", "d/"].map(|tree| format!("{area}{tree}"));
    let [large, other, empty, small] = trees.each_ref();
    for chunk in (0..4_500u32).collect::<Vec<_>>().chunks(50) {
        let both = chunk.iter().flat_map(|n| [large, other].map(|tree| (tree, n)));
        write(store, both.map(|(tree, n)| put(&key(tree, format_args!("{n:05}")), "old")).collect()).await;
    }
    write(store, vec![put(&key(&area, "b"), "old"), put(&key(&area, "bb/x"), "old")]).await;
    write(store, vec![put(&key(small, "x"), "old")]).await;
    let mut pages = store.list(&[small, large, empty, other]);
    let first = within("the first page", pages.next()).await.expect("a page").expect("a page");
    write(store, vec![put(&key(large, "04499"), "new"), put(&key(empty, "x"), "new")]).await;
    let revision = first.revision;
    let mut listed = trees.each_ref().map(|_| Vec::new());
    let mut page = first;
    loop {
        assert_eq!(page.revision, revision, "all pages are of one revision");
        assert!(!page.entries.is_empty(), "no page of a listing with keys is empty");
        let tree = trees.iter().position(|tree| page.entries[0].key.starts_with(tree.as_str()));
        let tree = tree.unwrap_or_else(|| panic!("{} was not asked for", page.entries[0].key));
        for entry in page.entries {
            assert!(entry.key.starts_with(&trees[tree]), "a page is of one prefix, not also {}", entry.key);
            assert_eq!(entry.value, "old", "what is written during the listing does not show");
            listed[tree].push(entry.key);
        }
        match within("a page", pages.next()).await {
            Some(next) => page = next.expect("a page"),
            None => break,
        }
    }
    assert_eq!(listed.each_ref().map(Vec::len), [4_500, 4_500, 0, 1]);
    assert!(listed.iter().all(|keys| keys.is_sorted_by(|left, right| left < right)), "each is in key order");
}

/// A listing and a `Get` return the same entry.
pub async fn entries_carry_revisions_version_and_lease(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let lease = grant(store, 600).await;
    let (plain, leased) = (key(&area, "a"), key(&area, "b"));
    let created = write(store, vec![put(&plain, "1"), put_leased(&leased, "1", lease)]).await;
    let changed = write(store, vec![put(&plain, "2")]).await;
    let (entries, _) = list_all(store, &area).await;
    assert_eq!(entries, vec![present(store, &plain).await, present(store, &leased).await]);
    assert_eq!(entries[0].create_revision, created.revision);
    assert_eq!(entries[0].mod_revision, changed.revision);
    assert_eq!((entries[0].version, entries[0].lease), (2, None));
    assert_eq!((entries[1].version, entries[1].lease), (1, Some(lease)));
    let outcome = super::commit(store, unconditional(vec![Op::GetPrefix(area.as_str().into())])).await;
    assert_eq!(outcome.reads, vec![entries], "GetPrefix and a listing agree");
}
