//! What twins hear of the link, and of those who are gone.

use super::*;

/// Twins that answer once, when they are told to.
struct SlowTwins(Option<tokio::sync::oneshot::Receiver<()>>);

impl Actor for SlowTwins {
    type Context = Context<Self>;
}

impl Handler<Forget> for SlowTwins {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Forget, _: &mut Self::Context) -> Self::Result {
        let answered = self.0.take().unwrap();
        Box::pin(async move { drop(answered.await) })
    }
}

/// Else a kill right then would leave patches of the old one for who bears its id anew.
#[actix::test]
async fn who_is_gone_is_known_on_disk_until_twins_have_forgotten_it() {
    let scene = scene(true).await;
    scene.forget.unplug();
    let known = || scene.shelf.len("identities");
    assert_eq!(known(), 6, "five, and whose they are");
    scene.parent.borrow_mut().remove("leaf");
    scene.identities.send(ScopeChanged { version: 6 }).await.unwrap();
    settle().await;
    scene.parent.borrow_mut().put("other", OTHER_KEY, IdentityStatus::Enabled);
    scene.identities.send(ScopeChanged { version: 7 }).await.unwrap();
    settle().await;
    assert_eq!(known(), 6, "what came later is not written before it either");
    let (answer, answered) = tokio::sync::oneshot::channel();
    scene.forget.plug(&SlowTwins(Some(answered)).start());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(known(), 6, "others have not answered, and are asked once");
    answer.send(()).unwrap();
    settle().await;
    assert_eq!(known(), 5);
}

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
