//! Downloads, from an engine that is played here: how far they are, and how many there are.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use edge_runtime::actors::agent::engine::Engine;
use edge_runtime::actors::agent::{AgentPorts, ImagesConfig};
use edge_runtime::actors::supervision::Obituary;
use edge_runtime::messages::engine::{
    EngineError, GetEngineStatus, PullImage, PullProgress, Pulled,
};
use edge_runtime::protocol::http::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};

use super::agent::{Instance, PlayedEngine, config};

/// What the engine sees and says.
#[derive(Default)]
struct Played {
    pulls: RefCell<Vec<String>>,
    active: Cell<usize>,
    most: Cell<usize>,
    /// Lines of an answer; then it waits for `is_open`.
    first: RefCell<Vec<Value>>,
    last: RefCell<Vec<Value>>,
    is_open: Cell<bool>,
}

struct Scene {
    played: Rc<Played>,
    ports: AgentPorts,
    _engine: PlayedEngine,
}

impl Scene {
    async fn start(max_pulls: usize) -> Self {
        let played = Rc::new(Played::default());
        let engine = PlayedEngine::start(&played, answer);
        let images = ImagesConfig { max_pulls, ..ImagesConfig::default() };
        let mut config = config(&Instance::new("pulls"), images);
        config.docker = engine.address();
        let ports = AgentPorts::default();
        Engine::new(config, ports.clone(), Obituary::unsupervised()).start();
        let ask = || ports.engine_status.ask(GetEngineStatus, Duration::from_secs(5));
        while !ask().await.is_ok_and(|status| status.is_ready) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Scene { played, ports, _engine: engine }
    }

    fn pull(
        &self,
        image: &str,
        who: &Addr<Listener>,
    ) -> impl Future<Output = Result<Pulled, EngineError>> + use<> {
        let progress = Some(who.clone().recipient());
        let (image, credential) = (image.to_owned(), None);
        let ask = PullImage { image, ask_registry: true, credential, progress };
        let asked = self.ports.pull.ask(ask, Duration::from_secs(20));
        async move { asked.await.unwrap() }
    }
}

fn answer(played: &Rc<Played>, request: &HttpRequest) -> HttpResponse {
    match request.path.rsplit('/').next().unwrap_or_default() {
        "version" => HttpResponse::json(200, &json!({"ApiVersion": "1.41", "Version": "1"})),
        "info" => HttpResponse::json(200, &json!({})),
        "events" => HttpResponse::stream(200, "application/json", stream::pending()),
        "create" => {
            played.pulls.borrow_mut().push(request.query["fromImage"].clone());
            played.active.set(played.active.get() + 1);
            played.most.set(played.most.get().max(played.active.get()));
            HttpResponse::stream(200, "application/json", lines(played.clone()))
        }
        _ => HttpResponse::error(404, "no such image"),
    }
}

fn lines(played: Rc<Played>) -> impl Stream<Item = Result<Bytes, String>> {
    let text = |lines: &[Value]| {
        let lines = lines.iter().map(|line| format!("{line}\r\n"));
        Ok(Bytes::from(lines.collect::<String>()))
    };
    stream::unfold(0, move |step| {
        let played = played.clone();
        async move {
            match step {
                0 => Some((text(&played.first.borrow()), 1)),
                1 => {
                    while !played.is_open.get() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    played.active.set(played.active.get() - 1);
                    Some((text(&played.last.borrow()), 2))
                }
                _ => None,
            }
        }
    })
}

/// Hears how far a download is.
#[derive(Default)]
struct Listener(Rc<RefCell<Vec<PullProgress>>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<PullProgress> for Listener {
    type Result = ();

    fn handle(&mut self, progress: PullProgress, _: &mut Self::Context) {
        self.0.borrow_mut().push(progress);
    }
}

type Heard = Rc<RefCell<Vec<PullProgress>>>;

fn listener() -> (Addr<Listener>, Heard) {
    let heard = Heard::default();
    (Listener(heard.clone()).start(), heard)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not within 10 s");
}

#[actix::test]
async fn modules_of_one_image_share_a_download_and_all_hear_how_far_it_is() {
    let scene = Scene::start(3).await;
    let at = json!({"current": 5_000_000, "total": 10_000_000});
    let line = json!({"status": "Downloading", "id": "a", "progressDetail": at});
    scene.played.first.replace(vec![line]);
    let all: Vec<_> = (0..3).map(|_| listener()).collect();
    let asked: Vec<_> = all.iter().map(|(who, _)| scene.pull("i:1", who)).collect();
    let half = PullProgress { text: "downloaded 5.0 of 10.0 MB (50 %)".into(), percent: Some(50) };
    let waits = actix::spawn(join_all(asked));
    until("all hear it", || all.iter().all(|(_, heard)| heard.borrow().contains(&half))).await;
    scene.played.is_open.set(true);
    assert!(waits.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(*scene.played.pulls.borrow(), ["i:1"]);
    let (who, _) = listener();
    assert!(scene.pull("i:1", &who).await.is_ok());
    assert_eq!(scene.played.pulls.borrow().len(), 2, "what has ended is no answer to a new ask");
}

#[actix::test]
async fn a_few_downloads_go_on_at_a_time_and_the_others_say_that_they_wait() {
    let scene = Scene::start(2).await;
    let all: Vec<_> = (0..5).map(|_| listener()).collect();
    let images = ["a:1", "b:1", "c:1", "d:1", "e:1"];
    let asked: Vec<_> =
        images.iter().zip(&all).map(|(image, (who, _))| scene.pull(image, who)).collect();
    let waits = actix::spawn(join_all(asked));
    let is_waiting = |heard: &Heard| {
        heard.borrow().last().is_some_and(|it| it.text == "waits for other downloads")
    };
    until("three wait", || all.iter().filter(|(_, heard)| is_waiting(heard)).count() == 3).await;
    until("two go on", || scene.played.active.get() == 2).await;
    scene.played.is_open.set(true);
    assert!(waits.await.unwrap().iter().all(Result::is_ok));
    assert_eq!((scene.played.pulls.borrow().len(), scene.played.most.get()), (5, 2));
}

#[actix::test]
async fn an_error_in_an_answer_that_began_well_is_one() {
    let scene = Scene::start(3).await;
    let error = json!({"errorDetail": {"message": "unauthorized: no entry"}, "error": "x"});
    scene.played.last.replace(vec![error]);
    scene.played.is_open.set(true);
    let (who, _) = listener();
    let error = scene.pull("r.test/i:1", &who).await.unwrap_err().to_string();
    assert!(error.contains("image r.test/i:1 cannot be had: unauthorized: no entry"), "{error}");
    assert!(error.contains("there is no log-in for r.test"), "{error}");
}
