//! Certificates of clients that authorities have signed, as they arrive by a handshake.

use std::fs;

use rcgen::string::BmpString;
use rcgen::{
    BasicConstraints, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::SupportedProtocolVersion;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::domain::certificate::Period;

/// A certificate, its key, and what it signs with.
struct Made {
    pem: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

fn at(year: i32) -> u64 {
    date_time_ymd(year, 1, 1).unix_timestamp().unsigned_abs()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn make(params: CertificateParams, by: Option<&Made>) -> Made {
    let key = KeyPair::generate().unwrap();
    let made = match by {
        Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { pem: made.pem(), key: key.serialize_pem(), issuer: Issuer::new(params, key) }
}

/// One that does not look at its own certificate, as OpenSSL does not.
fn client(
    trust: &Trust,
    chain: &str,
    key: &str,
    version: &'static SupportedProtocolVersion,
) -> TlsClient {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = ring::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_protocol_versions(&[version]).unwrap();
    let config = config.with_root_certificates(trust.roots().unwrap());
    TlsClient(Arc::new(config.with_client_cert_resolver(Arc::new(shown))))
}

/// What a server that trusts `trusted` thinks of a client that sends `chain`.
async fn look(trusted: &str, chain: &[&Made]) -> ClientCertificate {
    let modern = look_by(&TLS13, trusted, chain).await;
    assert_eq!(look_by(&TLS12, trusted, chain).await, modern);
    modern
}

async fn look_by(
    version: &'static SupportedProtocolVersion,
    trusted: &str,
    chain: &[&Made],
) -> ClientCertificate {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clients.pem");
    fs::write(&file, trusted).unwrap();
    let (authority, _, trust) = authority(&dir);
    let names = names_of(&["gateway.local"], &[]);
    let certificate = authority.certify(&names, NOW).unwrap();
    let authorities = ClientAuthorities::read(Some(&file)).unwrap();
    let server = TlsServer::new(&certificate, authorities).unwrap();
    let pem: String = chain.iter().map(|made| made.pem.as_str()).collect();
    let client = client(&trust, &pem, &chain[0].key, version);
    let (served, asked) = shake(server, client, "gateway.local").await;
    asked.unwrap();
    served.expect("no certificate makes a handshake fail").unwrap()
}

#[tokio::test]
async fn a_chain_leads_to_an_authority_directly_or_by_what_the_client_sends() {
    let root = make(ca("root"), None);
    let (mut one, two) = (ca("one"), ca("two"));
    one.not_after = date_time_ymd(2030, 1, 1);
    let one = make(one, Some(&root));
    let two = make(two, Some(&one));
    let leaf = make(params("dev1"), Some(&two));
    let whole = look(&root.pem, &[&leaf, &two, &one]).await;
    assert_eq!(whole.common_names, ["dev1"]);
    assert_eq!(whole.valid, Period { from: at(2020), until: at(2040) });
    assert_eq!(whole.chain, Ok(Period { from: at(2020), until: at(2030) }), "the shortest counts");
    let disorderly = look(&root.pem, &[&leaf, &one, &root, &two]).await;
    assert!(disorderly.chain.is_ok());
    let direct = make(params("dev2"), Some(&root));
    assert!(look(&root.pem, &[&direct]).await.chain.is_ok());
    assert!(look(&format!("{}{}", two.pem, root.pem), &[&leaf]).await.chain.is_ok());
    for (trusted, sent) in [(&root, &[&leaf, &two][..]), (&root, &[&leaf]), (&one, &[&direct])] {
        let why = look(&trusted.pem, sent).await.chain.unwrap_err();
        assert!(why.contains("no trusted authority"), "{why}");
    }
}

#[tokio::test]
async fn who_only_bears_the_names_of_an_authority_is_not_it() {
    let root = make(ca("root"), None);
    let forged = make(ca("root"), None);
    let leaf = make(params("dev1"), Some(&forged));
    assert!(look(&root.pem, &[&leaf, &forged]).await.chain.is_err());
    assert!(look(&root.pem, &[&leaf, &root]).await.chain.is_err());
    let itself = make(params("root"), None);
    assert!(look(&root.pem, &[&itself, &root]).await.chain.is_err());
}

#[tokio::test]
async fn what_a_certificate_is_not_made_for_it_does_not_prove() {
    let root = make(ca("root"), None);
    let check = async |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = params("dev1");
        change(&mut params);
        let leaf = make(params, Some(&root));
        look(&root.pem, &[&leaf]).await.chain.err().unwrap_or_default()
    };
    use ExtendedKeyUsagePurpose as Purpose;
    let fine = async |change| check(change).await.is_empty();
    assert!(fine(&|it| it.extended_key_usages = vec![Purpose::ClientAuth]).await);
    assert!(fine(&|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature]).await);
    let why = check(&|it| it.extended_key_usages = vec![Purpose::ServerAuth]).await;
    assert!(why.contains("no client authentication"), "{why}");
    let why = check(&|it| it.key_usages = vec![KeyUsagePurpose::KeyEncipherment]).await;
    assert!(why.contains("digitalSignature"), "{why}");
    let why = check(&|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await;
    assert!(why.contains("an authority itself"), "{why}");
    let why = check(&|it| it.not_after = date_time_ymd(2026, 1, 1)).await;
    assert!(why.contains("expired"), "{why}");
    let why = check(&|it| it.not_before = date_time_ymd(2030, 1, 1)).await;
    assert!(why.contains("not valid yet"), "{why}");
}

#[tokio::test]
async fn only_an_authority_that_may_sign_and_is_in_date_leads_to_the_root() {
    let root = make(ca("root"), None);
    let check = async |change: &dyn Fn(&mut CertificateParams)| {
        let mut between = ca("between");
        change(&mut between);
        let between = make(between, Some(&root));
        let leaf = make(params("dev1"), Some(&between));
        look(&root.pem, &[&leaf, &between]).await.chain.is_ok()
    };
    assert!(check(&|_| ()).await);
    assert!(!check(&|it| it.is_ca = IsCa::ExplicitNoCa).await, "a device that signs others");
    assert!(!check(&|it| it.is_ca = IsCa::NoCa).await);
    assert!(!check(&|it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature]).await);
    assert!(!check(&|it| it.not_after = date_time_ymd(2026, 1, 1)).await);
    let old = |year| {
        let mut old = ca("old root");
        old.not_after = date_time_ymd(year, 1, 1);
        make(old, None)
    };
    for (year, is_good) in [(2026, false), (2031, true)] {
        let old = old(year);
        let leaf = make(params("dev1"), Some(&old));
        let chain = look(&old.pem, &[&leaf]).await.chain;
        let expected = Period { from: at(2020), until: at(year) };
        assert_eq!(chain.ok(), is_good.then_some(expected), "a root until {year}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_read_is_nobodys() {
    let root = make(ca("root"), None);
    let mut params = params("dev1");
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = BmpString::try_from("dev1").unwrap();
    params.distinguished_name.push(DnType::CommonName, DnValue::BmpString(name));
    let leaf = make(params, Some(&root));
    let names = look(&root.pem, &[&leaf]).await.common_names;
    assert!(names.len() == 1 && !crate::domain::identity::is_id(&names[0]), "{names:?}");
}

/// All of one name and one key: to try all their orders would take seconds for each hand-shake.
#[tokio::test]
async fn a_heap_of_certificates_is_not_gone_through() {
    let root = make(ca("root"), None);
    let one = make(ca("root"), None);
    let same = ca("root");
    let key = KeyPair::from_pem(&one.key).unwrap();
    let heap: Vec<Made> = (0..80)
        .map(|_| {
            let pem = same.signed_by(&key, &one.issuer).unwrap().pem();
            let key = KeyPair::from_pem(&one.key).unwrap();
            Made { pem, key: one.key.clone(), issuer: Issuer::new(same.clone(), key) }
        })
        .collect();
    let leaf = make(params("dev1"), Some(&one));
    let sent: Vec<&Made> = std::iter::once(&leaf).chain(&heap).collect();
    let why = look(&root.pem, &sent).await.chain.unwrap_err();
    assert!(why.contains("more than 6"), "{why}");
    let why = look(&root.pem, &sent[..7]).await.chain.unwrap_err();
    assert!(!why.contains("more than"), "{why}");
}

#[tokio::test]
async fn a_certificate_of_version_1_is_known_by_its_thumbprint_only() {
    let pem = include_str!("version-1.pem");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let root = make(ca("root"), None);
    let shown = Made { pem: pem.into(), key: pem.into(), issuer: root.issuer };
    let shown = look(&root.pem, &[&shown]).await;
    assert_eq!((shown.thumbprints, shown.common_names), (thumbprints(&der), vec!["old".into()]));
    assert!(shown.chain.unwrap_err().contains("version 3"));
}

#[test]
fn authorities_are_read_from_a_file_or_from_all_files_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let read = |path: &Path| ClientAuthorities::read(Some(path)).map_err(|why| why.to_string());
    let (one, two, leaf) = (make(ca("one"), None), make(ca("two"), None), params("leaf"));
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    assert!(read(dir.path()).unwrap_err().contains("holds no certificate"));
    let file = write("one.pem", &one.pem);
    write("two.crt", &format!("{}{}", two.pem, one.pem));
    write("notes.txt", "not a certificate");
    assert!(read(&file).is_ok() && read(dir.path()).is_ok());
    let bad = write("z.cer", &format!("{}{}", one.pem, make(leaf, Some(&one)).pem));
    for path in [&*bad, dir.path()] {
        let why = read(path).unwrap_err();
        assert!(why.contains("certificate 2") && why.contains("z.cer"), "{why}");
    }
    assert!(read(&write("empty.pem", "hello")).unwrap_err().contains("empty.pem"));
    assert!(read(&dir.path().join("missing.pem")).unwrap_err().contains("missing.pem"));
}
