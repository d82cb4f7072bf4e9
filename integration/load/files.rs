//! When no more files may be open: who is in is served, who comes is closed, nothing spins.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::crowd::{Client, connect_all, each, make_devices, trust};
use crate::gauge::used;
use crate::support::program::OPEN_FILES;
use crate::support::world::World;

const CLIENTS: usize = 100;

#[test]
fn the_soft_limit_is_raised_and_said() {
    let world = World::start_as(&json!({}), &[], &[(OPEN_FILES, "-S -n 64")]);
    let log = world.edge.log_since_start();
    let line = log.lines().find(|line| line.contains("open files limit=")).expect(&log);
    assert!(line.ends_with("was=64") && !line.contains("limit=64"), "{line}");
}

#[test]
fn out_of_open_files_clients_are_turned_away_and_those_that_are_in_are_served() {
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    let mut world = World::start_as(&routes, &[], &[(OPEN_FILES, "-n 200")]);
    let raised = world.edge.log_since_start();
    assert!(raised.contains("open files limit=200"), "{raised}");
    let devices = make_devices(&world, "good", CLIENTS + 1);
    let (tls, to, edge) = (trust(&world), devices[0].address, world.edge.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clients = connect_all(&devices[..CLIENTS], &tls, 10).await;
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(TcpStream::connect(to).await.unwrap());
        }
        sleep(Duration::from_millis(500)).await;
        let mut turned_away = 0;
        for stream in &mut idle {
            let read = timeout(Duration::from_millis(1), stream.read(&mut [0; 1])).await;
            turned_away += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        println!("{turned_away} of 300 were turned away");
        assert!((230..300).contains(&turned_away));
        let clients = each(clients, async |mut client| {
            client.publish(1, b"served").await?;
            Ok(client)
        })
        .await;
        // The link and the stores have their files.
        let drained = || world.wait_drained(Duration::from_secs(30));
        std::thread::scope(|scope| scope.spawn(drained).join()).unwrap();
        assert!(Client::connect(&devices[CLIENTS], &tls, None).await.is_err());
        drop(idle);
        sleep(Duration::from_millis(500)).await;
        let late = Client::connect(&devices[CLIENTS], &tls, None).await;
        late.expect("there is room again").publish(1, b"served").await.unwrap();

        // Not even one for the listener: no more than are open now.
        let pid = Pid::from_raw(edge.cast_signed());
        let limit =
            |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum: Some(200) });
        limit(Some(50)).unwrap();
        let spent = used(edge);
        let device = &devices[CLIENTS];
        let later = async {
            sleep(Duration::from_secs(3)).await;
            let spent = used(edge) - spent;
            println!("{spent} ms of processor in 3 s without a file");
            assert!(spent < 600, "{spent} ms: it spins");
            limit(Some(200)).unwrap();
        };
        let (late, ()) = tokio::join!(Client::connect(device, &tls, None), later);
        late.expect("it waited, and was let in").publish(1, b"served").await.unwrap();
        each(clients, async |mut client| {
            client.publish(2, b"served").await?;
            Ok(client)
        })
        .await;
    });
    assert!(world.edge.ended().is_none());
    let summed_up = "more log-ins failed than are in the log";
    world.edge.wait_log(summed_up, Duration::from_secs(30));
    let log = world.edge.log_since_start();
    assert!(log.matches("cannot accept").count() <= 2, "{log}");
    assert!(log.matches("turned away").count() <= 50, "{log}");
}
