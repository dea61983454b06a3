//! What the API says to requests that are wrong: the same shape of answer, whatever is wrong with them.

mod support {
    pub mod site;
}

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use mailquotad::directory::entry::{EntryReader, Preset};
use mailquotad::directory::ldif::{LdifDirectory, LdifOptions};
use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore};
use mailquotad::service::http::{Api, router};
use mailquotad::service::measuring::Measuring;
use support::site::{Site, account, domain};
use tower::ServiceExt;

fn api() -> Api {
    let mut site = Site::new("");
    site.load([domain(1, "example.org", ""), account(2, "anna@example.org", "100")]);
    let store = Arc::new(MaildirStore::new(MaildirOptions::new("/nowhere".parse().unwrap())));
    Api {
        admission: site.admission(),
        measuring: Arc::new(Measuring::new(site.accounting.clone(), store, 1)),
        accounting: site.accounting,
        directory: Arc::new(LdifDirectory::new(LdifOptions::new("/nowhere", EntryReader::new(Preset::Sun)))),
        directory_status: site.directory,
        metrics: site.metrics,
        watch: Arc::default(),
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_told_as_json() {
    let router = router(api(), None);
    for (request, body, status, told) in [
        ("POST /v1/usage", "{", StatusCode::BAD_REQUEST, "EOF"),
        ("POST /v1/notify", "{", StatusCode::BAD_REQUEST, "EOF"),
        ("POST /v1/notify", "{\"usr\":\"x\"}", StatusCode::BAD_REQUEST, "unknown field `usr`"),
        ("POST /v1/enforce", "{\"domian\":\"x\"}", StatusCode::BAD_REQUEST, "unknown field `domian`"),
        ("POST /v1/resync", "[]", StatusCode::BAD_REQUEST, ""),
        ("POST /v1/explain", "anna", StatusCode::BAD_REQUEST, ""),
        ("PUT /v1/accounts/anna@example.org/quota", "{}", StatusCode::BAD_REQUEST, "accepted: quota, messages"),
        ("GET /v1/check?ovre=true", "", StatusCode::BAD_REQUEST, "unknown field `ovre`"),
        ("GET /v1/queue?most=-1", "", StatusCode::BAD_REQUEST, ""),
        ("GET /v1/accounts/%ff", "", StatusCode::BAD_REQUEST, "UTF-8"),
        ("GET /v1/accounts/nobody@example.org", "", StatusCode::NOT_FOUND, "nobody@example.org"),
        ("GET /v1/usage", "", StatusCode::METHOD_NOT_ALLOWED, "method"),
        ("GET /v2/health", "", StatusCode::NOT_FOUND, "no such path"),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let sent = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = router.clone().oneshot(sent.body(Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{request}");
        let allowed = answer.headers().get("allow").map(|allowed| allowed.to_str().unwrap());
        assert_eq!(allowed, (status == StatusCode::METHOD_NOT_ALLOWED).then_some("POST"), "{request}");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{request}: {error}: {text:?}"));
        let error = json["error"].as_str().unwrap_or_else(|| panic!("{request}: {json}"));
        assert!(error.contains(told), "{request}: {error}");
    }
}
