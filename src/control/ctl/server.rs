//! Serves clients: bounded connections, lines and times, so that no client can hold the daemon up.

use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::socket::Listener;
use super::{Answer, Items, Operations};
use crate::shared::api::{Line, MAX_REQUEST, Request, RequestError};

/// Clients at the same time.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may stay without a whole request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to read a chunk of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A pause after a failed accept(2), which is a lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Long lists are written in chunks of about this many bytes.
const CHUNK: usize = 64 * 1024;

impl Listener {
    /// Serves clients until dropped.
    pub async fn serve(self, operations: Operations) {
        let mut connections = JoinSet::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("control socket: accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            if connections.len() < MAX_CONNECTIONS {
                connections.spawn(connection(stream, operations.clone()));
            } else {
                turn_away(&stream);
            }
        }
    }
}

/// Says why before closing; a client that does not take a line at once goes without.
fn turn_away(stream: &UnixStream) {
    let reason = format!("{MAX_CONNECTIONS} clients are connected already: try again later");
    let mut line = Vec::new();
    push(&mut line, &Line::<()>::Error(reason));
    let _ = stream.try_write(&line);
}

/// One client, until it leaves, idles or breaks the rules.
async fn connection(stream: UnixStream, operations: Operations) {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut line = Vec::new();
    while let Ok(Ok(true)) = timeout(IDLE_TIMEOUT, read_line(&mut reader, &mut line)).await {
        let request = Request::parse(&line);
        // The rest of a line that is too long cannot be told from a next request.
        let last = matches!(request, Err(RequestError::TooLong));
        let answer = match request {
            Ok(request) => operations.ask(request).await,
            Err(error) => Answer::Refused(error.to_string()),
        };
        if reply(&mut write, answer).await.is_none() || last {
            return;
        }
    }
}

/// Reads up to a newline, or one byte more than a request may have. False at the end.
async fn read_line(
    reader: &mut BufReader<OwnedReadHalf>,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    let limit = u64::try_from(MAX_REQUEST).unwrap_or(u64::MAX) + 1;
    let read = reader.take(limit).read_until(b'\n', line).await?;
    Ok(read > 0)
}

/// Writes a whole answer; `None` when the client does not take it.
async fn reply(write: &mut OwnedWriteHalf, answer: Answer) -> Option<()> {
    let mut line = Vec::new();
    match answer {
        Answer::Routes(items) => return reply_items(write, items).await,
        Answer::Neighbours(items) => return reply_items(write, items).await,
        Answer::Status(status) => push(&mut line, &Line::Ok(status)),
        Answer::Ports(ports) => push(&mut line, &Line::Ok(ports)),
        Answer::Workers(workers) => push(&mut line, &Line::Ok(workers)),
        Answer::Counters(counters) => push(&mut line, &Line::Ok(counters)),
        Answer::Drops(drops) => push(&mut line, &Line::Ok(drops)),
        Answer::Route(route) => push(&mut line, &Line::Ok(route)),
        Answer::Done => push(&mut line, &Line::Ok(())),
        Answer::Refused(reason) => push(&mut line, &Line::<()>::Error(reason)),
    }
    send(write, &line).await
}

async fn reply_items<T: Serialize>(write: &mut OwnedWriteHalf, items: Items<T>) -> Option<()> {
    let mut chunk = Vec::with_capacity(CHUNK + 1024);
    let mut count = 0;
    for item in items {
        push(&mut chunk, &Line::Item(item));
        count += 1;
        if chunk.len() >= CHUNK {
            send(write, &chunk).await?;
            chunk.clear();
        }
    }
    push(&mut chunk, &Line::<()>::End(count));
    send(write, &chunk).await
}

async fn send(write: &mut OwnedWriteHalf, bytes: &[u8]) -> Option<()> {
    timeout(WRITE_TIMEOUT, write.write_all(bytes))
        .await
        .ok()?
        .ok()
}

/// Appends one line of JSON.
fn push<T: Serialize>(out: &mut Vec<u8>, line: &Line<T>) {
    let start = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, line) {
        // Half a line must not stay: the client would read it together with the next.
        warn!("control socket: an answer cannot be written as JSON: {error}");
        out.truncate(start);
        out.extend_from_slice(br#"{"error":"an answer cannot be written as JSON"}"#);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
