//! The worker: a process that holds one pre-created VM, becomes an instance of a seed when it is
//! told to, and answers one request. Then it exits, or becomes its seed again and waits for the next.
//!
//! Depends on `sprout-vmm` for the VM, on `sprout-protocol` for what the gateway says, and on
//! `sprout-agent` for the notice a restored guest gets before its first request.

mod channel;
mod guest;
pub mod isolation;
mod jail;

use std::io;

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sprout_abi::boot::boot_flags;

use sprout_agent::Restored;
use sprout_protocol::{
    self as protocol, Assign, Done, FromWorker, Outcome, ProtocolError, Timings, ToWorker, nursery,
};
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Instance, Stop, Vm, VmError, Waiting};

use self::channel::Channel;
use self::guest::{Held, Next, Prepared};

/// Is the [`nursery`], and each of the workers it forks.
pub fn serve_inherited() -> Result<(), ProtocolError> {
    match nursery::run_inherited()? {
        Some(socket) => serve(&socket, Jail::Enter),
        None => Ok(()),
    }
}

/// Whether a worker gives up what it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jail {
    /// Before it says that it is ready: for a process of its own.
    Enter,
    /// Never: for a thread of a process that does other things, too.
    Open,
}

/// Serves one request over `socket`, or one after the other if its seed says so. The socket's end
/// before a request is a normal end.
pub fn serve(socket: &UnixStream, jail: Jail) -> Result<(), ProtocolError> {
    let shell = match Shell::new() {
        Ok(shell) => shell,
        Err(error) => return protocol::send(socket, &failed(&error)),
    };
    let create = shell.created_in();
    if jail == Jail::Enter
        && let Err(error) = jail::enter()
    {
        return protocol::send(socket, &failed(&error));
    }
    protocol::send(socket, &FromWorker::Ready)?;
    let mut state = Held::Shell(shell);
    loop {
        match protocol::receive(socket) {
            Ok(ToWorker::Prepare(seed)) => match state.rehearsed(seed) {
                Ok(prepared) => state = Held::Prepared(prepared),
                Err(error) => return protocol::send(socket, &failed(&error)),
            },
            Ok(ToWorker::Assign(assign)) => {
                let start = Instant::now();
                // All of it, before anything begins: until then the gateway may give it to another.
                let request = protocol::receive_request(socket, assign.request_length)?;
                let prepared = match state.become_guest(assign.seed.clone()) {
                    Ok(prepared) => *prepared,
                    Err(error) => return protocol::send(socket, &failed(&error)),
                };
                let Prepared {
                    vm,
                    origin,
                    took,
                    used,
                } = prepared;
                let timings = Timings {
                    create: if used { 0 } else { microseconds(create) },
                    restore: microseconds(took),
                    ..Timings::default()
                };
                let mut channel = Channel::new(socket, start, request);
                let (done, vm) = answer(&mut channel, vm, &assign, timings);
                let answered = done.outcome == Outcome::Answered;
                protocol::send(socket, &FromWorker::Done(done))?;
                match origin.again(vm.filter(|_| answered)) {
                    Next::End => return Ok(()),
                    Next::Retired(message) => return protocol::send(socket, &message),
                    Next::Prepared(prepared, message) => {
                        protocol::send(socket, &message)?;
                        state = Held::Prepared(prepared);
                    }
                }
            }
            Err(ProtocolError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Runs the instance; everything but the final message is sent on the way. The VM is left if it ran.
fn answer(
    channel: &mut Channel<'_>,
    waiting: Waiting,
    assign: &Assign,
    mut timings: Timings,
) -> (Done, Option<Vm>) {
    let resumed = Instant::now();
    let (outcome, mut counters, vm) = match resume(waiting, assign, channel) {
        Ok(mut vm) => {
            timings.restore += microseconds(resumed.elapsed());
            let entered = Instant::now();
            // Only named in reports; one that can't be parsed names nothing.
            let kernel = Kernel::embedded().ok();
            let result = vm.run(kernel.as_ref(), channel);
            timings.run = microseconds(entered.elapsed());
            (
                result.map_or_else(|error| not_run(&error), outcome),
                vm.counters(),
                Some(vm),
            )
        }
        Err(error) => {
            timings.restore = 0;
            (not_run(&error), Vec::new(), None)
        }
    };
    timings.first_byte = channel.first_byte().map_or(0, microseconds);
    timings.last_byte = channel.last_byte().map_or(0, microseconds);
    counters.extend(channel.take_counters());
    let done = Done {
        outcome,
        timings,
        counters,
    };
    (done, vm)
}

/// Makes the guest an instance of its own and puts its request before it.
fn resume(waiting: Waiting, assign: &Assign, channel: &mut Channel<'_>) -> Result<Vm, VmError> {
    let set = |condition, flag| if condition { flag } else { 0 };
    let flags = set(assign.strace, boot_flags::STRACE) | set(assign.stats, boot_flags::STATS);
    let (vm, instance) = waiting.resume(flags | boot_flags::CHANNEL)?;
    channel.open(notice(&instance).map_err(|cause| VmError::Io {
        action: "write the notice of the restore",
        cause,
    })?);
    Ok(vm)
}

/// What tells a restored guest that it is a copy, framed by `sprout_agent`.
fn notice(instance: &Instance) -> io::Result<Vec<u8>> {
    let notice = Restored {
        generation: instance.generation,
        instance_id: instance.id_text(),
    };
    notice.encode().map_err(io::Error::other)
}

/// What a restored guest reads first: the notice that it is a copy, and `request`, framed by
/// `sprout_agent`.
pub fn first_request(instance: &Instance, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = notice(instance)?;
    bytes.extend_from_slice(request);
    Ok(bytes)
}

fn outcome(stop: Stop) -> Outcome {
    match stop {
        Stop::Ready => Outcome::Answered,
        Stop::Panicked(report) => Outcome::Panicked { report },
        exited @ Stop::Exited { .. } => Outcome::Exited {
            status: exited.shell_status(),
        },
    }
}

fn failed(error: &dyn std::error::Error) -> FromWorker {
    FromWorker::Done(Done {
        outcome: not_run(error),
        timings: Timings::default(),
        counters: Vec::new(),
    })
}

fn not_run(error: &dyn std::error::Error) -> Outcome {
    Outcome::Failed {
        error: error.to_string(),
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
