//! Every case of a log-in: whether the parent can be asked, what is cached, what the parent has by
//! now; by key and by certificate. The client has `KEY`, or a certificate.

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

/// What the connection of before ends with when the link is back, and what the client is answered
/// then with the old key and with the new one.
#[actix::test]
async fn a_rotation_while_the_link_is_down_counts_from_when_it_is_back() {
    tokio::time::pause();
    for (now, ends, old, new) in [
        (SameKey, None, 0, 5),
        (OtherKey, Some("leaf Close"), 5, 0),
        (Disabled, Some("leaf Close"), 5, 5),
        (Nobody, Some("leaf Gone"), 5, 5),
    ] {
        let scene = fresh(true).await;
        let code = async |key| code(&scene.log_in("leaf", key).await);
        assert_eq!(code(KEY).await, 0);
        scene.parent.borrow_mut().is_up = false;
        if now != SameKey {
            now.put(&scene.parent);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((code(KEY).await, code(OTHER_KEY).await), (0, 3), "{now:?}, away");
        assert!(scene.closed.borrow().is_empty(), "{now:?}: nobody is disturbed");
        scene.parent.borrow_mut().is_up = true;
        scene.identities.send(LinkChanged { is_up: true }).await.unwrap();
        settle().await;
        assert_eq!(scene.closed.borrow().first().map(String::as_str), ends, "{now:?}");
        assert_eq!((code(KEY).await, code(OTHER_KEY).await), (old, new), "{now:?}, back");
    }
}

/// What is registered, and what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Print,
    OtherPrint,
    Authority,
    Key,
    Nothing,
}

impl Proof {
    fn put(self, parent: &Rc<RefCell<Parent>>, status: IdentityStatus) {
        parent.borrow_mut().put_with("leaf", |record| {
            record.status = status;
            if self != Proof::Key {
                record.keys.clear();
            }
            match self {
                Proof::Print => record.thumbprints = vec!["AB".into()],
                Proof::OtherPrint => record.thumbprints = vec!["CD".into()],
                Proof::Authority => record.ca = true,
                Proof::Key | Proof::Nothing => {}
            }
        });
    }
}

/// The client shows a certificate `ab`, which an authority has signed for it, and no token:
/// what is cached, what the parent has, CONNACK with it away and with it there.
#[actix::test]
async fn each_case_of_a_certificate_has_its_answer() {
    tokio::time::pause();
    use IdentityStatus::{Disabled, Enabled};
    use Proof::{Authority, Key, Nothing, OtherPrint, Print};
    for (cached, at_parent, status, away, there) in [
        (Print, Print, Enabled, 0, 0),
        (Print, OtherPrint, Enabled, 0, 0),
        (OtherPrint, Print, Enabled, 3, 0), // rolled while the link was away
        (OtherPrint, OtherPrint, Enabled, 3, 5),
        (OtherPrint, Authority, Enabled, 3, 0),
        (Authority, Authority, Enabled, 0, 0),
        (Authority, Key, Enabled, 0, 0),
        (Key, Authority, Enabled, 3, 0),
        (Key, Key, Enabled, 3, 5),
        (Nothing, Nothing, Enabled, 3, 5),
        (Nothing, Print, Enabled, 3, 0),
        (Print, Print, Disabled, 3, 5),
        (Authority, Authority, Disabled, 3, 5),
    ] {
        for (is_up, expected) in [(false, away), (true, there)] {
            let mut scene = fresh(true).await;
            cached.put(&scene.parent, status);
            scene.restart().await; // reads the scope
            at_parent.put(&scene.parent, status); // and is not told
            scene.parent.borrow_mut().is_up = is_up;
            let shown = Some(certificate("leaf", "ab", Ok(())));
            let answer = code(&scene.log_in_with("leaf", None, shown).await);
            let case = format!("{cached:?} is cached, the parent has {at_parent:?}, {status:?}");
            assert_eq!(answer, expected, "{case}, is there: {is_up}");
        }
    }
}
