//! What is kept of patches and changes until they are where they belong, and of whom nothing is.

use super::*;
use crate::messages::queue::{Telemetry, Verdict};
use crate::messages::registry::Forget;
use crate::messages::twins::ListRefused;

/// From now on a queue takes changes of reported properties, unless it is told not to.
fn queue(scene: &Scene) -> (Log<String>, Rc<RefCell<bool>>) {
    let (routed, takes) = (Log::<String>::default(), Rc::new(RefCell::new(true)));
    let (seen, is_there) = (Rc::clone(&routed), Rc::clone(&takes));
    crate::actors::stand_in::plug(&scene.ingest, move |Ingest(batch, _)| {
        if !*is_there.borrow() {
            return Err(crate::messages::state::StoreError::Unavailable);
        }
        let line = |it: &Telemetry| {
            let body = String::from_utf8(it.body.to_vec()).unwrap();
            format!("{} {} {body}", it.sender, it.bag.value("$.cdid").unwrap())
        };
        seen.borrow_mut().extend(batch.iter().map(line));
        Ok(vec![Verdict::Unrouted; batch.len()])
    });
    (routed, takes)
}

#[actix::test]
async fn an_accepted_report_is_a_message_of_the_hub_and_a_refused_one_is_not() {
    let scene = Scene::new();
    let (routed, _) = queue(&scene);
    scene.report(r#"{"x":1}"#).await;
    scene.report(r#"{"a b":1}"#).await;
    settle().await;
    assert_eq!(*routed.borrow(), [r#"gw/$edgeHub leaf {"x":1}"#]);
    assert_eq!(scene.shelf.len("twin-changes"), 0);
    let patch = PatchReported { identity: id("gw/$edgeHub"), patch: r#"{"x":1}"#.into() };
    scene.twins.send(patch).await.unwrap();
    settle().await;
    assert_eq!(routed.borrow().len(), 1, "the hub is no client");
}

#[actix::test]
async fn a_change_that_the_queue_does_not_take_is_routed_later_also_after_a_restart() {
    let scene = Scene::new();
    let (routed, takes) = queue(&scene);
    *takes.borrow_mut() = false;
    for patch in [r#"{"x":1}"#, r#"{"x":2}"#] {
        assert_eq!(scene.report(patch).await.status, 204, "the queue holds up no client");
    }
    settle().await;
    let scene = scene.restart();
    let (routed_later, _) = queue(&scene);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(routed.borrow().is_empty());
    let wanted = [r#"gw/$edgeHub leaf {"x":1}"#, r#"gw/$edgeHub leaf {"x":2}"#];
    assert_eq!(*routed_later.borrow(), wanted);
    assert_eq!(scene.shelf.len("twin-changes"), 0);
}

#[actix::test]
async fn refused_patches_are_kept_with_the_reason_and_only_the_last_of_a_client() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.parent.borrow_mut().refused = Some(("bad", 413));
    for n in 0..40 {
        assert_eq!(scene.report(&format!(r#"{{"bad":{n}}}"#)).await.status, 413);
    }
    let scene = scene.restart();
    scene.link(true).await;
    scene.report(r#"{"bad":40}"#).await;
    settle().await;
    let refused = scene.twins.send(ListRefused).await.unwrap().unwrap();
    assert_eq!((refused.len(), scene.status().await.2), (32, 32));
    let last = refused.last().unwrap();
    assert_eq!((last.status, &*last.why, &last.patch), (413, "too much", &json!({"bad": 40})));
    assert_eq!(refused[0].patch, json!({"bad": 9}));
}

#[actix::test]
async fn a_patch_that_the_parent_takes_before_it_is_on_disk_is_not_taken_for_a_refused_one() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.parent.borrow_mut().refused = Some(("bad", 400));
    let report = |patch: &'static str| {
        let patch = PatchReported { identity: id("leaf"), patch: patch.into() };
        scene.twins.send(patch)
    };
    let all = ["{\"x\":1}", "{\"y\":1}", "{\"bad\":1}", "{\"z\":1}"].map(report);
    let statuses = futures_util::future::join_all(all).await;
    let statuses: Vec<_> = statuses.into_iter().map(|it| it.unwrap().status).collect();
    assert_eq!((statuses[0], statuses[1], statuses[3]), (204, 204, 204), "{statuses:?}");
}

#[actix::test]
async fn who_is_gone_leaves_nothing_and_nothing_is_sent_for_who_comes_after_it() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.parent.borrow_mut().refused = Some(("bad", 400));
    scene.report(r#"{"bad":1}"#).await;
    scene.link(false).await;
    scene.report(r#"{"x":1}"#).await;
    let tables = ["twins", "twin-patches", "twin-dead-letters"];
    let kept = |scene: &Scene| tables.map(|table| scene.shelf.len(table));
    assert_eq!(kept(&scene), [3, 1, 1]);
    *scene.is_online.borrow_mut() = false;
    // As identities tell it: at once, one after the other; and before all is read.
    let scene = scene.restart();
    scene.asked();
    scene.parent.borrow_mut().is_up = true;
    scene.twins.do_send(Forget(vec![id("leaf")]));
    scene.twins.do_send(LinkChanged { is_up: true });
    settle().await;
    assert_eq!(kept(&scene), [2, 0, 0]);
    assert!(!scene.asked().iter().any(|asked| asked.starts_with("patch")));
    let answer = scene.report(r#"{"y":1}"#).await;
    assert_eq!((answer.status, scene.status().await.2), (204, 0));
}

#[actix::test]
async fn an_answer_to_who_is_gone_is_none_to_who_bears_its_id_anew() {
    let scene = Scene::new();
    scene.link(true).await;
    let (answer, answered) = tokio::sync::oneshot::channel();
    let answered = Rc::new(RefCell::new(Some(answered)));
    let slow = SlowParent(answered).start();
    scene.request.plug(&slow);
    let leaf = || PatchReported { identity: id("leaf"), patch: r#"{"x":1}"#.into() };
    scene.twins.do_send(leaf());
    settle().await;
    scene.twins.do_send(Forget(vec![id("leaf")]));
    scene.twins.do_send(leaf());
    settle().await;
    assert_eq!(scene.status().await.1, 1);
    let _ = answer.send(LinkAnswer { status: 204, body: Default::default(), version: Some(2) });
    settle().await;
    assert_eq!(scene.status().await.1, 1, "that was another one's");
}

#[actix::test]
async fn who_waits_for_the_parent_is_answered_when_the_link_drops() {
    let scene = Scene::new();
    scene.link(true).await;
    scene.request.plug(&SlowParent(Rc::default()).start());
    let reports = ["{\"x\":1}", "{\"y\":1}"].map(|patch| {
        let patch = PatchReported { identity: id("leaf"), patch: patch.into() };
        scene.twins.send(patch)
    });
    settle().await;
    let began = tokio::time::Instant::now();
    scene.link(false).await;
    for report in reports {
        assert_eq!(report.await.unwrap().status, 204);
    }
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[actix::test]
async fn what_is_reported_before_all_is_read_is_taken_in_order_of_arrival() {
    let scene = Scene::new();
    for n in 0..5 {
        let patch = json!({ "x": n }).to_string().into();
        scene.twins.do_send(PatchReported { identity: id("leaf"), patch });
    }
    settle().await;
    assert_eq!(scene.get().await["reported"]["x"], 4);
    scene.link(true).await;
    assert_eq!(scene.asked(), [r#"patch leaf {"x":4}"#, "get leaf"]);
}

/// Answers the first request when it is told to, and no other.
struct SlowParent(Rc<RefCell<Option<tokio::sync::oneshot::Receiver<LinkAnswer>>>>);

impl Actor for SlowParent {
    type Context = Context<Self>;
}

impl Handler<Request> for SlowParent {
    type Result = ResponseFuture<Result<LinkAnswer, NotConnected>>;

    fn handle(&mut self, _: Request, _: &mut Self::Context) -> Self::Result {
        let first = self.0.borrow_mut().take();
        Box::pin(async move {
            match first {
                Some(first) => first.await.map_err(|_| NotConnected),
                None => std::future::pending().await,
            }
        })
    }
}
