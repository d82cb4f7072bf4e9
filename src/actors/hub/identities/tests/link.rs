//! What twins hear of the link, and of those who are gone.

use super::*;

#[actix::test]
async fn twins_hear_of_a_new_link_once_the_scope_was_read_and_after_those_who_are_gone() {
    let scene = scene(false).await;
    let link = |is_up| scene.identities.send(LinkChanged { is_up });
    scene.parent.borrow_mut().is_up = true;
    link(true).await.unwrap();
    settle().await;
    assert_eq!(scene.twins.take(), ["link true"]);
    link(false).await.unwrap();
    scene.parent.borrow_mut().remove("leaf");
    link(true).await.unwrap();
    settle().await;
    assert_eq!(scene.twins.take(), ["link false", "forget leaf", "link true"]);
    scene.parent.borrow_mut().remove("other");
    scene.identities.send(ScopeChanged { version: 9 }).await.unwrap();
    settle().await;
    assert_eq!(scene.twins.take(), ["forget other"], "they know of the link");
}
