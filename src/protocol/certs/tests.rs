//! What is made, kept and refused.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn an_authority_is_made_once_and_its_key_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("device-ca.pem");
    let made = Authority::load_or_make(&path, "gw-1 device CA").unwrap();
    let read = Authority::load_or_make(&path, "another name").unwrap();
    assert_eq!(made.pem(), read.pem());
    let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.with_extension("key"))), (0o644, 0o600));
}

#[test]
fn half_an_authority_is_an_error_that_names_the_other_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    Authority::load_or_make(&path, "CA").unwrap();
    std::fs::remove_file(path.with_extension("key")).unwrap();
    let error = Authority::load_or_make(&path, "CA").unwrap_err().to_string();
    assert!(error.contains("ca.pem is there, but not") && error.contains("ca.key"), "{error}");
    std::fs::write(path.with_extension("key"), "junk").unwrap();
    let error = Authority::load_or_make(&path, "CA").unwrap_err().to_string();
    assert!(error.contains("ca.pem is damaged"), "{error}");
}

#[test]
fn an_authority_whose_certificate_was_never_written_is_made_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let key = || std::fs::read_to_string(path.with_extension("key")).unwrap();
    Authority::load_or_make(&path, "CA").unwrap();
    let before = key();
    std::fs::remove_file(&path).unwrap();
    let made = Authority::load_or_make(&path, "CA").unwrap();
    assert_eq!(key(), before);
    assert_eq!(Authority::load_or_make(&path, "CA").unwrap().pem(), made.pem());
}

#[test]
fn a_server_certificate_lasts_though_the_clock_was_wrong() {
    assert_eq!(ten_years_from(Duration::ZERO).year(), 2035);
    assert_eq!(ten_years_from(Duration::from_secs(2_000_000_000)).year(), 2043);
    assert!(ten_years_from(Duration::MAX).year() < 2099, "no longer than its authority");
}

#[test]
fn a_certificate_names_the_host_and_what_is_listened_on() {
    let listen = ["0.0.0.0:8883".parse().unwrap(), "[::1]:443".parse().unwrap()];
    let wanted = names_of(&["Gw.Local", "10.1.2.3", "[fe80::1]", ""], &listen);
    for name in ["gw.local", "10.1.2.3", "127.0.0.1", "::1", "fe80::1"] {
        assert!(wanted.contains(name), "{name} in {wanted:?}");
    }
    assert!(!wanted.contains("0.0.0.0") && !wanted.contains(""));
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "CA").unwrap();
    let certificate = authority.certify(&wanted, Duration::ZERO).unwrap();
    assert_eq!(certificate.chain_pem().matches("BEGIN CERTIFICATE").count(), 2);
    let bad = authority.certify(&BTreeSet::from(["gé".into()]), Duration::ZERO).unwrap_err();
    assert!(bad.to_string().starts_with("no certificate can be made for gé: "), "{bad}");
}

#[test]
fn the_trust_bundle_is_the_device_authority_and_what_is_trusted_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::load_or_make(&dir.path().join("ca.pem"), "ours").unwrap();
    let theirs = Authority::load_or_make(&dir.path().join("hub.pem"), "theirs").unwrap();
    let path = dir.path().join("trust-bundle.pem");
    assert_eq!(write_trust_bundle(&path, ours.pem(), None).unwrap(), ours.pem());
    let both = write_trust_bundle(&path, ours.pem(), Some(&dir.path().join("hub.pem"))).unwrap();
    assert!(both.starts_with(ours.pem()) && both.ends_with(theirs.pem()));
    assert_eq!(read_text(&path).unwrap(), both);
}
