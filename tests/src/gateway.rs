//! A `sprout serve` process on a free loopback port, and requests to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::run::{kill_group, wait};
use crate::store::Store;

/// How long a gateway may take to answer for the first time.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Longer than any gateway's own timeout in the tests.
const CLIENT_DEADLINE: Duration = Duration::from_secs(60);

/// The largest answer a test reads.
const MAX_BODY: u64 = 64 << 20;

/// A running gateway; it is stopped when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    url: String,
    log: NamedTempFile,
    agent: ureq::Agent,
}

/// An HTTP answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, body {:?}", self.status, self.text()))
    }
}

impl Gateway {
    /// Starts `sprout serve` with further arguments and waits until it answers.
    pub fn start(store: &Store, args: &[&str]) -> Result<Self> {
        // Several gateways of one test run may be up at once: each has a log of its own.
        let log = tempfile::Builder::new()
            .prefix("gateway-")
            .suffix(".log")
            .tempfile_in(store.home())
            .with_context(|| format!("creating a log in {}", store.home().display()))?;
        let file = log.reopen()?;
        let mut command = store.sprout()?;
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = command.spawn().context("starting sprout serve")?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(CLIENT_DEADLINE))
            .max_idle_connections(64)
            .max_idle_connections_per_host(64)
            .build()
            .new_agent();
        let mut gateway = Self {
            child,
            url: String::new(),
            log,
            agent,
        };
        gateway.wait_until_up()?;
        Ok(gateway)
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let end = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("sprout serve ended at once ({status}):\n{}", self.log());
            }
            if self.url.is_empty() {
                self.url = self.said_address().unwrap_or_default();
            } else if self
                .get("/healthz")
                .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "sprout serve does not answer:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The address the gateway says it listens on.
    fn said_address(&self) -> Option<String> {
        let log = self.log();
        let (_, rest) = log.split_once("listening on ")?;
        let (address, _) = rest.split_once(char::is_whitespace)?;
        Some(address.to_owned())
    }

    /// GET of a path.
    pub fn get(&self, path: &str) -> Result<Answer> {
        answer(self.agent.get(format!("{}{path}", self.url)).call()?)
    }

    /// POST of a body to a path, with headers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body)?)
    }

    /// Where it listens: address and port.
    pub fn address(&self) -> Result<&str> {
        self.url.strip_prefix("http://").context("no address")
    }

    /// The most memory its process ever had, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let text = line
            .context("no VmHWM")?
            .trim()
            .trim_end_matches("kB")
            .trim_end();
        Ok(text.parse::<u64>()? << 10)
    }

    /// All that the gateway wrote to standard output and standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Waits until its log has `text`, which may be written after the answer has been sent.
    pub fn log_comes_to_have(&self, text: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            if self.log().contains(text) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The gateway's own process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes it has now: workers, and what they are forked from.
    pub fn children(&self) -> Result<Vec<i32>> {
        let gateway = self.child.id();
        let mut pids: Vec<i32> = Vec::new();
        // Children belong to the thread that started them.
        for task in fs::read_dir(format!("/proc/{gateway}/task"))? {
            let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            pids.extend(list.split_whitespace().flat_map(str::parse::<i32>));
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills the gateway's present workers; returns how many there were.
    pub fn kill_workers(&self) -> Result<usize> {
        let mut killed = 0;
        for pid in self.children()?.into_iter().filter_map(Pid::from_raw) {
            killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
        }
        Ok(killed)
    }

    /// Asks it to end as an operator would, and gives its exit status if it does so in time.
    pub fn terminate(&mut self, deadline: Duration) -> Result<Option<i32>> {
        if self.child.try_wait()?.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            kill_process(pid, Signal::TERM)?;
        }
        Ok(wait(&mut self.child, deadline)?.and_then(|status| status.code()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.terminate(Duration::from_secs(5)), Ok(Some(_))) {
            return;
        }
        kill_group(&mut self.child);
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_BODY)
        .read_to_vec()?;
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Ok(Answer {
        status: response.status().as_u16(),
        headers,
        body,
    })
}
