//! From HTTP to a job and back.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use sprout_agent::{ProtocolError, RequestEncoder, ResponseEvent, ResponseHead};
use sprout_protocol::Seed;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clients::Shares;
use crate::config::Config;
use crate::http::body::ResponseBody;
use crate::http::host::host_of;
use crate::http::upload::{Upload, Uploads};
use crate::job::{Failure, Job, REPLY_DEPTH, RequestBytes};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::registry::{Function, Registry, RegistryError};

pub mod body;
mod fields;
mod host;
mod upload;

/// How long after its deadline a job may still report what became of it.
const REPORT_GRACE: Duration = Duration::from_millis(250);

/// Methods that are no matter of functions.
const FORBIDDEN: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers HTTP requests.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    registry: Registry,
    pool: Pool,
    metrics: Arc<Metrics>,
    shares: Arc<Shares>,
    uploads: Uploads,
    ids: RequestIds,
}

/// Who asks for what of a function.
struct Asked {
    client: IpAddr,
    host: String,
    /// The path below the function.
    rest: String,
}

/// An answer of the gateway itself.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

impl Gateway {
    /// A gateway whose pool starts to fill. Must be called in a runtime.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let metrics = Arc::new(Metrics::default());
        let registry = Registry::new(config.functions.clone(), config.snapshots.clone());
        let pool = Pool::start(config.clone(), metrics.clone())?;
        Ok(Self {
            shares: Shares::new(config.workers_per_client, config.queue),
            uploads: Uploads::new(&config),
            config,
            registry,
            pool,
            metrics,
            ids: RequestIds::new(),
        })
    }

    /// Ends all workers.
    pub async fn stop(&self) {
        self.pool.stop().await;
    }

    /// Answers one request of the client at this address.
    pub async fn handle(
        self: Arc<Self>,
        client: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let mut unread = !request.body().is_end_stream();
        let mut answer = self.route(client, request, &mut unread).await;
        if unread {
            // What is left of the body is not the next request: see `connection::serve`.
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(answer)
    }

    /// Answers one request; `unread` says whether some of its body is still to be read.
    async fn route(
        &self,
        client: IpAddr,
        request: Request<Incoming>,
        unread: &mut bool,
    ) -> Response<ResponseBody> {
        let host = match host_of(request.uri(), request.version(), request.headers()) {
            Ok(host) => host,
            Err(text) => {
                self.metrics.answered("", StatusCode::BAD_REQUEST.as_u16());
                return plain(StatusCode::BAD_REQUEST, format!("{text}\n"));
            }
        };
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix("/f/") {
            let (name, rest) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, "/"),
            };
            let (name, rest) = (name.to_owned(), rest.to_owned());
            let asked = Asked { client, host, rest };
            return self.call(&name, &asked, request, unread).await;
        }
        let answer = match (path, request.method()) {
            ("/healthz", &Method::GET | &Method::HEAD) => plain(StatusCode::OK, "ok\n"),
            ("/metrics", &Method::GET | &Method::HEAD) => self.metrics_page(),
            ("/healthz" | "/metrics", _) => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
            }
            _ => plain(StatusCode::NOT_FOUND, "functions are at /f/NAME\n"),
        };
        self.metrics.answered("", answer.status().as_u16());
        answer
    }

    fn metrics_page(&self) -> Response<ResponseBody> {
        match self.metrics.page() {
            Ok(page) => {
                let mut answer = plain(StatusCode::OK, page);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                answer
            }
            Err(error) => {
                tracing::error!("cannot format the metrics page: {error}");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the metrics cannot be shown\n",
                )
            }
        }
    }

    /// Calls a function.
    async fn call(
        &self,
        name: &str,
        asked: &Asked,
        request: Request<Incoming>,
        unread: &mut bool,
    ) -> Response<ResponseBody> {
        let arrived = Instant::now();
        let id = self.ids.next();
        let method = request.method().clone();
        let (label, outcome) = match self.registry.find(name) {
            Ok(function) => {
                let outcome = self.run(&function, &id, asked, request, arrived, unread);
                (name, outcome.await)
            }
            Err(RegistryError::Unknown) => (
                "",
                Err(Refusal::new(
                    StatusCode::NOT_FOUND,
                    RegistryError::Unknown.to_string(),
                )),
            ),
            Err(error) => {
                tracing::error!(function = name, request = id, "{error}");
                let text = "the function's record is broken";
                (
                    name,
                    Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)),
                )
            }
        };
        let mut answer = outcome.unwrap_or_else(|refusal| {
            let mut answer = plain(refusal.status, format!("{}\n", refusal.text));
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                let headers = answer.headers_mut();
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            answer
        });
        let status = answer.status().as_u16();
        self.metrics.answered(label, status);
        tracing::debug!(function = name, request = id, %method, status, took = ?arrived.elapsed());
        if let Ok(value) = HeaderValue::try_from(id) {
            answer.headers_mut().insert(REQUEST_ID, value);
        }
        answer
    }

    async fn run(
        &self,
        function: &Function,
        id: &str,
        asked: &Asked,
        request: Request<Incoming>,
        arrived: Instant,
        unread: &mut bool,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let name = &function.record.name;
        let method = request.method();
        // In whatever case: so `fetch`, by whose rules functions get requests, forbids them.
        let is = |name: &&str| method.as_str().eq_ignore_ascii_case(name);
        if FORBIDDEN.iter().any(is) {
            let text = format!("functions cannot be called with {method}");
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        // By the same rules these have no body.
        let takes_body = !is(&"GET") && !is(&"HEAD");
        let no_answer_body = *method == Method::HEAD;
        let head = fields::request_head(id, &asked.host, &asked.rest, &request);
        let refused =
            |error: ProtocolError| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
        let encoder = RequestEncoder::new(&head).map_err(refused)?;
        let (reply, mut replies) = mpsc::channel(REPLY_DEPTH);
        let queued = Instant::now();
        let mut deadline = queued + self.config.timeout;
        let mut upload = None;
        let overloaded = |refusal: &Refusal| {
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                self.metrics.failed(name, Failure::Overloaded.reason());
            }
        };
        if *unread {
            self.uploads.check(request.body())?;
        }
        let share = self.shares.take(asked.client, deadline).await;
        let share = share.ok_or_else(|| refuse(&Failure::Overloaded));
        let share = share.inspect_err(&overloaded)?;
        let (bytes, body) = if *unread {
            let (coming, awaited) = Upload::new(request.into_body(), encoder, takes_body);
            let room = self.uploads.room(deadline).await.inspect_err(&overloaded)?;
            upload = Some((coming, room));
            (RequestBytes::new(), Some(awaited))
        } else {
            (vec![encoder.finish().map_err(refused)?.into()], None)
        };
        let job = Job {
            id: id.to_owned(),
            function: name.clone(),
            seed: Seed {
                snapshot_dir: function.snapshot_dir.clone(),
                required_isolation: self.config.required_isolation,
                instances: function.record.instances.unwrap_or(self.config.instances),
            },
            request: bytes,
            body,
            share: Some(share),
            arrived,
            queued,
            deadline,
            timeout: self.config.timeout,
            reply,
            lost_workers: 0,
        };
        let first = match self.pool.submit(job) {
            Ok(()) => {
                if let Some((coming, room)) = upload {
                    let read = self.uploads.read(coming, deadline).await;
                    deadline = read.inspect_err(&overloaded)?;
                    drop(room);
                    *unread = false;
                }
                match timeout_at(deadline + REPORT_GRACE, replies.recv()).await {
                    Ok(Some(first)) => first,
                    Ok(None) => Err(Failure::Worker("the worker's answer was lost".into())),
                    Err(_) => Err(Failure::Overloaded),
                }
            }
            Err(failure) => Err(failure),
        };
        let answered = first.and_then(|parts| {
            let limits = (self.config.max_header_fields, self.config.max_header_size);
            answer(parts, replies, no_answer_body, limits).inspect_err(|failure| {
                tracing::warn!(function = name, request = id, "{failure}");
                self.metrics.failed(name, failure.reason());
            })
        });
        answered.map_err(|failure| {
            if matches!(failure, Failure::Overloaded) {
                self.metrics.failed(name, failure.reason());
            }
            refuse(&failure)
        })
    }
}

