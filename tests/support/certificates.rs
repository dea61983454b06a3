//! An authority of our own, and a server's certificate by it for 127.0.0.1.

use std::path::Path;
use std::process::Command;

/// Makes `ca.pem`, `cert.pem` and `key.pem` in `folder`.
pub fn certify(folder: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca \
         -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE &&\
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout key.pem -out csr.pem &&\
         printf 'subjectAltName=IP:127.0.0.1\\n' > san &&\
         openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
