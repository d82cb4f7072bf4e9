//! Images that go, at an engine that is played here: what it cannot say is not taken for a no.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use edge_runtime::actors::agent::engine::Engine;
use edge_runtime::actors::agent::{AgentPorts, Collection, ImagesConfig};
use edge_runtime::actors::supervision::Obituary;
use edge_runtime::domain::agent::garbage::Record;
use edge_runtime::messages::agent::GetWantedImages;
use edge_runtime::messages::engine::GetEngineStatus;
use edge_runtime::protocol::http::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde_json::json;

use super::agent::{Instance, PlayedEngine, config, plug_store};

/// What cannot be had.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lack {
    Containers,
    Images,
    Removal,
    Deployment,
    Nothing,
}

#[derive(Default)]
struct Played {
    lack: Cell<Option<Lack>>,
    /// Asks that got no answer.
    failed: Cell<usize>,
    removed: RefCell<Vec<String>>,
}

impl Played {
    fn lacks(&self, lack: Lack) -> bool {
        let is_it = self.lack.get() == Some(lack);
        self.failed.set(self.failed.get() + usize::from(is_it));
        is_it
    }
}

fn answer(played: &Played, request: &HttpRequest) -> HttpResponse {
    let broken = || HttpResponse::error(500, "the disk of the engine is broken");
    let path = request.path.as_str();
    if let Some(image) = path.strip_prefix("/images/") {
        if request.method == "DELETE" {
            if played.lacks(Lack::Removal) {
                return broken();
            }
            played.removed.borrow_mut().push(image.to_owned());
            return HttpResponse::json(200, &json!([]));
        }
        if played.lacks(Lack::Images) {
            return broken();
        }
        // Of all images the id is made from the name.
        let image = image.trim_end_matches("/json");
        let name = image.trim_start_matches("sha256:");
        let found = json!({"Id": format!("sha256:{name}"), "RepoTags": [name], "RepoDigests": []});
        return HttpResponse::json(200, &found);
    }
    match path.rsplit('/').next().unwrap_or_default() {
        "version" => HttpResponse::json(200, &json!({"ApiVersion": "1.41", "Version": "1"})),
        "info" => HttpResponse::json(200, &json!({})),
        "events" => HttpResponse::stream(200, "application/json", stream::pending()),
        "json" if played.lacks(Lack::Containers) => broken(),
        "json" => HttpResponse::json(200, &json!([{"Id": "c", "ImageID": "sha256:used"}])),
        _ => HttpResponse::error(404, "no such page"),
    }
}

/// Which images a deployment names.
struct Wanted(Rc<Played>);

impl Actor for Wanted {
    type Context = Context<Self>;
}

impl Handler<GetWantedImages> for Wanted {
    type Result = MessageResult<GetWantedImages>;

    fn handle(&mut self, _: GetWantedImages, _: &mut Self::Context) -> Self::Result {
        MessageResult((!self.0.lacks(Lack::Deployment)).then(|| vec!["wanted".into()]))
    }
}

#[actix::test]
async fn while_the_engine_cannot_say_what_it_has_no_image_goes() {
    let played = Rc::new(Played::default());
    let engine = PlayedEngine::start(&played, |played, request| answer(played, request));
    let collection = Some(Collection { every: Duration::from_millis(50), age: Duration::ZERO });
    let instance = Instance::new("collecting");
    let mut config = config(&instance, ImagesConfig { collection, ..ImagesConfig::default() });
    config.docker = engine.address();
    for name in ["wanted", "used", "old"] {
        let (id, used) = (format!("sha256:{name}"), Duration::ZERO);
        let record = Record { id, name: name.into(), used };
        instance.store.borrow_mut().insert(record.key(), record.value());
    }
    let ports = AgentPorts::default();
    plug_store(&ports, &instance);
    ports.wanted_images.plug(&Wanted(played.clone()).start());
    played.lack.set(Some(Lack::Containers));
    Engine::new(config, ports.clone(), Obituary::unsupervised()).start();
    let kept = || instance.store.borrow().keys().filter(|key| key.starts_with(b"images/")).count();
    for lack in [Lack::Containers, Lack::Deployment, Lack::Images, Lack::Removal] {
        played.lack.set(Some(lack));
        played.failed.set(0);
        for _ in 0..1500 {
            if played.failed.get() >= 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(played.failed.get() >= 2, "{lack:?}: it is tried again and again");
        assert!(played.removed.borrow().is_empty(), "{lack:?}: {:?}", played.removed);
        assert_eq!(kept(), 3, "{lack:?}");
        let status = ports.engine_status.ask(GetEngineStatus, Duration::from_secs(5)).await;
        assert!(status.unwrap().is_ready, "{lack:?}");
    }
    played.lack.set(Some(Lack::Nothing));
    for _ in 0..1500 {
        if !played.removed.borrow().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await; // another turn
    assert_eq!(*played.removed.borrow(), ["old"], "what nothing needs, and no other");
    assert_eq!(kept(), 2);
}
