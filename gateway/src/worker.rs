//! One worker process, from its start to its end: it becomes ready, gets one job, or several of the
//! same function if it is rewound in between, and is reaped.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Bytes;
use sprout_agent::{Limits, ResponseDecoder, ResponseEvent};
use sprout_protocol::{
    Assign, Decoder, Done, FromWorker, LogStream, Outcome, ProtocolError, Seed, ToWorker,
};
use sprout_text::printable_within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::job::{Failure, Job};
use crate::logs::{FunctionLog, MAX_LINE};
use crate::metrics::{Metrics, Stage};
use crate::process::Process;
use crate::spawn::Spawner;

/// How long a worker may take to create its VM.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a worker may take to say how it went after the response is complete.
const DONE_GRACE: Duration = Duration::from_millis(500);
/// How long to wait for the exit status of a worker that closed its socket.
const EXIT_GRACE: Duration = Duration::from_millis(200);
const READ_PIECE: usize = 64 * 1024;
/// Pieces of a body below this are gathered, up to [`GATHERED`].
const CRUMB: usize = 4 * 1024;
const GATHERED: usize = 64 * 1024;
/// Most lines of a guest kernel's panic in the log.
const PANIC_LINES: usize = 100;
/// How many workers may be lost before they begin with a job, and it is given to another one: all that
/// wait may be gone at once, and take a while to be so.
const MOST_LOST: u32 = 32;

/// How long a worker may take to become its seed again.
const REWIND_GRACE: Duration = Duration::from_secs(10);

/// What became of a worker and its job.
#[derive(Debug)]
pub enum Served {
    /// The job is done, and the worker is gone.
    Ended,
    /// The job is done, and the worker's VM is its seed again.
    Rewound(Box<Worker>),
    /// The worker was lost before it began.
    NotBegun(Box<Job>),
}

/// A running worker process.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    socket: UnixStream,
    decoder: Decoder,
    /// Response bytes that are still to come behind the message that announced them.
    announced: u64,
    pid: i32,
}

/// What a worker says.
#[derive(Debug)]
enum Said {
    Message(FromWorker),
    /// The next bytes of the response.
    Response(Bytes),
}

impl Worker {
    /// Starts a process. It is not [`Worker::ready`] yet.
    pub async fn start(spawner: &Spawner) -> io::Result<Self> {
        let (process, socket) = spawner.spawn().await?;
        let pid = process.id();
        Ok(Self {
            process,
            socket,
            decoder: Decoder::default(),
            announced: 0,
            pid,
        })
    }

