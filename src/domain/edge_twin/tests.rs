//! What a client is told of its twin, and what becomes of what it reports.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn full(version: u64, desired: Value) -> Full {
    let mut desired = map(desired);
    desired.insert("$version".into(), version.into());
    let document = json!({"desired": desired, "reported": {"$version": 1}});
    Full::parse(document.to_string().as_bytes()).unwrap()
}

/// A twin that was read, by us and by the client.
fn read(version: u64, desired: Value) -> EdgeTwin {
    let mut twin = EdgeTwin::default();
    let news = twin.on_full(full(version, desired), &Outbox::default());
    assert_eq!((news.telling, news.desired), (None, true));
    twin.on_read();
    twin
}

#[test]
fn a_patch_of_the_next_version_is_applied_and_told_as_it_is() {
    let mut twin = read(3, json!({"a": 1, "b": {"c": 2}}));
    let patch = map(json!({"b": {"c": null, "d": 4}, "$version": 4}));
    let Patched::Applied(telling) = twin.on_desired(4, &patch) else { panic!("not applied") };
    assert_eq!((telling.version, json!(telling.patch)), (4, json!({"b": {"c": null, "d": 4}})));
    assert_eq!(twin.desired.document(), json!({"a": 1, "b": {"d": 4}, "$version": 4}));
}

#[test]
fn a_patch_of_any_other_version_needs_the_whole_twin() {
    for version in [1, 3, 5] {
        let mut twin = read(3, json!({"a": 1}));
        let before = twin.clone();
        let patched = twin.on_desired(version, &map(json!({"a": 2})));
        assert_eq!((patched, twin), (Patched::Outdated, before));
    }
}

/// Takes a whole twin in; what the client is told then.
fn told(twin: &mut EdgeTwin, version: u64, desired: Value) -> Option<(u64, Value)> {
    let telling = twin.on_full(full(version, desired), &Outbox::default()).telling?;
    assert!(twin.on_taken(telling.version));
    Some((telling.version, Value::Object(telling.patch)))
}

#[test]
fn a_client_that_only_subscribed_gets_what_changes_from_then_on() {
    let mut twin = EdgeTwin::default();
    assert_eq!(told(&mut twin, 3, json!({"a": 1})), None);
    assert_eq!(twin.on_watched(), (None, true));
    assert_eq!(twin.on_watched(), (None, false));
    let Patched::Applied(telling) = twin.on_desired(4, &map(json!({"b": 2}))) else { panic!() };
    assert_eq!(json!(telling.patch), json!({"b": 2}));
    twin.on_taken(4);
    // the link is away for two patches
    let merged = json!({"a": null, "c": 3});
    assert_eq!(told(&mut twin, 6, json!({"b": 2, "c": 3})), Some((6, merged)));
    assert_eq!(told(&mut twin, 6, json!({"b": 2, "c": 3})), None);
}

#[test]
fn a_patch_that_overtakes_the_read_twin_is_told_once() {
    let mut twin = EdgeTwin::default();
    assert_eq!(twin.on_desired(4, &map(json!({"b": 2}))), Patched::Outdated);
    assert_eq!(told(&mut twin, 3, json!({"a": 1})), None, "asked for before the patch");
    twin.on_watched();
    let patch = json!({"b": 2});
    assert_eq!(told(&mut twin, 4, json!({"a": 1, "b": 2})), Some((4, patch)));
    assert_eq!(told(&mut twin, 4, json!({"a": 1, "b": 2})), None);
}

#[test]
fn a_patch_that_the_read_twin_holds_already_is_told_to_nobody() {
    let mut twin = EdgeTwin::default();
    told(&mut twin, 4, json!({"a": 1, "b": 2}));
    twin.on_watched();
    assert_eq!(twin.on_desired(4, &map(json!({"b": 2}))), Patched::Outdated);
    assert_eq!(told(&mut twin, 4, json!({"a": 1, "b": 2})), None);
}

