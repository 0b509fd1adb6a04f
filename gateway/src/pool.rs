//! Workers that are ready before a request needs one.
//!
//! A fixed number of *seats* each keep one worker ready. All of them take jobs from one bounded
//! queue; a seat whose worker got a job lets it go and starts the next, as long as the number of
//! living workers allows. A queue that is full is the sign that the machine cannot keep up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::job::{Failure, Job};
use crate::metrics::Metrics;
use crate::spawn::Spawner;
use crate::worker::Worker;

/// Pause after the first failed start of a worker; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The pool. Dropping it does not end its workers: [`Pool::stop`] does.
#[derive(Debug)]
pub struct Pool {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    spawner: Spawner,
    metrics: Arc<Metrics>,
    queue: Mutex<mpsc::Receiver<Job>>,
    alive: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Pool {
    /// Starts filling the pool.
    pub fn start(config: Config, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let spawner = Spawner::start(config.worker_command.clone())?;
        let (jobs, queue) = mpsc::channel(config.queue);
        let shared = Arc::new(Shared {
            alive: Arc::new(Semaphore::new(config.max_workers)),
            config,
            spawner,
            metrics,
            queue: Mutex::new(queue),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        for _ in 0..shared.config.workers {
            shared.tasks.spawn(shared.clone().keep_seat());
        }
        Ok(Self { jobs, shared })
    }

    /// Queues a job for the next ready worker; refuses it when too many wait.
    pub fn submit(&self, job: Job) -> Result<(), Failure> {
        self.jobs.try_send(job).map_err(|_| Failure::Overloaded)
    }

    /// Ends every worker and waits until they are reaped.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// Keeps one worker ready until the pool stops.
    async fn keep_seat(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            let permit = tokio::select! {
                Ok(permit) = self.alive.clone().acquire_owned() => permit,
                () = self.stop.cancelled() => return,
            };
            match self.ready_worker().await {
                Ok(Some(worker)) => {
                    pause = FIRST_PAUSE;
                    self.clone().occupy(worker, permit).await;
                }
                Ok(None) => return,
                Err(error) => {
                    drop(permit);
                    self.metrics.start_failures.inc();
                    tracing::error!("cannot start a worker: {error}");
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    /// Starts a worker and waits until it is ready; none when the pool stops.
    async fn ready_worker(&self) -> Result<Option<Worker>, String> {
        let _starting = self.metrics.worker("starting");
        let program = self.config.worker_command.first();
        let name = || {
            program
                .map(|path| path.to_string_lossy())
                .unwrap_or_default()
        };
        let started = Worker::start(&self.spawner).await;
        let mut worker = started.map_err(|error| format!("{}: {error}", name()))?;
        let ready = tokio::select! {
            ready = worker.ready() => ready.map(|()| true),
            () = self.stop.cancelled() => Ok(false),
        };
        if let Ok(true) = ready {
            return Ok(Some(worker));
        }
        worker.end().await;
        ready.map(|_| None)
    }

    /// Has a ready worker wait for a job, which it then serves beside this seat.
    async fn occupy(self: Arc<Self>, mut worker: Worker, permit: OwnedSemaphorePermit) {
        let waiting = self.metrics.worker("ready");
        let job = tokio::select! {
            // A worker that is dead already must not get a job.
            biased;
            () = self.stop.cancelled() => None,
            reason = worker.lost() => {
                self.metrics.lost_workers.inc();
                tracing::warn!("lost a waiting worker: {reason}");
                None
            }
            job = self.next_job() => job,
        };
        drop(waiting);
        let Some(job) = job else {
            return worker.end().await;
        };
        let shared = self.clone();
        self.tasks.spawn(async move {
            let busy = shared.metrics.worker("busy");
            let limits = shared.config.response_limits;
            worker
                .serve(job, limits, &shared.metrics, &shared.stop)
                .await;
            drop(busy);
            drop(permit);
        });
    }

    /// The next job somebody still waits for.
    async fn next_job(&self) -> Option<Job> {
        loop {
            let job = self.queue.lock().await.recv().await?;
            if job.deadline <= Instant::now() {
                // The client may have gone as well; then there is nobody to tell.
                let _ = job.reply.try_send(Err(Failure::Overloaded));
            } else if !job.reply.is_closed() {
                return Some(job);
            }
        }
    }
}
