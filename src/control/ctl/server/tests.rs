//! The server against real sockets, with a supervisor of a few lines behind it.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::control::ctl::channel;
use crate::shared::api::{Action, Counters, Route};

/// How many routes the supervisor below has.
const ROUTES: u32 = 5000;

fn route(n: u32) -> Route {
    let network = std::net::Ipv4Addr::from_bits(0x0a00_0000 + (n << 8));
    Route {
        prefix: Some(format!("{network}/24").parse().unwrap()),
        kind: None,
        action: Action::Drop,
        reason: None,
        port: None,
        via: None,
        group: None,
    }
}

struct Served {
    path: PathBuf,
    server: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = Listener::bind(&path, None).unwrap();
    let (operations, mut calls) = channel();
    let server = tokio::spawn(listener.serve(operations));
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            let answer = match call.request {
                Request::Counters => Answer::Counters(Counters::default()),
                Request::Routes { .. } => Answer::Routes(Box::new((0..ROUTES).map(route))),
                Request::Reload => Answer::Done,
                // Dropped without a reply, as by a supervisor that ends.
                Request::Status => continue,
                other => Answer::Refused(format!("no {other:?} here")),
            };
            call.reply.send(answer).unwrap();
        }
    });
    Served {
        path,
        server,
        _directory: directory,
    }
}

async fn connect(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.unwrap()
}

/// Sends everything, ends the request side and reads all answers.
async fn converse(path: &Path, bytes: &[u8]) -> String {
    let mut stream = connect(path).await;
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let served = serve();
    let answers = converse(
        &served.path,
        b"{\"request\":\"reload\"}\n{\"request\":\"counters\"}\n{\"request\":\"port_del\",\"name\":\"x\"}\n{\"request\":\"status\"}\n",
    )
    .await;
    assert_eq!(
        answers,
        "{\"ok\":null}\n{\"ok\":{\"ports\":[],\"workers\":[]}}\n\
         {\"error\":\"no PortDel { name: \\\"x\\\" } here\"}\n\
         {\"error\":\"the daemon is stopping\"}\n"
    );
}

#[tokio::test]
async fn a_malformed_request_gets_an_error_and_the_next_an_answer() {
    let served = serve();
    let answers = converse(&served.path, b"\xff\x00{\n{\"request\":\"reload\"}").await;
    let lines: Vec<_> = answers.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("{\"error\":\"not a request"),
        "{answers}"
    );
    assert_eq!(lines[1], "{\"ok\":null}");
}

#[tokio::test]
async fn a_request_without_end_is_refused_at_the_limit() {
    let served = serve();
    let mut stream = connect(&served.path).await;
    let (mut read, mut write) = stream.split();
    let mut answer = String::new();
    // The server stops reading at its limit, so the write may fail; what counts is its answer.
    let endless = vec![b'x'; MAX_REQUEST + 1];
    let (_, read) = tokio::join!(write.write_all(&endless), read.read_to_string(&mut answer));
    read.unwrap();
    assert!(
        answer.starts_with("{\"error\":\"a request must fit in 65536"),
        "{answer}"
    );
    assert_eq!(
        converse(&served.path, b"{\"request\":\"reload\"}\n").await,
        "{\"ok\":null}\n"
    );
}

#[tokio::test]
async fn a_long_list_comes_item_by_item_and_ends_with_its_count() {
    let served = serve();
    let answers = converse(&served.path, b"{\"request\":\"routes\"}\n").await;
    let lines: Vec<Line<Route>> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), usize::try_from(ROUTES).unwrap() + 1);
    assert_eq!(lines[4999], Line::Item(route(4999)));
    assert_eq!(lines.last(), Some(&Line::End(u64::from(ROUTES))));
}

#[tokio::test]
async fn one_client_too_many_is_told_so_and_the_others_stay() {
    let served = serve();
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = connect(&served.path).await;
        client
            .write_all(b"{\"request\":\"reload\"}\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"{\"ok\":null}\n");
        clients.push(client);
    }
    let mut refused = String::new();
    let mut stream = connect(&served.path).await;
    stream.read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("{\"error\":\"32 clients"), "{refused}");

    let mut answer = [0; 12];
    clients[0]
        .write_all(b"{\"request\":\"reload\"}\n")
        .await
        .unwrap();
    clients[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"{\"ok\":null}\n");
}

#[test]
fn arbitrary_bytes_never_harm_the_server() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(async { serve() });
    let mut runner = TestRunner::new(Config::with_cases(64));
    let chunks = proptest::collection::vec(any::<u8>(), 0..4096);
    runner
        .run(&chunks, |bytes| {
            // Whatever it answers, each line of it is JSON.
            let answers = runtime.block_on(converse(&served.path, &bytes));
            for line in answers.lines() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
            }
            let alive = runtime.block_on(converse(&served.path, b"{\"request\":\"reload\"}\n"));
            prop_assert_eq!(alive, "{\"ok\":null}\n");
            Ok(())
        })
        .unwrap();
}