#[test]
fn a_client_that_subscribed_before_the_twin_could_be_read_has_nothing_yet() {
    let mut twin = EdgeTwin::default();
    assert_eq!(twin.on_watched(), (None, true));
    assert_eq!(twin.on_desired(7, &map(json!({"a": 2}))), Patched::Outdated);
    assert_eq!(told(&mut twin, 7, json!({"a": 2})), Some((7, json!({"a": 2}))));
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed_at_once_if_it_is_known() {
    let mut twin = read(3, json!({"a": 1}));
    let Patched::Applied(telling) = twin.on_desired(4, &map(json!({"b": 2}))) else { panic!() };
    twin.on_not_told(telling);
    twin.on_connected();
    let (missed, is_other) = twin.on_watched();
    assert_eq!((json!(missed.unwrap().patch), is_other), (json!({"b": 2}), true));
    assert_eq!(twin.on_watched(), (None, false), "it is under way");
    twin.on_connected();
    assert_eq!(json!(twin.on_watched().0.unwrap().patch), json!({"b": 2}), "and may be lost");
    assert!(twin.on_taken(4));
    twin.on_connected();
    assert_eq!(twin.on_watched(), (None, false));
}

#[test]
fn a_client_that_may_have_what_was_told_or_not_gets_what_is_right_for_both() {
    let mut twin = read(3, json!({"a": 1}));
    let Patched::Applied(lost) = twin.on_desired(4, &map(json!({"b": {"x": 1}}))) else { panic!() };
    assert_eq!(json!(lost.patch), json!({"b": {"x": 1}}));
    let kept = serde_json::to_vec(&twin).unwrap();
    let mut twin: EdgeTwin = serde_json::from_slice(&kept).unwrap(); // the process was killed
    twin.on_connected();
    let Patched::Applied(next) = twin.on_desired(5, &map(json!({"b": null, "c": 1}))) else {
        panic!()
    };
    assert_eq!(json!(next.patch), json!({"b": null, "c": 1}), "it may have b");
    assert!(!twin.on_taken(4) && twin.on_taken(5));
}

#[test]
fn a_patch_that_was_not_sent_is_told_again_with_the_one_that_was_sent_after_it() {
    let mut twin = read(3, json!({}));
    let Patched::Applied(first) = twin.on_desired(4, &map(json!({"b": 2}))) else { panic!() };
    let Patched::Applied(second) = twin.on_desired(5, &map(json!({"c": 3}))) else { panic!() };
    assert_eq!(json!(second.patch), json!({"c": 3}));
    assert!(twin.on_not_told(first));
    assert!(!twin.on_taken(5), "it did not bring the client to where it should");
    assert_eq!(json!(twin.tell_all().unwrap().patch), json!({"b": 2, "c": 3}));
}

#[test]
fn a_full_document_wins_and_the_client_hears_of_the_difference_once() {
    let mut twin = read(9, json!({"a": 1, "b": 2}));
    let news = twin.on_full(full(4, json!({"b": 2, "c": 3})), &Outbox::default());
    let telling = news.telling.unwrap();
    assert_eq!((telling.version, json!(telling.patch)), (4, json!({"a": null, "c": 3})));
    assert!(news.desired);
    let again = twin.on_full(full(4, json!({"b": 2, "c": 3})), &Outbox::default());
    assert_eq!(again, News::default());
}

#[test]
fn what_did_not_reach_the_client_is_in_the_next_difference() {
    let mut twin = read(3, json!({"a": 1}));
    let Patched::Applied(first) = twin.on_desired(4, &map(json!({"b": 2}))) else { panic!() };
    let Patched::Applied(second) = twin.on_desired(5, &map(json!({"c": 3}))) else { panic!() };
    twin.on_not_told(first);
    twin.on_not_told(second);
    let news = twin.on_full(full(5, json!({"a": 1, "b": 2, "c": 3})), &Outbox::default());
    assert_eq!(json!(news.telling.unwrap().patch), json!({"b": 2, "c": 3}));
}

#[test]
fn what_the_parent_has_not_got_yet_stays_in_the_reported_properties() {
    let mut outbox = Outbox::default();
    outbox.push(map(json!({"x": 1})));
    let mut twin = read(3, json!({}));
    twin.on_full(full(3, json!({})), &outbox);
    assert_eq!(twin.reported.document(), json!({"x": 1, "$version": 1}));
}

#[test]
fn reported_properties_that_the_parent_refused_or_lost_are_told_to_who_reported_them() {
    let mut outbox = Outbox::default();
    let mut twin = read(3, json!({}));
    for (patch, is_owed) in [(json!({"x": 1}), true), (json!({"y": 1}), false)] {
        twin.on_reported(&map(patch.clone()));
        if is_owed {
            outbox.push(map(patch));
        }
    }
    assert!(twin.on_full(full(3, json!({})), &outbox).reported, "y is not there");
    assert!(!twin.on_full(full(3, json!({})), &outbox).reported, "that is known, and x is owed");
    assert!(twin.on_full(full(3, json!({})), &Outbox::default()).reported, "x is not there");
    // One that was made anew at the parent, and forgotten here: what it has nobody knows.
    let mut anew = EdgeTwin::default();
    assert!(anew.on_full(full(1, json!({})), &Outbox::default()).reported);
    assert!(!anew.on_full(full(1, json!({})), &Outbox::default()).reported);
}

#[test]
fn patches_are_sent_in_one_and_a_refused_one_is_found_by_splitting() {
    let mut outbox = Outbox::default();
    for n in 0..4 {
        outbox.push(map(json!({format!("p{n}"): n})));
    }
    let all = outbox.send().unwrap();
    assert_eq!(json!(all.patch), json!({"p0": 0, "p1": 1, "p2": 2, "p3": 3}));
    assert_eq!(outbox.send(), None, "one at a time");
    assert_eq!(outbox.on_answered(400), Fate::Split);
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"p0": 0, "p1": 1}));
    assert_eq!(outbox.on_answered(204), Fate::Accepted(vec![0, 1]));
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"p2": 2, "p3": 3}));
    assert_eq!(outbox.on_answered(400), Fate::Split);
    outbox.send().unwrap();
    assert_eq!(outbox.on_answered(400), Fate::Refused(2, map(json!({"p2": 2}))));
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"p3": 3}));
    assert_eq!(outbox.on_answered(503), Fate::Later);
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"p3": 3}));
    assert_eq!(outbox.on_answered(200), Fate::Accepted(vec![3]));
    assert!(outbox.is_empty() && outbox.send().is_none());
}