/// What the client is told of a failure: nothing of the function's or the host's insides.
fn refuse(failure: &Failure) -> Refusal {
    let (status, text) = match failure {
        Failure::Function(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the function failed".into(),
        ),
        Failure::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, failure.to_string()),
        Failure::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, failure.to_string()),
        Failure::Worker(_) | Failure::NotBegun(_) => (
            StatusCode::BAD_GATEWAY,
            "the function's instance ended without a response".into(),
        ),
    };
    Refusal { status, text }
}

/// Turns the first parts of a response, which begin with its head, into an HTTP response.
fn answer(
    parts: Vec<ResponseEvent>,
    more: mpsc::Receiver<crate::job::Reply>,
    no_body: bool,
    limits: (usize, usize),
) -> Result<Response<ResponseBody>, Failure> {
    let mut parts = parts.into_iter();
    let Some(ResponseEvent::Head(ResponseHead { status, headers })) = parts.next() else {
        return Err(Failure::Worker("a response began without its head".into()));
    };
    let bad = |reason: &dyn std::fmt::Display| {
        Failure::Worker(format!("the function's response cannot be sent: {reason}"))
    };
    let headers =
        fields::response_headers(headers, no_body, limits).map_err(|error| bad(&error))?;
    let status = StatusCode::from_u16(status).map_err(|error| bad(&error))?;
    let mut response = Response::new(ResponseBody::new(parts, more));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(text.into()));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    response
}

/// Makes ids that name one request among all of this gateway, and mostly among all gateways.
#[derive(Debug)]
struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: now.as_micros() as u64,
            count: AtomicU64::new(0),
        }
    }

    fn next(&self) -> String {
        format!(
            "{:x}-{:x}",
            self.start,
            self.count.fetch_add(1, Ordering::Relaxed)
        )
    }
}
