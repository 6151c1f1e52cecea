//! `/metrics` over HTTP: a scrape asks the supervisor as any client does, and `text` writes the
//! answers down.

mod histogram;
mod text;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::ctl::{Answer, Operations};
use crate::shared::api::Request;

pub use histogram::Histogram;

/// What the supervisor takes the time of.
#[derive(Default, Debug)]
pub struct Times {
    /// Making and publishing a world.
    pub publish: Histogram,
    /// From the kernel's word to the world that has it.
    pub lag: Histogram,
}

/// Scrapers at the same time; more wait for accept.
const MAX_CONNECTIONS: usize = 16;
/// How long a scraper may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live: it serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEADERS: usize = 64;
const MAX_BUFFER: usize = 16 * 1024;
/// A pause after a failed accept(2), which is a lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const INDEX: &str = "ixmapd: see /metrics\n";
const TEXT_PLAIN: &str = "text/plain; charset=utf-8";
const TEXT_PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/metrics` cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metrics on {address}: {source}: choose another ADDR:PORT with --metrics, or off")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// A listening metrics server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    pub async fn bind(address: SocketAddr) -> Result<Server, MetricsError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Server { listener }),
            Err(source) => Err(MetricsError { address, source }),
        }
    }

    /// Serves scrapes until dropped.
    pub async fn serve(self, operations: Operations, times: Arc<Times>) {
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, operations.clone(), times.clone()));
                }
                Err(error) => {
                    warn!("metrics: accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

async fn connection(stream: TcpStream, operations: Operations, times: Arc<Times>) {
    let service = service_fn(|request: HttpRequest<Incoming>| {
        let (operations, times) = (operations.clone(), times.clone());
        async move { Ok::<_, Infallible>(respond(&request, &operations, &times).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("metrics: {error}"),
        Err(_) => debug!("metrics: a client took too long"),
    }
}

async fn respond(
    request: &HttpRequest<Incoming>,
    operations: &Operations,
    times: &Times,
) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => match scrape(operations, times).await {
            Ok(text) => response(StatusCode::OK, TEXT_PROMETHEUS, text),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &(reason + "\n")),
        },
        "/" => plain(StatusCode::OK, INDEX),
        _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    }
}

async fn scrape(operations: &Operations, times: &Times) -> Result<String, String> {
    let refused = |answer| match answer {
        Answer::Refused(reason) => reason,
        other => format!("an answer of the wrong kind: {other:?}"),
    };
    let status = match operations.ask(Request::Status).await {
        Answer::Status(status) => status,
        other => return Err(refused(other)),
    };
    let counters = match operations.ask(Request::Counters).await {
        Answer::Counters(counters) => counters,
        other => return Err(refused(other)),
    };
    let drops = match operations.ask(Request::Drops).await {
        Answer::Drops(drops) => drops,
        other => return Err(refused(other)),
    };
    Ok(text::render(&text::Snapshot {
        status: &status,
        counters: &counters,
        drops: &drops,
        times,
    }))
}

fn plain(status: StatusCode, body: &str) -> Response<String> {
    response(status, TEXT_PLAIN, body.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::control::ctl::channel;
    use crate::shared::api::{
        Counters, FamilyCounts, Mirror, NeighbourCare, NextHopCounts, Status,
    };

    async fn exchange(request: &[u8]) -> String {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.listener.local_addr().unwrap();
        let (operations, mut calls) = channel();
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let answer = match call.request {
                    Request::Status => Answer::Status(Box::new(Status {
                        version: "1.2.3".into(),
                        uptime_seconds: 0,
                        ports: Vec::new(),
                        workers: Vec::new(),
                        routes: FamilyCounts::default(),
                        neighbours: FamilyCounts::default(),
                        neighbour_care: NeighbourCare::default(),
                        next_hops: NextHopCounts::default(),
                        mirror: Mirror::default(),
                    })),
                    Request::Counters => Answer::Counters(Counters::default()),
                    _ => Answer::Drops(Vec::new()),
                };
                let _ = call.reply.send(answer);
            }
        });
        let server = tokio::spawn(server.serve(operations, Arc::default()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        server.abort();
        response
    }

    #[tokio::test]
    async fn a_scrape_is_answered_in_the_prometheus_text_format() {
        let response = exchange(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert!(response.contains("\nixmap_build_info{version=\"1.2.3\"} 1\n"));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        for (request, start) in [
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method"),
            ("\x16\x03\x01 nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ] {
            let response = exchange(request.as_bytes()).await;
            assert!(response.starts_with(start), "{request}: {response}");
        }
    }

    #[tokio::test]
    async fn too_many_headers_are_refused() {
        let headers = "X: y\r\n".repeat(MAX_HEADERS + 1);
        let response = exchange(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.listener.local_addr().unwrap();
        let error = Server::bind(address).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("metrics on {address}: ")),
            "{error}"
        );
        assert!(error.ends_with(": choose another ADDR:PORT with --metrics, or off"));
    }
}
