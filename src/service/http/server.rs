//! HTTP on the one accept loop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::service::listener::{Accepted, Host, Tasks};
use crate::service::socket::Peer;

/// A client that has not sent its headers by then is a slow loris.
const HEADERS: Duration = Duration::from_secs(10);

/// Serves `router` to each connection. A stop lets the request in hand finish.
pub fn host(router: Router) -> impl Host {
    let router = Arc::new(router);
    Tasks::new(move |stream: Accepted, _peer: Peer, stop: CancellationToken| {
        let router = Router::clone(&router);
        async move {
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let router = router.clone();
                async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADERS);
            let connection = server.serve_connection(TokioIo::new(stream), answer);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                crate::telemetry::events::http_ended(&error);
            }
        }
    })
}
