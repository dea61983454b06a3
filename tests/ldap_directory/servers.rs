//! Ways to reach a server and to say who we are, and servers that are none.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use mailquotad::directory::ldap::Bind;
use mailquotad::secret::Secret;

use crate::certificates::certify;
use crate::followed::{Followed, options};
use crate::port::free_port;
use crate::slapd::{SUFFIX, SYNCPROV, Slapd, dn, frame, set, user};

fn with_tls() -> Slapd {
    let slapd = Slapd::prepare(
        "TLSCACertificateFile ROOT/ca.pem\nTLSCertificateFile ROOT/cert.pem\nTLSCertificateKeyFile ROOT/key.pem\n",
        SYNCPROV,
    );
    let root = slapd.folder.path().display().to_string();
    let config = fs::read_to_string(slapd.path("slapd.conf")).unwrap().replace("ROOT", &root);
    fs::write(slapd.path("slapd.conf"), config).unwrap();
    certify(slapd.folder.path());
    slapd.add_offline(&frame());
    slapd.add_offline(&user("ann", ""));
    slapd
}

async fn follows(slapd: &Slapd, followed: Followed) {
    followed.loaded().await;
    slapd.modify(&set("ann", "mailQuota", "6M"));
    followed.until("changes arrive", |f| f.limit("ann") == Some(6 << 20)).await;
    followed.stop().await;
    slapd.modify(&set("ann", "mailQuota", "5M"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_an_authority_of_our_own() {
    let mut slapd = with_tls();
    slapd.run();
    let mut options = options(&[&slapd]);
    options.tls.start = true;
    let nobody = Followed::start(options.clone());
    nobody.until("the certificate is refused", |f| f.status.state().lost.is_some()).await;
    assert!(!nobody.accounting.loaded());
    nobody.stop().await;
    options.tls.ca_file = Some(slapd.path("ca.pem"));
    follows(&slapd, Followed::start(options)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ldaps_and_with_a_password_in_a_file() {
    let mut slapd = with_tls();
    let plain = slapd.url();
    let tls = free_port();
    let tls = format!("ldaps://127.0.0.1:{tls}");
    slapd.run_on(&format!("{plain} {tls}"));
    let mut options = options(&[&slapd]);
    options.urls = vec![tls];
    options.tls.ca_file = Some(slapd.path("ca.pem"));
    let Bind::Simple { dn, .. } = options.bind else { panic!() };
    options.bind = Bind::Simple { dn, password: Secret::File(slapd.path("password")) };
    let followed = Followed::start(options);
    followed.until("the file is missed", |f| f.status.state().lost.is_some_and(|why| why.contains("/password"))).await;
    // Read again for each try.
    fs::write(slapd.path("password"), "wrong\n").unwrap();
    let wrong = |f: &Followed| f.status.state().lost.is_some_and(|why| why.contains("invalidCredentials"));
    followed.until("the password is refused", wrong).await;
    fs::write(slapd.path("password"), "secret\n").unwrap();
    follows(&slapd, followed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_unix_socket_as_the_user_that_we_are() {
    let uid = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap();
    let gid = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::gid(&own)).unwrap();
    let map = format!(
        "authz-regexp \"gidNumber={gid}\\\\+uidNumber={uid},cn=peercred,cn=external,cn=auth\" \"cn=mailquotad,ou=Services,{SUFFIX}\"\n"
    );
    let mut slapd = Slapd::prepare(&map, SYNCPROV);
    slapd.add_offline(&frame());
    slapd.add_offline(&user("ann", ""));
    let socket = slapd.path("ldapi").display().to_string().replace('/', "%2F");
    let listen = format!("{} ldapi://{socket}", slapd.url());
    slapd.run_on(&listen);
    let mut options = options(&[&slapd]);
    options.urls = vec![format!("ldapi://{socket}")];
    options.bind = Bind::External;
    follows(&slapd, Followed::start(options)).await;
}

/// Answers a bind well, and then sends what no decoder knows what to do with.
fn liar(garbage: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            // bindResponse 1: success.
            let _ =
                stream.write_all(&[0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00]);
            let _ = stream.read(&mut request);
            let _ = stream.write_all(garbage);
            let _ = stream.read(&mut request);
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_sends_nonsense_is_left_for_the_next_one() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&user("ann", ""));
    slapd.run();
    let nonsense: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        // A message without a number, a search entry without parts, an unknown operation.
        &[0x30, 0x02, 0x64, 0x00],
        &[0x30, 0x05, 0x02, 0x01, 0x02, 0x64, 0x00],
        &[0x30, 0x05, 0x02, 0x01, 0x02, 0x7e, 0x00],
    ];
    for garbage in nonsense {
        let mut options = options(&[&slapd]);
        options.urls.insert(0, liar(garbage));
        options.timeout = Duration::from_millis(500);
        follows(&slapd, Followed::start(options)).await;
    }
    assert!(slapd.try_modify(&dn("ann"), "").status.code() != Some(0));
}
