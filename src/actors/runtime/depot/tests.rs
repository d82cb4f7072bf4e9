//! The queue is where it was left, or nowhere.

use std::path::PathBuf;

use super::*;

struct Scene {
    folder: tempfile::TempDir,
    state: Arc<Kv>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::state() };
        let state = Kv::open(&folder.path().join("state"), &["meta"], options).unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        Scene { folder, state }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// As after a start; the queue lies in `home` at first.
    fn depot(&self, home: &str) -> Arc<Depot> {
        let places = Places { home: self.at(home), roots: vec![self.at("disk")] };
        let options = Options { reserve: 0, ..Options::queue() };
        Depot::new(places, options, Arc::clone(&self.state))
    }

    /// Makes directories below the root that is allowed.
    fn make(&self, names: &[&str]) {
        names.iter().for_each(|name| std::fs::create_dir(self.at(name)).unwrap());
    }

    fn bring(&self, depot: &Depot, name: &str) -> Result<(), String> {
        depot.bring(Some(self.at(name).to_str().unwrap()))
    }

    /// What is remembered, once everything is written.
    fn known(&self) -> Known {
        self.state.save_and_wait(Vec::new()).unwrap();
        Known::read(&self.state).unwrap().unwrap()
    }

    fn has_store(&self, name: &str) -> bool {
        self.at(name).join("data.mdb").exists()
    }
}

fn place(depot: &Depot) -> PathBuf {
    depot.store().unwrap().in_use().directory().to_path_buf()
}

#[test]
fn a_queue_that_is_gone_is_not_replaced_until_that_is_asked_for() {
    let scene = Scene::new();
    let queue = scene.at("queue");
    let first = scene.depot("queue");
    assert!(first.open());
    let id = first.store().unwrap().id();
    scene.known();
    drop(first);
    std::fs::rename(&queue, scene.at("unplugged")).unwrap();
    let second = scene.depot("queue");
    assert!(!second.open() && second.store().is_none());
    assert!(second.why().contains("plugged in") && !scene.has_store("queue"));
    assert!(second.bring(None).unwrap_err().contains("plugged in"), "it cannot be moved either");
    std::fs::rename(scene.at("unplugged"), &queue).unwrap();
    assert!(second.open(), "plugged in again");
    assert_eq!(second.store().unwrap().id(), id);
    drop(second);
    std::fs::remove_dir_all(&queue).unwrap();
    std::fs::create_dir(&queue).unwrap();
    let third = scene.depot("queue");
    assert!(!third.open());
    std::fs::write(queue.join(ANEW), "").unwrap();
    assert!(third.open() && third.store().unwrap().id() != id);
    assert!(!queue.join(ANEW).exists());
    assert_eq!(scene.known().id(), Some(third.store().unwrap().id()));
}

#[test]
fn a_queue_is_moved_and_found_there_and_goes_home_when_nothing_is_said() {
    let scene = Scene::new();
    scene.make(&["disk/a"]);
    let depot = scene.depot("queue");
    assert!(depot.open());
    let id = depot.store().unwrap().id();
    assert_eq!(depot.bring(None), Ok(()), "it lies there");
    assert_eq!(scene.bring(&depot, "disk/a"), Ok(()));
    assert_eq!((place(&depot), scene.has_store("queue")), (scene.at("disk/a"), false));
    assert_eq!(scene.bring(&depot, "disk/a"), Ok(()));
    let known = scene.known();
    assert_eq!((&known.place, known.generation), (&scene.at("disk/a"), 1));
    assert_eq!((known.is_at_home, known.others), (false, Vec::new()));
    drop(depot);
    let depot = scene.depot("queue");
    assert!(depot.open(), "{}", depot.why());
    assert_eq!(place(&depot), scene.at("disk/a"));
    assert_eq!(depot.bring(None), Ok(()));
    assert_eq!((place(&depot), scene.has_store("disk/a")), (scene.at("queue"), false));
    assert_eq!((scene.known().is_at_home, depot.store().unwrap().id()), (true, id));
    // By the settings, too; also if they lead to where the queue was put by hand.
    drop(depot);
    let depot = scene.depot("other");
    assert!(depot.open());
    assert_eq!((place(&depot), depot.bring(None)), (scene.at("queue"), Ok(())));
    assert_eq!((place(&depot), scene.has_store("queue")), (scene.at("other"), false));
    scene.known();
    drop(depot);
    std::fs::rename(scene.at("other"), scene.at("by-hand")).unwrap();
    let depot = scene.depot("by-hand");
    assert!(depot.open(), "{}", depot.why());
    assert_eq!(depot.store().unwrap().id(), id);
}

#[test]
fn a_place_that_will_not_do_is_named_and_the_old_one_stays_in_use() {
    let scene = Scene::new();
    scene.make(&["disk/a", "disk/taken", "outside"]);
    std::fs::write(scene.at("disk/taken/data.mdb"), "somebody's").unwrap();
    let depot = scene.depot("queue");
    assert!(depot.open());
    for (name, why) in [
        ("disk/taken", "there is a store in"),
        ("disk/none", "make it"),
        ("outside", "store.allowed_roots"),
    ] {
        let error = scene.bring(&depot, name).unwrap_err();
        assert!(error.contains(why) && error.contains(name), "{error}");
        assert_eq!(place(&depot), scene.at("queue"));
    }
    assert_eq!(std::fs::read(scene.at("disk/taken/data.mdb")).unwrap(), b"somebody's");
    assert_eq!(scene.known().others, Vec::<PathBuf>::new());
    assert_eq!(scene.bring(&depot, "disk/a"), Ok(()));
}

#[test]
fn an_old_copy_is_never_taken_for_the_queue_and_goes_when_it_is_seen_again() {
    let scene = Scene::new();
    scene.make(&["disk/a"]);
    let depot = scene.depot("queue");
    assert!(depot.open());
    scene.known();
    drop(depot);
    // As if the old files could not be removed after the move.
    let old = std::fs::read(scene.at("queue/data.mdb")).unwrap();
    let depot = scene.depot("queue");
    assert!(depot.open());
    assert_eq!(scene.bring(&depot, "disk/a"), Ok(()));
    let known = scene.known();
    known.beside(&scene.at("queue")).save_and_wait(&scene.state).unwrap();
    drop(depot);
    std::fs::write(scene.at("queue/data.mdb"), &old).unwrap();
    std::fs::rename(scene.at("disk/a"), scene.at("unplugged")).unwrap();
    let depot = scene.depot("queue");
    assert!(!depot.open(), "the old copy at home is none");
    assert!(depot.why().contains("plugged in"), "{}", depot.why());
    assert!(scene.has_store("queue"));
    std::fs::rename(scene.at("unplugged"), scene.at("disk/a")).unwrap();
    assert!(depot.open());
    assert_eq!((place(&depot), scene.has_store("queue")), (scene.at("disk/a"), false));
    assert_eq!(scene.known().others, Vec::<PathBuf>::new());
}
