//! Where the time of a restore goes: `restore-phases SNAPSHOT REQUEST [INSTANCES [REQUESTS]]`.
//!
//! REQUEST is a file with one framed request. Each instance answers it REQUESTS times; the first
//! answer pays for what a restored guest touches for the first time, the others show what the
//! function itself takes.

use std::path::Path;
use std::time::Instant;

use sprout_abi::boot::boot_flags;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::snapshot::Snapshot;
use sprout_vmm::snapshot::restore::prepare;
use sprout_vmm::vm::Stop;
use sprout_vmm::vm::shell::Shell;
use sprout_worker::first_request;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, request, counts @ ..] = arguments.as_slice() else {
        return Err("usage: restore-phases SNAPSHOT REQUEST [INSTANCES [REQUESTS]]".into());
    };
    let request = std::fs::read(request)?;
    let count = |at: usize| counts.get(at).map_or(Ok(1), |text| text.parse::<usize>());
    let snapshot = Snapshot::open(Path::new(path))?;
    let set = snapshot.working_set();
    println!(
        "working set: {} large pages, {} pages copied",
        set.blocks().len(),
        set.len()
    );
    for _ in 0..count(0)? {
        let start = Instant::now();
        let waiting = prepare(&snapshot, || {
            let shell = Shell::new()?;
            print!("create {:?}", shell.created_in());
            Ok(shell)
        })?;
        print!(" in {:?}", start.elapsed());
        let start = Instant::now();
        let (mut vm, instance) = waiting.resume(boot_flags::CHANNEL)?;
        let mut next = first_request(&instance, &request)?;
        print!(" resume {:?}", start.elapsed());
        for _ in 0..count(1)? {
            let mut backend = Buffered::new([next]).with_first_request();
            let start = Instant::now();
            let before = faults(&vm);
            match vm.run(None, &mut backend)? {
                Stop::Ready => {}
                ended => return Err(format!("the guest ended: {ended:?}").into()),
            }
            let time = start.elapsed();
            let answer = backend.take_responses().len();
            print!(
                " run {time:?} ({} faults, {answer} bytes)",
                faults(&vm) - before
            );
            next = request.clone();
        }
        println!();
    }
    Ok(())
}

fn faults(vm: &sprout_vmm::vm::Vm) -> u64 {
    vm.counters()
        .into_iter()
        .find(|(name, _)| name == "kvm.pf_fixed")
        .map_or(0, |(_, value)| value)
}
