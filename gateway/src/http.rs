//! From HTTP to a job and back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use sprout_agent::{ResponseEvent, ResponseHead, encode_request};
use sprout_vmm::worker::protocol::{Assign, Seed};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Config;
use crate::http::body::ResponseBody;
use crate::job::{Failure, Job, REPLY_DEPTH};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::registry::{Function, Registry, RegistryError};

pub mod body;
mod fields;

/// How long after its deadline a job may still report what became of it.
const REPORT_GRACE: Duration = Duration::from_millis(250);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers HTTP requests.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    registry: Registry,
    pool: Pool,
    metrics: Arc<Metrics>,
    ids: RequestIds,
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

    /// Answers one request.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix("/f/") {
            let (name, rest) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, "/"),
            };
            let (name, rest) = (name.to_owned(), rest.to_owned());
            return Ok(self.call(&name, &rest, request).await);
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
        Ok(answer)
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
        rest: &str,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let arrived = Instant::now();
        let id = self.ids.next();
        let method = request.method().clone();
        let (label, outcome) = match self.registry.find(name) {
            Ok(function) => (name, self.run(&function, &id, rest, request, arrived).await),
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
        rest: &str,
        request: Request<Incoming>,
        arrived: Instant,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let name = &function.record.name;
        if matches!(request.method().as_str(), "CONNECT" | "TRACE" | "TRACK") {
            let text = format!("functions cannot be called with {}", request.method());
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        let head = fields::request_head(id, rest, &request);
        let no_body = request.method() == Method::HEAD;
        let body = self.read_body(request).await?;
        let bytes = encode_request(&head, &body)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        drop(body);
        let (reply, mut replies) = mpsc::channel(REPLY_DEPTH);
        let queued = Instant::now();
        let deadline = queued + self.config.timeout;
        let job = Job {
            id: id.to_owned(),
            function: name.clone(),
            assign: Assign {
                seed: Seed {
                    snapshot_dir: function.snapshot_dir.clone(),
                    required_isolation: self.config.required_isolation,
                },
                request: bytes,
                strace: false,
                stats: false,
            },
            arrived,
            queued,
            deadline,
            timeout: self.config.timeout,
            reply,
            lost_workers: 0,
        };
        let first = match self.pool.submit(job) {
            Ok(()) => match timeout_at(deadline + REPORT_GRACE, replies.recv()).await {
                Ok(Some(first)) => first,
                Ok(None) => Err(Failure::Worker("the worker's answer was lost".into())),
                Err(_) => Err(Failure::Overloaded),
            },
            Err(failure) => Err(failure),
        };
        match first {
            Ok(parts) => answer(parts, replies, no_body),
            Err(failure) => {
                if matches!(failure, Failure::Overloaded) {
                    self.metrics.failed(name, failure.reason());
                }
                Err(refuse(&failure))
            }
        }
    }

    async fn read_body(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let limit = self.config.max_request_body;
        let too_large = || {
            let text = format!("the request body is above the limit of {limit} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        let announced = hyper::body::Body::size_hint(request.body()).lower();
        if announced > limit as u64 {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), limit);
        match timeout(self.config.timeout, body.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                let text = format!("the request body cannot be read: {error}");
                Err(Refusal::new(StatusCode::BAD_REQUEST, text))
            }
            Err(_) => {
                let text = format!(
                    "the request body did not arrive in {:?}",
                    self.config.timeout
                );
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
            }
        }
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
) -> Result<Response<ResponseBody>, Refusal> {
    let mut parts = parts.into_iter();
    let Some(ResponseEvent::Head(ResponseHead { status, headers })) = parts.next() else {
        tracing::error!("a response began without its head");
        return Err(refuse(&Failure::Worker(String::new())));
    };
    let response = StatusCode::from_u16(status).ok().and_then(|status| {
        let mut response = Response::new(ResponseBody::new(parts, more));
        *response.status_mut() = status;
        *response.headers_mut() = fields::response_headers(headers, no_body)?;
        Some(response)
    });
    response.ok_or_else(|| {
        tracing::warn!("a function's response has a header field that HTTP does not allow");
        refuse(&Failure::Worker(String::new()))
    })
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
