//! What follows what, when, and who trusts whom then. Clients are rustls over a pipe in memory.

use std::path::Path;

use super::*;
use crate::protocol::files::read_text;
use crate::protocol::tls::{ClientAuthorities, TlsServer, Trust};

const NOW: Duration = Duration::from_secs(1_790_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn names(state: &Path) -> DeviceNames {
    DeviceNames {
        state: state.into(),
        device: "d".repeat(128),
        gateway_hostname: "gw.local".into(),
        listen: vec!["127.0.0.1:8883".parse().unwrap()],
        trusted_ca: None,
        server_life: 100 * DAY,
        ca_life: 1000 * DAY,
    }
}

#[test]
fn a_second_start_keeps_the_authority_and_makes_a_new_server_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let start = || DeviceCertificates::prepare(names(dir.path()), Duration::ZERO).unwrap();
    let (first, second) = (start(), start());
    assert_eq!(first.trust_bundle().pem(), second.trust_bundle().pem());
    assert_ne!(first.server().chain_pem(), second.server().chain_pem());
    let bundle = read_text(&dir.path().join("certs/trust-bundle.pem")).unwrap();
    assert_eq!(bundle, first.trust_bundle().pem());
}

#[test]
fn each_is_renewed_when_four_fifths_of_its_life_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = DeviceCertificates::prepare(names(dir.path()), NOW).unwrap();
    assert_eq!(made.server_life().ends, NOW + 100 * DAY);
    assert_eq!(made.authority_life().ends, NOW + 1000 * DAY);
    let server = Renewed { server: true, authority: false };
    for (days, renewed) in [
        (79, Renewed::default()),
        (81, server),
        (160, Renewed::default()),
        (162, server),
        (799, server),
        (801, Renewed { server: true, authority: true }),
        (802, Renewed::default()),
    ] {
        assert_eq!(made.renew(NOW + days * DAY).unwrap(), renewed, "day {days}");
    }
    assert_eq!(made.authority_life().ends, NOW + 1801 * DAY);
}

#[test]
fn a_clock_that_was_wrong_and_is_set_makes_what_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = DeviceCertificates::prepare(names(dir.path()), Duration::ZERO).unwrap();
    assert_eq!(made.renew(Duration::from_secs(600)).unwrap(), Renewed::default(), "still 1970");
    let renewed = made.renew(NOW).unwrap();
    assert!(renewed.server && made.server_life().ends == NOW + 100 * DAY, "{renewed:?}");
    assert_eq!(made.renew(Duration::ZERO).unwrap(), Renewed::default(), "and set back");
}

#[tokio::test]
async fn who_trusts_the_old_authority_trusts_what_the_next_one_signs() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = DeviceCertificates::prepare(names(dir.path()), NOW).unwrap();
    let tls = TlsServer::new(made.server(), ClientAuthorities::read(None).unwrap()).unwrap();
    let old = made.trust_bundle().pem();
    let first = served_to(&tls, &old).await.unwrap();
    assert!(made.renew(NOW + 801 * DAY).unwrap().authority);
    tls.show(made.server()).unwrap();
    let both = made.trust_bundle().pem();
    assert!(both.contains(old.trim()) && both.len() > old.len());
    let new = made.authority().now().pem().to_owned();
    for (trusted, bundle) in [("old", &old), ("both", &both), ("new", &new)] {
        let shown = served_to(&tls, bundle).await.unwrap_or_else(|e| panic!("{trusted}: {e}"));
        assert_ne!(shown, first, "{trusted}: who comes from now on is shown the new one");
    }
    // The same after a restart; the old one is told of until it ends.
    let again = DeviceCertificates::prepare(names(dir.path()), NOW + 801 * DAY).unwrap();
    assert_eq!(again.trust_bundle().pem(), both);
    tls.show(again.server()).unwrap();
    served_to(&tls, &old).await.unwrap();
    let later = DeviceCertificates::prepare(names(dir.path()), NOW + 1001 * DAY).unwrap();
    assert_eq!(later.trust_bundle().pem(), new);
    assert_eq!(later.server().chain_pem().matches("BEGIN").count(), 2, "no use to anybody");
}

