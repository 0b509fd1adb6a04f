//! Where waiting jobs and waiting workers meet.

use std::collections::VecDeque;

use sprout_protocol::Seed;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::job::{Failure, Job};

/// At most one of the two lists has living entries.
#[derive(Debug)]
pub(super) struct Lobby {
    workers: Vec<Waiting>,
    jobs: VecDeque<Box<Job>>,
    limit: usize,
}

/// A ready worker.
#[derive(Debug)]
struct Waiting {
    prepared: Option<Seed>,
    /// It has served requests of that seed, and serves no others.
    used: bool,
    hand: oneshot::Sender<Box<Job>>,
}

/// What a worker that asks for a job gets.
#[derive(Debug)]
pub(super) enum Offer {
    /// One that waited already.
    Job(Box<Job>),
    /// The next one, when it comes.
    Later(oneshot::Receiver<Box<Job>>),
}

impl Lobby {
    /// A lobby in which at most `limit` jobs wait.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            workers: Vec::new(),
            jobs: VecDeque::new(),
            limit,
        }
    }

    /// Hands a job to the worker that suits it best, or has it wait.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), Failure> {
        let Some(job) = self.hand_out(Box::new(job)) else {
            return Ok(());
        };
        self.jobs.retain(|job| !job.reply.is_closed());
        if self.jobs.len() >= self.limit {
            return Err(Failure::Overloaded);
        }
        // Room for a worker that can serve it: the rewound one that waits longest makes it.
        if let Some(oldest) = self.workers.iter().position(|worker| worker.used) {
            self.workers.remove(oldest);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    /// Takes back a job whose worker could not begin with it. It waits before all others, and is
    /// not counted against the limit: it has been accepted.
    pub(super) fn hand_back(&mut self, job: Box<Job>) {
        if let Some(job) = self.hand_out(job) {
            self.jobs.push_front(job);
        }
    }

    /// Registers a ready worker.
    pub(super) fn wait(&mut self, prepared: Option<Seed>) -> Offer {
        self.offer(prepared, false)
    }

    /// Registers a worker that has served `seed` and is that again.
    pub(super) fn wait_again(&mut self, seed: Seed) -> Offer {
        self.offer(Some(seed), true)
    }

    fn offer(&mut self, prepared: Option<Seed>, used: bool) -> Offer {
        let suits = |job: &Job| !used || prepared.as_ref() == Some(&job.seed);
        while let Some(at) = self.jobs.iter().position(|job| suits(job)) {
            let Some(job) = self.jobs.remove(at) else {
                break;
            };
            if job.deadline <= Instant::now() {
                // The client may have gone as well; then there is nobody to tell.
                let _ = job.reply.try_send(Err(Failure::Overloaded));
            } else if !job.reply.is_closed() {
                return Offer::Job(job);
            }
        }
        let (hand, handed) = oneshot::channel();
        self.jobs.retain(|job| !job.reply.is_closed());
        if used && !self.jobs.is_empty() {
            // They wait for room, which this worker takes: nothing will be handed to it.
            return Offer::Later(handed);
        }
        self.workers.push(Waiting {
            prepared,
            used,
            hand,
        });
        Offer::Later(handed)
    }

    /// Gives the job back when there is no worker.
    fn hand_out(&mut self, mut job: Box<Job>) -> Option<Box<Job>> {
        self.workers.retain(|worker| !worker.hand.is_closed());
        while let Some(best) = self.best_worker(&job.seed) {
            // A worker that has died since gives the job back.
            match self.workers.remove(best).hand.send(job) {
                Ok(()) => return None,
                Err(back) => job = back,
            }
        }
        Some(job)
    }

    /// One that has served this seed, the latest first; else one that prepared it, else one that
    /// prepared nothing, else any that has served nothing.
    fn best_worker(&self, seed: &Seed) -> Option<usize> {
        let suits = |worker: &Waiting| match &worker.prepared {
            Some(prepared) if prepared == seed && worker.used => Some(3),
            Some(prepared) if prepared == seed => Some(2),
            _ if worker.used => None,
            None => Some(1),
            Some(_) => Some(0),
        };
        let workers = self.workers.iter().enumerate();
        let suitable = workers.filter_map(|(at, worker)| Some((suits(worker)?, at)));
        suitable.max().map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Reply;
    use sprout_protocol::{Instances, Required};
    use std::time::Duration;
    use tokio::sync::mpsc;

    fn seed(name: &str) -> Seed {
        Seed {
            snapshot_dir: name.into(),
            required_isolation: Required::Shared,
            instances: Instances::Rewind,
        }
    }

    fn job(seed_name: &str) -> (Job, mpsc::Receiver<Reply>) {
        let (reply, replies) = mpsc::channel(1);
        let now = Instant::now();
        let timeout = Duration::from_secs(60);
        let seed = seed(seed_name);
        let job = Job {
            id: String::new(),
            function: seed_name.into(),
            seed,
            request: vec![],
            body: None,
            share: None,
            arrived: now,
            queued: now,
            deadline: now + timeout,
            timeout,
            reply,
            lost_workers: 0,
        };
        (job, replies)
    }

    fn later(offer: Offer) -> oneshot::Receiver<Box<Job>> {
        match offer {
            Offer::Later(handed) => handed,
            Offer::Job(job) => panic!("a job was waiting: {job:?}"),
        }
    }

    #[test]
    fn a_job_goes_to_the_worker_that_prepared_its_function() {
        let mut lobby = Lobby::new(1);
        let mut other = later(lobby.wait(Some(seed("b"))));
        let mut plain = later(lobby.wait(None));
        let mut same = later(lobby.wait(Some(seed("a"))));
        let (jobs, _replies): (Vec<_>, Vec<_>) = (0..3).map(|_| job("a")).unzip();
        for (job, worker) in jobs.into_iter().zip([&mut same, &mut plain, &mut other]) {
            lobby.submit(job).unwrap();
            assert!(worker.try_recv().is_ok());
        }
    }

    #[test]
    fn jobs_wait_in_order_up_to_the_limit_and_those_given_up_do_not_count() {
        let mut lobby = Lobby::new(2);
        let (first, replies) = job("a");
        lobby.submit(first).unwrap();
        let (second, _kept) = job("b");
        lobby.submit(second).unwrap();
        let (third, _kept3) = job("c");
        assert!(matches!(lobby.submit(third), Err(Failure::Overloaded)));
        drop(replies);
        let (fourth, _kept4) = job("d");
        lobby.submit(fourth).unwrap();
        for expected in ["b", "d"] {
            assert!(matches!(lobby.wait(None), Offer::Job(job) if job.function == expected));
        }
    }

    #[test]
    fn a_rewound_worker_serves_its_own_function_only_and_before_others() {
        let mut lobby = Lobby::new(2);
        let mut fresh = later(lobby.wait(Some(seed("a"))));
        let mut older = later(lobby.wait_again(seed("a")));
        let mut latest = later(lobby.wait_again(seed("a")));
        let mut other = later(lobby.wait_again(seed("b")));
        let (jobs, _replies): (Vec<_>, Vec<_>) = (0..3).map(|_| job("a")).unzip();
        for (job, worker) in jobs.into_iter().zip([&mut latest, &mut older, &mut fresh]) {
            lobby.submit(job).unwrap();
            assert!(worker.try_recv().is_ok());
        }
        // None is left for it; the one of another function makes room.
        let (waiting, _reply) = job("a");
        lobby.submit(waiting).unwrap();
        assert!(matches!(
            other.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        // So does one that comes to wait while it waits.
        let mut late = later(lobby.wait_again(seed("b")));
        assert!(matches!(
            late.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        assert!(matches!(lobby.wait_again(seed("a")), Offer::Job(job) if job.function == "a"));
    }

    #[test]
    fn a_job_is_not_lost_with_its_worker() {
        let mut lobby = Lobby::new(1);
        drop(lobby.wait(None));
        let (job, _replies) = job("a");
        lobby.submit(job).unwrap();
        let Offer::Job(job) = lobby.wait(None) else {
            panic!("the job is gone")
        };
        let mut worker = later(lobby.wait(None));
        lobby.hand_back(job);
        assert!(worker.try_recv().is_ok());
    }

    #[test]
    fn a_job_that_waited_too_long_is_refused() {
        let mut lobby = Lobby::new(1);
        let (mut job, mut replies) = job("a");
        job.deadline = Instant::now();
        lobby.submit(job).unwrap();
        later(lobby.wait(None));
        assert!(matches!(replies.try_recv(), Ok(Err(Failure::Overloaded))));
    }
}
