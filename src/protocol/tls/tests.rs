//! Over real sockets on loopback.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::protocol::certs::{Authority, names_of};

mod client_certificates;

const NOW: Duration = Duration::from_secs(1_790_000_000);

/// Connects to a server certified for `names`, as `host`; gives both sides' results.
async fn shake(
    server: TlsServer,
    client: TlsClient,
    host: &str,
) -> (io::Result<Option<ClientCertificate>>, io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let stream = server.accept(listener.accept().await.unwrap().0).await?;
        Ok(server.peer(&stream, NOW))
    };
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = client.connect(host, stream).await?;
        match stream.read(&mut [0; 1]).await {
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(e),
            _ => Ok(()),
        }
    };
    tokio::join!(serving, asking)
}

fn authority(dir: &tempfile::TempDir) -> (Authority, TlsServer, Trust) {
    let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "test CA").unwrap();
    let names = names_of(&["Gateway.Local"], &["127.0.0.3:0".parse().unwrap()]);
    let certificate = authority.certify(&names, NOW).unwrap();
    let trust = Trust::Pem(authority.pem().into(), "ca.pem".into());
    (authority, TlsServer::new(&certificate, ClientAuthorities::default()).unwrap(), trust)
}

#[tokio::test]
async fn clients_that_trust_the_authority_come_in_by_name_and_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let (_, server, trust) = authority(&dir);
    let client = TlsClient::new(&trust).unwrap();
    for host in ["gateway.local", "127.0.0.3"] {
        let (served, asked) = shake(server.clone(), client.clone(), host).await;
        assert_eq!(served.unwrap(), None, "no client certificate is no trouble");
        asked.unwrap();
    }
    let (_, asked) = shake(server, client, "other.local").await;
    assert!(asked.unwrap_err().to_string().contains("not valid for name"));
}

#[tokio::test]
async fn a_self_signed_client_certificate_is_known_by_its_thumbprints() {
    let dir = tempfile::tempdir().unwrap();
    let (_, server, trust) = authority(&dir);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["dev1".into()]).unwrap().self_signed(&key).unwrap();
    let client = TlsClient::with_identity(&trust, &own.pem(), &key.serialize_pem()).unwrap();
    let (served, asked) = shake(server, client, "gateway.local").await;
    asked.unwrap();
    let served = served.unwrap().unwrap();
    assert_eq!(served.thumbprints, thumbprints(own.der()));
    assert_eq!((served.thumbprints[0].len(), served.thumbprints[1].len()), (40, 64));
    assert!(served.chain.unwrap_err().contains("client_ca"));
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_is_not_served() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, server, _) = authority(&one);
    let (_, _, trust) = authority(&other);
    let (served, asked) = shake(server, TlsClient::new(&trust).unwrap(), "gateway.local").await;
    assert!(served.is_err());
    assert!(asked.unwrap_err().to_string().contains("invalid peer certificate"));
}

#[test]
fn a_file_without_certificates_is_no_trust() {
    let error = TlsClient::new(&Trust::Pem(b"hello".into(), "my-ca.pem".into())).unwrap_err();
    assert!(error.to_string().starts_with("my-ca.pem has no usable certificate"));
}