    /// Waits until its VM is created, and then has it prepare `seed`, for which nobody waits.
    pub async fn ready(&mut self, seed: Option<&Seed>) -> Result<(), String> {
        self.created().await?;
        let Some(seed) = seed else { return Ok(()) };
        let message = sprout_protocol::encode(&ToWorker::Prepare(seed.clone()));
        let message = message.map_err(|error| error.to_string())?;
        match self.socket.write_all(&message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(error.into()).await),
        }
    }

    async fn created(&mut self) -> Result<(), String> {
        match timeout(READY_TIMEOUT, self.receive()).await {
            Err(_) => Err(format!(
                "worker {} is not ready after {READY_TIMEOUT:?}",
                self.pid
            )),
            Ok(Ok(Said::Message(FromWorker::Ready))) => Ok(()),
            Ok(Ok(Said::Message(FromWorker::Done(Done {
                outcome: Outcome::Failed { error },
                ..
            })))) => Err(error),
            Ok(Ok(other)) => Err(format!("worker {} began with {other:?}", self.pid)),
            Ok(Err(error)) => Err(self.broken(error).await),
        }
    }

    /// Waits, while it has no job, for the only thing it can do: end.
    pub async fn lost(&mut self) -> String {
        match self.receive().await {
            Ok(message) => format!("worker {} sent {message:?} without a request", self.pid),
            Err(error) => self.broken(error).await,
        }
    }

    /// What it says next. Cancelling loses nothing.
    async fn receive(&mut self) -> Result<Said, ProtocolError> {
        loop {
            if self.announced > 0 {
                let most = usize::try_from(self.announced).unwrap_or(usize::MAX);
                if let Some(bytes) = self.decoder.next_bytes(most) {
                    self.announced -= bytes.len() as u64;
                    return Ok(Said::Response(bytes));
                }
            } else {
                match self.decoder.next_message()? {
                    Some(FromWorker::Response { length }) => {
                        self.announced = length;
                        continue;
                    }
                    Some(message) => return Ok(Said::Message(message)),
                    None => {}
                }
            }
            let room = self.decoder.room(READ_PIECE);
            if self.socket.read_buf(room).await? == 0 {
                return Err(ProtocolError::Closed);
            }
        }
    }

    /// Sends a message and the request behind it from where they lie.
    async fn assign(&mut self, job: &Job) -> Result<(), ProtocolError> {
        let length: usize = job.request.iter().map(Bytes::len).sum();
        let message = sprout_protocol::encode(&ToWorker::Assign(Assign {
            seed: job.seed.clone(),
            request_length: length as u64,
            strace: false,
            stats: false,
        }))?;
        let mut parts: Vec<_> = std::iter::once(message.as_slice())
            .chain(job.request.iter().map(|piece| &**piece))
            .map(IoSlice::new)
            .collect();
        let mut rest = parts.as_mut_slice();
        // Empty ones in front would look like the end of the socket.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.socket.write_vectored(rest).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }

    /// Says why the conversation broke, with the exit status where that explains it.
    async fn broken(&mut self, error: ProtocolError) -> String {
        let pid = self.pid;
        match timeout(EXIT_GRACE, self.process.wait()).await {
            Ok(Ok(status)) => format!("worker {pid} ended early ({status})"),
            _ => format!("worker {pid}: {error}"),
        }
    }

    /// Ends the process, whatever it does, and reaps it.
    pub async fn end(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::error!(pid = self.pid, "cannot end worker: {error}");
        }
    }

    /// Serves one job, and ends unless it has gone back to its seed for another one.
    pub async fn serve(
        mut self,
        mut job: Box<Job>,
        limits: Limits,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> Served {
        let (id, function) = (job.id.clone(), job.function.clone());
        metrics.took(&function, Stage::Queue, job.queued.elapsed());
        let complete = tokio::select! {
            complete = job.complete() => complete,
            () = stop.cancelled() => false,
        };
        if !complete {
            // The client has been told, or has gone.
            tracing::debug!(function, request = id, "its body did not come");
            self.end().await;
            return Served::Ended;
        }
        let mut log = FunctionLog::new(&function, &id);
        let mut done = None;
        let mut rewound = false;
        let outcome = tokio::select! {
            outcome = timeout_at(job.deadline, self.converse(&job, limits, &mut log, &mut done))
                => Some(outcome.unwrap_or(Err(Failure::Timeout(job.timeout)))),
            () = stop.cancelled() => Some(Err(Failure::Worker("the gateway is stopping".into()))),
            () = job.reply.closed() => None,
        };
        match outcome.filter(|outcome| outcome.is_ok() || !job.reply.is_closed()) {
            Some(Ok(())) => {
                metrics.took(&function, Stage::Total, job.arrived.elapsed());
                let rewinds = job.seed.instances.rewind();
                // Lets go of the client before the worker has said how it went.
                drop(job);
                self.await_done(&mut log, &mut done, stop).await;
                if rewinds && done.is_some() {
                    rewound = self.await_rewind(&function, &id, metrics, stop).await;
                }
            }
            Some(Err(Failure::NotBegun(reason))) if job.lost_workers < MOST_LOST => {
                metrics.lost_workers.inc();
                tracing::warn!(function, request = id, "{reason}, before it began; again");
                log.finish();
                self.end().await;
                job.lost_workers += 1;
                return Served::NotBegun(job);
            }
            Some(Err(failure)) => {
                metrics.failed(&function, failure.reason());
                tracing::warn!(function, request = id, "{failure}");
                // Nobody is left to tell when the client is gone too.
                let _ = job.reply.try_send(Err(failure));
            }
            None => {
                metrics.failed(&function, "client");
                tracing::debug!(function, request = id, "the client went away");
            }
        }
        if let Some(done) = done {
            report(&function, &id, &done, metrics);
        }
        log.finish();
        if rewound {
            return Served::Rewound(Box::new(self));
        }
        self.end().await;
        Served::Ended
    }

    /// Waits until the worker's VM is its seed again. False: it is not used any more.
    async fn await_rewind(
        &mut self,
        function: &str,
        id: &str,
        metrics: &Metrics,
        stop: &CancellationToken,
    ) -> bool {
        let message = tokio::select! {
            message = timeout(REWIND_GRACE, self.receive()) => message,
            () = stop.cancelled() => return false,
        };
        let (kind, reason) = match message {
            Ok(Ok(Said::Message(FromWorker::Rewound {
                compared,
                copied,
                undone,
                took,
            }))) => {
                tracing::debug!(
                    function,
                    request = id,
                    compared,
                    copied,
                    undone,
                    took,
                    "rewound"
                );
                metrics.took(function, Stage::Rewind, Duration::from_micros(took));
                return true;
            }
            Ok(Ok(Said::Message(FromWorker::Retired { kind, reason }))) => (kind, reason),
            Ok(Ok(_)) => ("protocol".into(), "it said something else".into()),
            Ok(Err(error)) => ("lost".into(), self.broken(error).await),
            Err(_) => (
                "timeout".into(),
                format!("it took more than {REWIND_GRACE:?}"),
            ),
        };
        metrics.retired(function, &kind);
        let reason = printable_within(&reason, MAX_LINE);
        tracing::debug!(function, request = id, "a VM is not used again: {reason}");
        false
    }

    /// Sends the request and passes the response on, until it is complete.
    async fn converse(
        &mut self,
        job: &Job,
        limits: Limits,
        log: &mut FunctionLog,
        done: &mut Option<Done>,
    ) -> Result<(), Failure> {
        if let Err(error) = self.assign(job).await {
            return Err(Failure::NotBegun(self.broken(error).await));
        }
        let mut response = ResponseDecoder::new(limits);
        loop {
            match self.receive().await {
                Ok(Said::Response(bytes)) => {
                    response.push(&bytes);
                    let (parts, end) = take_parts(&mut response, log);
                    if !parts.is_empty() && job.reply.send(Ok(parts)).await.is_err() {
                        // The client is gone: `serve` sees it too.
                        return Err(Failure::Worker("the client went away".into()));
                    }
                    match end {
                        Some(Err(failure)) => return Err(failure),
                        Some(Ok(())) => return Ok(()),
                        None => {}
                    }
                }
                Ok(Said::Message(FromWorker::Log { stream, bytes })) => log.push(stream, &bytes),
                Ok(Said::Message(FromWorker::Done(last))) => {
                    let failure = Failure::Worker(unanswered(&last.outcome));
                    *done = Some(last);
                    return Err(failure);
                }
                Ok(Said::Message(other)) => {
                    let text = format!("worker {} says {other:?} while it answers", self.pid);
                    return Err(Failure::Worker(text));
                }
                // So ends a UNIX socket that closes with a message it has not read.
                Err(ProtocolError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(Failure::NotBegun(self.broken(error.into()).await));
                }
                Err(error) => return Err(Failure::Worker(self.broken(error).await)),
            }
        }
    }

    /// Takes what the worker still says once the response is complete.
    async fn await_done(
        &mut self,
        log: &mut FunctionLog,
        done: &mut Option<Done>,
        stop: &CancellationToken,
    ) {
        let until = Instant::now() + DONE_GRACE;
        while done.is_none() {
            let message = tokio::select! {
                message = timeout_at(until, self.receive()) => message,
                () = stop.cancelled() => return,
            };
            match message {
                Ok(Ok(Said::Message(FromWorker::Log { stream, bytes }))) => {
                    log.push(stream, &bytes);
                }
                Ok(Ok(Said::Message(FromWorker::Done(last)))) => *done = Some(last),
                Ok(Ok(Said::Response(_) | Said::Message(_))) => {}
                // It was killed in the middle of idling or is stuck: the answer is out already.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

/// The parts of a response that are there, and its end if it is among them. A body in crumbs becomes
/// pieces: what is held for a client is little more than its bytes.
fn take_parts(
    response: &mut ResponseDecoder,
    log: &mut FunctionLog,
) -> (Vec<ResponseEvent>, Option<Result<(), Failure>>) {
    let mut parts = Vec::new();
    let mut crumbs = Vec::new();
    let gathered = |crumbs: &mut Vec<u8>| {
        let piece = std::mem::take(crumbs);
        (!piece.is_empty()).then(|| ResponseEvent::Body(piece.into()))
    };
    let end = loop {
        match response.next_event() {
            Ok(None) => break None,
            Ok(Some(ResponseEvent::Log(line))) => {
                log.push(LogStream::Stderr, line.as_bytes());
                log.push(LogStream::Stderr, b"\n");
            }
            Ok(Some(ResponseEvent::Failed(report))) => break Some(Err(Failure::Function(report))),
            Ok(Some(ResponseEvent::End)) => break Some(Ok(())),
            Ok(Some(ResponseEvent::Body(crumb))) if crumb.len() < CRUMB => {
                crumbs.extend_from_slice(&crumb);
                if crumbs.len() >= GATHERED {
                    parts.extend(gathered(&mut crumbs));
                }
            }
            Ok(Some(part)) => {
                parts.extend(gathered(&mut crumbs));
                parts.push(part);
            }
            Err(error) => {
                let text = format!("the guest's response cannot be read: {error}");
                break Some(Err(Failure::Worker(text)));
            }
        }
    };
    parts.extend(gathered(&mut crumbs));
    if matches!(end, Some(Ok(()))) {
        parts.push(ResponseEvent::End);
    }
    (parts, end)
}

/// Why an instance that ended gave no response.
fn unanswered(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered => "the guest waits for another request without a response".into(),
        Outcome::Exited { status } => {
            format!("the function's process exited with status {status} before its response")
        }
        Outcome::Panicked { report } => {
            let first = report.lines().next().unwrap_or_default();
            format!("the guest kernel panicked: {first}")
        }
        Outcome::Failed { error } => error.clone(),
    }
}

fn report(function: &str, id: &str, done: &Done, metrics: &Metrics) {
    let timings = &done.timings;
    for (stage, time) in [
        (Stage::Create, timings.create),
        (Stage::Restore, timings.restore),
        (Stage::Run, timings.run),
    ] {
        metrics.took(function, stage, Duration::from_micros(time));
    }
    if let Outcome::Panicked { report } = &done.outcome {
        // Each line with the marks of a log line: the text is the guest's.
        for line in report.lines().take(PANIC_LINES) {
            let line = printable_within(line, MAX_LINE);
            tracing::error!(function, request = id, "the guest kernel panicked: {line}");
        }
    }
    tracing::debug!(function, request = id, ?timings, counters = ?done.counters, "instance ended");
}
