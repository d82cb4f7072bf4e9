//! Over real sockets on loopback: a registry, who gives tokens for it, and its storage.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;
use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};

const DIGEST: &str = "sha256:0a";
const PAYLOAD: &str = "{\"signed\": 1}";

/// Who answers for what path; every request and its log-in is noted.
struct World {
    address: String,
    asked: Rc<RefCell<Vec<String>>>,
    _server: Server,
}

impl World {
    async fn start(answer: impl Fn(&HttpRequest, &str) -> HttpResponse + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Rc::new(RefCell::new(Vec::new()));
        let (noted, own) = (asked.clone(), address.clone());
        let answer = handler(move |request: HttpRequest| {
            let log_in = request.header("authorization").unwrap_or_default();
            noted.borrow_mut().push(format!("{} {log_in}", request.path).trim().to_owned());
            let answer = answer(&request, &own);
            async move { answer }
        });
        let _server = Server::tcp(listener, answer, Limits::default());
        World { address, asked, _server }
    }

    async fn signatures(&self) -> Result<Vec<Signature>, RegistryError> {
        let credential =
            Credential { address: "r".into(), username: "u".into(), password: "p".into() };
        let registry = Registry::at(&self.address, true, Some(&credential)).unwrap();
        let image = Location::of(&format!("{}/a/b:1", self.address));
        registry.signatures(&image, DIGEST).await
    }
}

fn manifest(blob: &str) -> HttpResponse {
    let annotations = json!({ANNOTATION: "c2ln"});
    HttpResponse::json(200, &json!({"layers": [{"digest": blob, "annotations": annotations}]}))
}

fn blob() -> String {
    format!("sha256:{}", hex(&Sha256::digest(PAYLOAD)))
}

#[tokio::test]
async fn a_token_is_fetched_with_the_password_and_storage_elsewhere_gets_neither() {
    let test = async {
        let storage = World::start(|_, _| HttpResponse::text(200, PAYLOAD)).await;
        let there = storage.address.clone();
        let registry = World::start(move |request, own| match request.path.as_str() {
            "/token" => {
                assert_eq!(request.query["scope"], "repository:a/b:pull");
                assert_eq!(request.query["service"], "the registry");
                HttpResponse::json(200, &json!({"token": "t1"}))
            }
            _ if request.header("authorization").as_deref() != Some("Bearer t1") => {
                let realm = format!("Bearer realm=\"http://{own}/token\",service=\"the registry\"");
                HttpResponse::empty(401).with_header("WWW-Authenticate", &realm)
            }
            "/v2/a/b/manifests/sha256-0a.sig" => manifest(&blob()),
            _ => HttpResponse::empty(307).with_header("Location", &format!("http://{there}/s")),
        })
        .await;
        let signature = Signature { payload: PAYLOAD.into(), signature: "c2ln".into() };
        assert_eq!(registry.signatures().await.unwrap(), [signature]);
        assert_eq!(*storage.asked.borrow(), ["/s"], "without a log-in");
        let asked = registry.asked.borrow();
        assert!(asked.contains(&"/token Basic dTpw".to_owned()), "{asked:?}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_is_not_there_is_none_and_what_is_odd_is_an_error() {
    let test = async {
        let none = World::start(|_, _| HttpResponse::error(404, "manifest unknown")).await;
        assert_eq!(none.signatures().await.unwrap(), []);
        let why = async |world: World| world.signatures().await.unwrap_err().to_string();
        let changed = World::start(|request, _| match request.path.contains("/blobs/") {
            true => HttpResponse::text(200, "something else"),
            false => manifest(&blob()),
        });
        assert!(why(changed.await).await.contains("is not what its digest says"));
        let large = World::start(|_, _| HttpResponse::text(200, "x".repeat(MOST_BYTES + 1)));
        assert!(why(large.await).await.contains("more than 1048576 bytes"));
        let circle =
            World::start(|_, _| HttpResponse::empty(302).with_header("Location", "/v2/again"));
        assert!(why(circle.await).await.contains("leads in a circle"));
        let closed = World::start(|_, _| {
            let basic = HttpResponse::json(401, &json!({"errors": [{"message": "go away"}]}));
            basic.with_header("WWW-Authenticate", "Basic realm=\"x\"")
        });
        let why = why(closed.await).await;
        assert!(why.contains("answers 401") && why.ends_with(": go away"), "{why}");
        assert!(!why.contains("dTpw"), "{why}");
    };
    LocalSet::new().run_until(test).await;
}

#[test]
fn nothing_leads_from_tls_to_none() {
    let registry = Registry::at("r.io", false, None).unwrap();
    let leads = |location: &str| {
        let place = registry.resolve(&registry.place, location);
        place.map(|(place, target)| format!("{place}{target}")).ok()
    };
    assert_eq!(leads("https://cdn.io/a?b=c").as_deref(), Some("https://cdn.io:443/a?b=c"));
    assert_eq!(leads("/v2/x").as_deref(), Some("https://r.io:443/v2/x"));
    assert_eq!(leads("http://cdn.io/a"), None);
}
