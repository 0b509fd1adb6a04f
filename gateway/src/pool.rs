//! Workers that are ready before a request needs one.
//!
//! A fixed number of *seats* each keep one worker ready. A seat whose worker got a job lets it go
//! and starts the next, as long as the number of living workers allows. The new worker prepares the
//! function of that job, so that the ready ones follow the mix of requests; which worker gets which
//! job is the [`lobby`]'s affair.

mod lobby;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sprout_protocol::Seed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lobby::{Lobby, Offer};
use crate::config::Config;
use crate::job::{Failure, Job};
use crate::metrics::Metrics;
use crate::spawn::Spawner;
use crate::worker::{Served, Worker};

/// Pause after the first failed start of a worker; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The pool. Dropping it does not end its workers: [`Pool::stop`] does.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    spawner: Spawner,
    metrics: Arc<Metrics>,
    lobby: Mutex<Lobby>,
    alive: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Pool {
    /// Starts filling the pool.
    pub fn start(config: Config, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let spawner = Spawner::start(config.worker_command.clone())?;
        let shared = Arc::new(Shared {
            alive: Arc::new(Semaphore::new(config.max_workers)),
            lobby: Mutex::new(Lobby::new(config.queue)),
            config,
            spawner,
            metrics,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        for _ in 0..shared.config.workers {
            shared.tasks.spawn(shared.clone().keep_seat());
        }
        Ok(Self { shared })
    }

    /// Gives a job to a ready worker or has it wait for one; refuses it when too many wait.
    pub fn submit(&self, job: Job) -> Result<(), Failure> {
        self.shared.lobby().submit(job)
    }

    /// Ends every worker and waits until they are reaped.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    fn lobby(&self) -> MutexGuard<'_, Lobby> {
        self.lobby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one worker ready until the pool stops.
    async fn keep_seat(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut seed = None;
        while !self.stop.is_cancelled() {
            let permit = tokio::select! {
                Ok(permit) = self.alive.clone().acquire_owned() => permit,
                () = self.stop.cancelled() => return,
            };
            match self.ready_worker(seed.as_ref()).await {
                Ok(Some(worker)) => {
                    pause = FIRST_PAUSE;
                    seed = self.clone().occupy(worker, seed, permit).await;
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

    /// Starts a worker, waits until it is ready and has it prepare `seed`; none when the pool
    /// stops.
    async fn ready_worker(&self, seed: Option<&Seed>) -> Result<Option<Worker>, String> {
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
            ready = worker.ready(seed) => ready.map(|()| true),
            () = self.stop.cancelled() => Ok(false),
        };
        if let Ok(true) = ready {
            return Ok(Some(worker));
        }
        worker.end().await;
        ready.map(|_| None)
    }

    /// Has a ready worker wait for a job, which it then serves beside this seat. Returns what the
    /// seat's next worker should prepare.
    async fn occupy(
        self: Arc<Self>,
        mut worker: Worker,
        prepared: Option<Seed>,
        permit: OwnedSemaphorePermit,
    ) -> Option<Seed> {
        let waiting = self.metrics.worker("ready");
        let offer = self.lobby().wait(prepared);
        let job = self.await_job(&mut worker, offer, Duration::MAX).await;
        drop(waiting);
        let Some(job) = job else {
            worker.end().await;
            // It may have died of what it prepared.
            return None;
        };
        let seed = job.seed.clone();
        let shared = self.clone();
        self.tasks.spawn(async move {
            let unserved = shared.serve(worker, job).await;
            drop(permit);
            if let Some(job) = unserved {
                shared.lobby().hand_back(job);
            }
        });
        Some(seed)
    }

    /// The job that a waiting worker gets; none if it is lost, not wanted any more, or none came in
    /// `patience`.
    async fn await_job(
        &self,
        worker: &mut Worker,
        offer: Offer,
        patience: Duration,
    ) -> Option<Box<Job>> {
        let mut handed = match offer {
            Offer::Job(job) => return Some(job),
            Offer::Later(handed) => handed,
        };
        let job = tokio::select! {
            // A worker that is dead already must not get a job.
            biased;
            () = self.stop.cancelled() => None,
            reason = worker.lost() => {
                self.metrics.lost_workers.inc();
                tracing::warn!("lost a waiting worker: {reason}");
                None
            }
            job = &mut handed => job.ok(),
            () = sleep(patience) => None,
        };
        handed.close();
        if job.is_none()
            && let Ok(job) = handed.try_recv()
        {
            self.lobby().hand_back(job);
        }
        job
    }

    /// Has a worker serve a job, and, if its VM is rewound, further ones of the same function; a job
    /// that it did not begin with.
    async fn serve(&self, worker: Worker, job: Box<Job>) -> Option<Box<Job>> {
        let (mut worker, mut job) = (worker, job);
        let limits = self.config.response_limits;
        let (seed, function) = (job.seed.clone(), job.function.clone());
        for served in 1.. {
            let busy = self.metrics.worker("busy");
            let outcome = worker.serve(job, limits, &self.metrics, &self.stop).await;
            drop(busy);
            worker = match outcome {
                Served::Rewound(again) => *again,
                Served::NotBegun(job) => return Some(job),
                Served::Ended => return None,
            };
            if served >= self.config.most_rewinds {
                self.metrics.retired(&function, "count");
                break;
            }
            let _waiting = self.metrics.worker("rewound");
            let offer = self.lobby().wait_again(seed.clone());
            let idle = self.config.rewound_idle;
            match self.await_job(&mut worker, offer, idle).await {
                Some(next) => job = next,
                None => {
                    self.metrics.retired(&function, "unneeded");
                    break;
                }
            }
        }
        worker.end().await;
        None
    }
}
