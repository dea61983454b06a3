//! Webhooks over https, to a server on loopback whose certificate is by an authority of our own.

#![allow(dead_code, reason = "the support modules serve several tests")]

mod support {
    pub mod certificates;
    pub mod daemon;
    pub mod port;
    pub mod wait;
    pub mod webhook;
}

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mailquotad::alarm::{Alarm, Alarms, Outside};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::certificates::certify;
use support::daemon::{Daemon, put_message, user};
use support::port::free_port;
use support::webhook::{answer, body};

/// Answers everybody with `status`; the requests of those who came through TLS. It ends with the test.
fn server(folder: &Path, status: &'static str) -> (u16, Receiver<String>) {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // Whoever does not believe us goes away.
            if let Some(request) = answer(&mut stream, status) {
                let _ = tell.send(request);
            }
        }
    });
    (port, told)
}

#[tokio::test]
async fn a_server_is_believed_that_a_known_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let (well, heard) = server(folder.path(), "200 OK");
    let (ill, _) = server(folder.path(), "503 Busy");
    let plain = free_port();
    let ours = Some(folder.path().join("ca.pem"));
    let table = [
        ("https", "127.0.0.1", well, ours.clone(), None),
        ("https", "127.0.0.1", ill, ours.clone(), Some("503 Service Unavailable")),
        // Its certificate is for another name, or by somebody whom the system does not know.
        ("https", "localhost", well, ours.clone(), Some("certificate")),
        ("https", "127.0.0.1", well, None, Some("certificate")),
        ("https", "127.0.0.1", well, Some("/nowhere/ca.pem".into()), Some("warnings.ca_file /nowhere/ca.pem")),
        ("https", "127.0.0.1", plain, ours.clone(), Some("refused")),
        // In the clear, to a server that wants TLS.
        ("http", "127.0.0.1", well, ours.clone(), Some("127.0.0.1")),
    ];
    for (scheme, host, port, ca_file, expected) in table {
        let outside = Outside::new(Duration::from_secs(30), ca_file);
        let url = format!("{scheme}://{host}:{port}/a?b=c");
        let raised = outside.raise(&Alarm::Webhook { url: url.clone(), body: "{\"x\":1}".into() }).await;
        match (raised, expected) {
            (Ok(()), None) => {
                let request = heard.recv().unwrap();
                assert!(request.starts_with("POST /a?b=c HTTP/1.1\r\n") && request.ends_with("{\"x\":1}"), "{request}");
            }
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                assert!(error.contains(expected) && error.starts_with(&url), "{url}: {error}");
            }
            (raised, _) => panic!("{url}: {raised:?}"),
        }
    }
    assert!(heard.try_recv().is_err(), "nobody else got anything across");
}

#[test]
fn the_daemon_posts_over_tls() {
    let mut daemon = Daemon::prepare(
        &user("anna", "100K"),
        "[warnings]\nca_file = \"DIR/ca.pem\"\n[[warnings.rule]]\nwhen = \"storage=80%\"\n\
         webhook = \"https://127.0.0.1:PORT/quota\"\n",
    );
    let root = daemon.folder.path();
    certify(root);
    let (port, heard) = server(root, "204 No Content");
    daemon.configure("PORT", &port.to_string());
    daemon.maildir("example.org", "anna");
    daemon.run();
    daemon.ok(&["resync", "--all"]);
    put_message(&daemon.maildir("example.org", "anna"), "1", 90_000, "Subject: x");
    daemon.ok(&["resync", "--all"]);
    let request = heard.recv().unwrap();
    let body = body(&request);
    assert_eq!((&body["account"], &body["used"]["bytes"]), (&"anna@example.org".into(), &90_000.into()));
}
