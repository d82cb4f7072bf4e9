//! Every case of a log-in by key: whether the parent can be asked, what is cached, what the parent
//! has by now. The client has `KEY`.

use super::*;

/// What a side knows of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing.
    Nobody,
    /// Its key, enabled.
    Key,
    /// Another key: the client's is of before, or of after, a rotation.
    OtherKey,
    /// Its key, disabled.
    Disabled,
}
use Known::{Disabled, Key as SameKey, Nobody, OtherKey};

impl Known {
    fn put(self, parent: &Rc<RefCell<Parent>>) {
        let mut parent = parent.borrow_mut();
        match self {
            Nobody => parent.remove("leaf"),
            SameKey => parent.put("leaf", KEY, IdentityStatus::Enabled),
            OtherKey => parent.put("leaf", OTHER_KEY, IdentityStatus::Enabled),
            Disabled => parent.put("leaf", KEY, IdentityStatus::Disabled),
        }
    }
}

/// CONNACK: with the parent away, and with it there. What is cached changes when the parent tells
/// of it, within moments; until then it lets in whom it knows.
const TABLE: [(Known, Known, u8, u8); 16] = [
    (Nobody, Nobody, 3, 5),
    (Nobody, SameKey, 3, 0),
    (Nobody, OtherKey, 3, 5),
    (Nobody, Disabled, 3, 5),
    (SameKey, Nobody, 0, 0),
    (SameKey, SameKey, 0, 0),
    (SameKey, OtherKey, 0, 0),
    (SameKey, Disabled, 0, 0),
    (OtherKey, Nobody, 3, 5),
    (OtherKey, SameKey, 3, 0), // rotated while the link was away
    (OtherKey, OtherKey, 3, 5),
    (OtherKey, Disabled, 3, 5),
    (Disabled, Nobody, 3, 5),
    (Disabled, SameKey, 3, 0), // enabled again
    (Disabled, OtherKey, 3, 5),
    (Disabled, Disabled, 3, 5),
];

fn code(answer: &Result<Granted, Refusal>) -> u8 {
    match answer {
        Ok(_) => 0,
        Err(Refusal::NotReady(_)) => 3,
        Err(Refusal::Denied(_)) => 5,
    }
}

/// What the client is answered.
async fn log_in(cached: Known, at_parent: Known, is_up: bool) -> u8 {
    let mut scene = fresh(true).await;
    cached.put(&scene.parent);
    scene.restart().await; // reads the scope
    at_parent.put(&scene.parent); // and is not told
    scene.parent.borrow_mut().is_up = is_up;
    code(&scene.log_in("leaf", KEY).await)
}

#[actix::test]
async fn each_case_of_link_cache_key_and_status_has_its_answer() {
    tokio::time::pause();
    for (cached, at_parent, away, there) in TABLE {
        let case = format!("{cached:?} is cached, the parent has {at_parent:?}");
        assert_eq!(log_in(cached, at_parent, false).await, away, "{case}, and is away");
        assert_eq!(log_in(cached, at_parent, true).await, there, "{case}, and is there");
    }
}

#[actix::test]
async fn what_the_parent_tells_of_decides_from_then_on() {
    tokio::time::pause();
    for (now, expected) in [(Nobody, 5), (SameKey, 0), (OtherKey, 5), (Disabled, 5)] {
        let scene = fresh(true).await;
        now.put(&scene.parent);
        let version = scene.parent.borrow().version;
        scene.identities.send(ScopeChanged { version }).await.unwrap();
        settle().await;
        assert_eq!(code(&scene.log_in("leaf", KEY).await), expected, "{now:?}");
        scene.parent.borrow_mut().is_up = false;
        tokio::time::sleep(Duration::from_secs(60)).await; // the answer is not fresh any more
        let away = if expected == 0 { 0 } else { 3 };
        assert_eq!(code(&scene.log_in("leaf", KEY).await), away, "{now:?}, away");
    }
}