#[test]
fn a_change_of_the_authority_that_was_cut_off_is_finished_at_the_next_start() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = DeviceCertificates::prepare(names(dir.path()), NOW).unwrap().trust_bundle().pem();
    let mut made = DeviceCertificates::prepare(names(other.path()), NOW).unwrap();
    assert!(made.renew(NOW + 801 * DAY).unwrap().authority);
    let file = |dir: &Path, name: &str| dir.join("certs").join(name);
    let part = |name: &str| read_text(&file(other.path(), name)).unwrap();
    let next = [part("device-ca.key"), part("device-ca.pem"), part("device-ca-cross.pem")];
    // Cut off after the key was written, and before the certificate was.
    std::fs::write(file(dir.path(), "device-ca-next.pem"), next.join("\n# next part\n")).unwrap();
    std::fs::write(file(dir.path(), "device-ca.key"), &next[0]).unwrap();
    let again = DeviceCertificates::prepare(names(dir.path()), NOW + 802 * DAY).unwrap();
    assert_eq!(again.authority().now().pem(), next[1]);
    assert!(again.trust_bundle().pem().contains(old.trim()));
    assert!(!file(dir.path(), "device-ca-next.pem").exists());
}

#[test]
fn an_authority_of_the_operators_own_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let own = Authority::load_or_make(&certs.join("device-ca.pem"), "Plant 7 CA").unwrap();
    let made = DeviceCertificates::prepare(names(dir.path()), NOW + 40_000 * DAY).unwrap();
    assert_eq!(made.authority().now().pem(), own.pem());
    let life = made.authority_life();
    assert_eq!(life.renewed_from, None);
    // Made for 2020 to 2099: whose it is, is warned in its last fifth.
    let year = 365 * DAY;
    let warned = life.warned_from.unwrap();
    assert!((15 * year..17 * year).contains(&(life.ends - warned)), "{life:?}");
}

#[test]
fn of_what_is_trusted_upstream_the_first_to_end_is_looked_at_as_often_as_the_rest() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = other.path().join("trusted.pem");
    let names = DeviceNames { trusted_ca: Some(file.clone()), ..names(dir.path()) };
    let end = |year| time::Date::from_calendar_date(year, time::Month::June, 1).unwrap();
    let authority = |year, name: &str| {
        let until = end(year).midnight().assume_utc();
        let path = other.path().join(format!("{name}.pem"));
        Authority::load_or_make_until(&path, name, until).unwrap().pem().to_owned()
    };
    let (near, far) = (authority(2030, "near"), authority(2090, "far"));
    std::fs::write(&file, far.clone() + &near).unwrap();
    let mut made = DeviceCertificates::prepare(names, NOW).unwrap();
    let ends = |made: &DeviceCertificates| {
        let life = made.trusted_life().unwrap();
        assert!(life.renewed_from.is_none() && life.warned_from.unwrap() < life.ends);
        time_of(life.ends).year()
    };
    assert_eq!(ends(&made), 2030);
    std::fs::write(&file, far).unwrap();
    made.renew(NOW + DAY).unwrap();
    assert_eq!(ends(&made), 2090);
    std::fs::remove_file(&file).unwrap();
    made.renew(NOW + 2 * DAY).unwrap();
    assert_eq!(made.trusted_life(), None, "and that holds up no renewal");
}

/// The certificate that a client with these authorities is shown, if it takes it.
async fn served_to(tls: &TlsServer, trusted: &str) -> std::io::Result<Vec<u8>> {
    let trust = Trust::Pem(trusted.as_bytes().to_vec(), "test".into());
    let client = crate::protocol::tls::TlsClient::new(&trust).unwrap();
    let (near, far) = tokio::io::duplex(64 << 10);
    let server = tls.clone();
    let served = tokio::spawn(async move { server.accept(far).await.map(drop) });
    let name = "gw.local".try_into().unwrap();
    let config = client.config();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, near).await?;
    served.await.unwrap()?;
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    Ok(shown[0].to_vec())
}