#[test]
fn an_object_that_follows_a_value_begins_empty() {
    let mut outbox = Outbox::default();
    for patch in [json!({"x": {"y": 1}}), json!({"x": null}), json!({"x": {"z": 2}})] {
        outbox.push(map(patch));
    }
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"x": null}));
    assert_eq!(outbox.on_answered(204), Fate::Accepted(vec![0, 1]));
    assert_eq!(json!(outbox.send().unwrap().patch), json!({"x": {"z": 2}}));
}

#[test]
fn many_patches_are_put_together_but_never_what_is_under_way() {
    let mut outbox = Outbox::default();
    outbox.push(map(json!({"n": 0})));
    outbox.send().unwrap();
    for n in 1..=64 {
        assert!(outbox.coalesce().is_none());
        outbox.push(map(json!({"n": n})));
    }
    let (gone, stays, patch) = outbox.coalesce().unwrap();
    assert_eq!((gone, stays, json!(patch)), (1, 2, json!({"n": 2})));
    assert_eq!(outbox.len(), 64);
}

#[test]
fn patches_are_not_put_together_beyond_what_a_parent_takes() {
    let mut outbox = Outbox::default();
    let large = "x".repeat(20_000);
    for n in 0..66 {
        outbox.push(map(json!({format!("p{n}"): large})));
    }
    assert!(outbox.coalesce().is_none());
    assert_eq!(outbox.send().unwrap().up_to, 0);
    assert_eq!(outbox.on_answered(204), Fate::Accepted(vec![0]));
    outbox.push(map(json!({"small": 1})));
    assert_eq!(outbox.coalesce().map(|(gone, stays, _)| (gone, stays)), Some((65, 66)));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3u8).prop_map(Value::from)];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop::collection::vec((prop::sample::select(vec!["a", "b"]), inner), 0..3)
            .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    })
}

fn patch() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), value()), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

pub(super) fn document() -> impl Strategy<Value = Map<String, Value>> {
    patch().prop_map(|patch| {
        let mut document = Map::new();
        merge_object(&mut document, &patch);
        document
    })
}

proptest! {
    #[test]
    fn patches_put_together_do_what_they_do_one_by_one(
        start in document(), first in patch(), second in patch(),
    ) {
        prop_assume!(can_compose(&first, &second));
        let mut one_by_one = start.clone();
        merge_object(&mut one_by_one, &first);
        merge_object(&mut one_by_one, &second);
        let mut both = first;
        compose(&mut both, &second);
        let mut at_once = start;
        merge_object(&mut at_once, &both);
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn all_patches_but_the_refused_ones_reach_the_parent_in_order(
        patches in prop::collection::vec(any::<bool>(), 1..60),
        answers in prop::collection::vec(0..4u8, 0..200),
    ) {
        let mut outbox = Outbox::default();
        let mut answers = answers.into_iter();
        let (mut parent, mut refused) = (Map::new(), 0);
        for (number, is_bad) in patches.iter().enumerate() {
            let key = if *is_bad { format!("bad{number}") } else { format!("ok{number}") };
            outbox.push(map(json!({ key: number, "last": number })));
        }
        while let Some(sent) = outbox.send() {
            if answers.next() == Some(0) {
                prop_assert_eq!(outbox.on_answered(0), Fate::Later);
                continue;
            }
            let has_bad = sent.patch.keys().any(|key| key.starts_with("bad"));
            match outbox.on_answered(if has_bad { 400 } else { 204 }) {
                Fate::Accepted(_) => merge_object(&mut parent, &sent.patch),
                Fate::Refused(..) => refused += 1,
                Fate::Split => prop_assert!(has_bad),
                Fate::Later => prop_assert!(false, "it was answered"),
            }
        }
        prop_assert_eq!(refused, patches.iter().filter(|is_bad| **is_bad).count());
        for (number, is_bad) in patches.iter().enumerate() {
            prop_assert_eq!(parent.contains_key(&format!("ok{number}")), !is_bad);
        }
        let last = patches.iter().rposition(|is_bad| !is_bad);
        prop_assert_eq!(parent.get("last").cloned(), last.map(Value::from));
    }
}
