//! A second instance on the state directory of a running one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::program::run;
use crate::support::world::World;
use crate::witness::Witness;

#[test]
fn a_second_instance_is_refused_and_told_who_the_first_is() {
    let mut world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let key = world.hub.service.make_leaf("direct", "");
    let clients = [world.leaf("leaf"), world.hub.log_in("direct", &key)];
    let mut witnesses = clients.map(|client| Witness::start(&client));
    witnesses.iter_mut().for_each(Witness::is_served);
    for (name, program, state) in [
        ("edge-runtime", &world.edge, world.folder.path().join("edge")),
        ("localhub", &world.hub.program, world.hub.state.clone()),
    ] {
        // It finds the same settings, as a service that is started twice does.
        let began = Instant::now();
        let output = run(name, &[], program.environment());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let holder = format!("{} is in use by process {} ({name})", state.display(), program.id());
        assert!(errors.contains(&holder), "`{holder}` is not in: {errors}");
        assert!(errors.contains("state.path"), "what to do is said: {errors}");
        assert!(began.elapsed() < Duration::from_secs(20), "at once");
        witnesses.iter_mut().for_each(Witness::is_served);
    }
    assert!(world.management.get("/status").is_some(), "its sockets are its own still");
    assert!(world.edge.ended().is_none() && world.hub.program.ended().is_none());
    // Once it is gone, however that came, the directory is free.
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
}
