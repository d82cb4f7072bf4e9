//! Who is here, over a real store and in driven time.

use super::*;
use crate::domain::features::Features;
use crate::localhub::testing::{Disk, id, ready};
use crate::messages::supervision::Shutdown;

async fn start(disk: &Disk) -> Addr<Presence> {
    let presence = Presence::new(disk.save.clone(), disk.scan.clone(), Obituary::unsupervised());
    let presence = presence.start();
    ready(&presence, || ListPresence::All).await;
    presence
}

async fn show(presence: &Addr<Presence>, who: &str) -> Option<Shown> {
    let of = ListPresence::Of(vec![id(who)]);
    presence.send(of).await.unwrap().unwrap().remove(&id(who))
}

fn changed(who: &str, is_here: bool) -> PresenceChanged {
    PresenceChanged { identity: id(who), features: is_here.then(Features::default) }
}

#[actix::test]
async fn who_left_is_long_gone_after_a_minute_and_not_before() {
    let disk = Disk::new();
    let presence = start(&disk).await;
    assert_eq!(show(&presence, "gw/$edgeHub").await, None);
    presence.send(changed("gw/$edgeHub", true)).await.unwrap();
    tokio::time::pause();
    let here = show(&presence, "gw/$edgeHub").await.unwrap();
    assert!(here.is_connected && here.since.is_some() && here.last_activity.is_some());
    presence.send(changed("gw/$edgeHub", false)).await.unwrap();
    tokio::time::advance(LONG - Duration::from_millis(1)).await;
    let gone = show(&presence, "gw/$edgeHub").await.unwrap();
    assert!(!gone.is_connected && !gone.is_long_gone);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(show(&presence, "gw/$edgeHub").await.unwrap().is_long_gone);
    presence.send(changed("gw/$edgeHub", true)).await.unwrap();
    assert!(!show(&presence, "gw/$edgeHub").await.unwrap().is_long_gone);
}

#[actix::test]
async fn activity_is_kept_and_nobody_is_here_after_a_restart() {
    let disk = Disk::new();
    let presence = start(&disk).await;
    presence.send(changed("a", true)).await.unwrap();
    presence.send(Active(vec![id("b")])).await.unwrap();
    let active = show(&presence, "b").await.unwrap().last_activity;
    presence.send(Shutdown).await.unwrap();
    while presence.connected() {
        tokio::task::yield_now().await;
    }
    let presence = start(&disk).await;
    let (a, b) = (show(&presence, "a").await.unwrap(), show(&presence, "b").await.unwrap());
    assert!(!a.is_connected && a.since.is_some());
    assert_eq!((b.last_activity, b.since), (active, None));
    presence.send(Forget(vec![id("a")])).await.unwrap();
    assert_eq!(show(&presence, "a").await, None);
}
