use super::*;
use crate::fs::file::OpenFlags;
use crate::ipc::eventfd::EventFd;
use crate::ipc::pipe::Pipe;

const IN: u32 = PollEvents::IN.bits();
const OUT: u32 = PollEvents::OUT.bits();
const HUP: u32 = PollEvents::HUP.bits();
const ET: u32 = Mode::EDGE.bits();
const ONESHOT: u32 = Mode::ONESHOT.bits();
const EXCLUSIVE: u32 = Mode::EXCLUSIVE.bits();

fn open(file: Arc<dyn File>, flags: OpenFlags) -> Arc<OpenFile> {
    OpenFile::new(file, flags, Vec::new())
}

fn pipe() -> (Arc<OpenFile>, Arc<OpenFile>) {
    let (r, w) = Pipe::pair();
    (open(r, OpenFlags::empty()), open(w, OpenFlags::WRONLY))
}

fn instance() -> (Arc<Epoll>, Arc<OpenFile>) {
    let epoll = Epoll::new();
    (epoll.clone(), open(epoll, OpenFlags::RDWR))
}

fn ev(events: u32, data: u64) -> Event {
    Event { events, data }
}

fn wait(epoll: &Epoll) -> Vec<(u32, u64)> {
    let mut events = Vec::new();
    epoll
        .collect(16, |_, event| {
            events.push((event.events, event.data));
            Ok(())
        })
        .unwrap();
    events
}

fn write(file: &OpenFile, bytes: &[u8]) {
    file.write(&mut Source::kernel(bytes)).unwrap();
}

fn read(file: &OpenFile, len: usize) -> usize {
    file.read(&mut Destination::kernel(&mut vec![0; len]))
        .unwrap()
}

#[test]
fn level_triggered_reports_while_there_is_data() {
    let (epoll, _file) = instance();
    let (r, w) = pipe();
    epoll.add(3, &r, ev(IN, 42)).unwrap();
    assert!(wait(&epoll).is_empty());
    // The example of epoll(7): 2 kB written, 1 kB read, still reported.
    write(&w, &[0; 2048]);
    assert_eq!(wait(&epoll), [(IN, 42)]);
    read(&r, 1024);
    assert_eq!(wait(&epoll), [(IN, 42)]);
    read(&r, 1024);
    assert!(wait(&epoll).is_empty());
}

#[test]
fn edge_triggered_reports_each_arrival_once() {
    let (epoll, _file) = instance();
    let (r, w) = pipe();
    epoll.add(3, &r, ev(IN | ET, 42)).unwrap();
    write(&w, &[0; 2048]);
    assert_eq!(wait(&epoll), [(IN, 42)]);
    read(&r, 1024);
    assert!(wait(&epoll).is_empty());
    // More data, another edge, though some was left.
    write(&w, b"more");
    assert_eq!(wait(&epoll), [(IN, 42)]);
    assert!(wait(&epoll).is_empty());
    // Modifying looks at the state anew.
    epoll.modify(3, &r, ev(IN | ET, 43)).unwrap();
    assert_eq!(wait(&epoll), [(IN, 43)]);
    drop(w);
    assert_eq!(wait(&epoll), [(IN | HUP, 43)]);
}

#[test]
fn oneshot_reports_once_until_rearmed() {
    let (epoll, _file) = instance();
    let (r, w) = pipe();
    epoll.add(3, &r, ev(IN | ONESHOT, 1)).unwrap();
    write(&w, b"x");
    assert_eq!(wait(&epoll), [(IN, 1)]);
    write(&w, b"x");
    assert!(wait(&epoll).is_empty());
    drop(w);
    assert!(wait(&epoll).is_empty());
    epoll.modify(3, &r, ev(IN | ONESHOT, 2)).unwrap();
    assert_eq!(wait(&epoll), [(IN | HUP, 2)]);
}

#[test]
fn what_is_ready_when_added_is_reported() {
    let (epoll, _file) = instance();
    let (r, w) = pipe();
    epoll.add(4, &w, ev(OUT | ET, 4)).unwrap();
    write(&w, b"x");
    epoll.add(3, &r, ev(IN | ET, 3)).unwrap();
    assert_eq!(wait(&epoll), [(OUT, 4), (IN, 3)]);
}

#[test]
fn few_slots_are_shared_fairly() {
    let (epoll, _file) = instance();
    let files: Vec<_> = (0..3)
        .map(|_| open(Arc::new(EventFd::new(1, false)), OpenFlags::RDWR))
        .collect();
    for (fd, file) in files.iter().enumerate() {
        epoll.add(fd as i32, file, ev(IN, fd as u64)).unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        epoll
            .collect(1, |_, event| {
                seen.push(event.data);
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn an_event_that_cannot_be_stored_is_not_lost() {
    let (epoll, _file) = instance();
    let file = open(Arc::new(EventFd::new(1, false)), OpenFlags::RDWR);
    epoll.add(3, &file, ev(IN | ET, 3)).unwrap();
    assert_eq!(
        epoll.collect(1, |_, _| Err(Errno::EFAULT)),
        Err(Errno::EFAULT)
    );
    assert_eq!(wait(&epoll), [(IN, 3)]);
}

#[test]
fn closing_a_file_ends_its_watch() {
    let (epoll, _file) = instance();
    let (r, w) = pipe();
    epoll.add(3, &r, ev(IN, 3)).unwrap();
    epoll.add(4, &w, ev(OUT, 4)).unwrap();
    let duplicate = r.clone();
    drop(r);
    write(&w, b"x");
    assert_eq!(wait(&epoll).len(), 2, "a duplicate keeps the file open");
    drop(duplicate);
    assert_eq!(wait(&epoll), [(OUT | PollEvents::ERR.bits(), 4)]);
    drop(w);
    assert!(wait(&epoll).is_empty());
    assert!(epoll.state.lock().items.is_empty());
}

#[test]
fn watches_of_closed_files_do_not_pile_up() {
    let (epoll, _file) = instance();
    for _ in 0..1000 {
        let (r, _w) = pipe();
        epoll.add(3, &r, ev(IN, 3)).unwrap();
    }
    assert!(epoll.state.lock().items.len() <= 64);
}

#[test]
fn errors_are_those_of_linux() {
    let (epoll, file) = instance();
    let (r, _w) = pipe();
    assert_eq!(epoll.modify(3, &r, ev(IN, 0)), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(3, &r), Err(Errno::ENOENT));
    epoll.add(3, &r, ev(IN, 0)).unwrap();
    assert_eq!(epoll.add(3, &r, ev(IN, 0)), Err(Errno::EEXIST));
    epoll.add(5, &r, ev(IN, 0)).unwrap();
    assert_eq!(epoll.add(4, &file, ev(IN, 0)), Err(Errno::EINVAL));
    assert_eq!(
        epoll.modify(3, &r, ev(IN | EXCLUSIVE, 0)),
        Err(Errno::EINVAL)
    );
    let (other, _other_file) = instance();
    assert_eq!(
        other.add(3, &r, ev(IN | EXCLUSIVE | ONESHOT, 0)),
        Err(Errno::EINVAL)
    );
    other.add(3, &r, ev(IN | EXCLUSIVE | ET, 0)).unwrap();
    assert_eq!(other.modify(3, &r, ev(IN, 0)), Err(Errno::EINVAL));
    assert_eq!(
        other.add(4, &file, ev(IN | EXCLUSIVE, 0)),
        Err(Errno::EINVAL)
    );
}

#[test]
fn an_exclusive_watch_wakes_one_instance() {
    let (first, _f) = instance();
    let (second, _s) = instance();
    let (r, w) = pipe();
    first.add(3, &r, ev(IN | EXCLUSIVE | ET, 1)).unwrap();
    second.add(3, &r, ev(IN | EXCLUSIVE | ET, 2)).unwrap();
    write(&w, b"x");
    assert_eq!(wait(&first).len() + wait(&second).len(), 1);
}

#[test]
fn instances_nest() {
    let (inner, inner_file) = instance();
    let (outer, _outer_file) = instance();
    let (r, w) = pipe();
    outer.add(9, &inner_file, ev(IN, 9)).unwrap();
    inner.add(3, &r, ev(IN, 3)).unwrap();
    assert!(wait(&outer).is_empty());
    write(&w, b"x");
    assert_eq!(wait(&outer), [(IN, 9)]);
    assert_eq!(wait(&inner), [(IN, 3)]);
    read(&r, 1);
    assert!(wait(&outer).is_empty());
}

#[test]
fn cycles_and_long_chains_are_refused() {
    let all: Vec<_> = (0..8).map(|_| instance()).collect();
    all[0].0.add(1, &all[1].1, ev(IN, 0)).unwrap();
    assert_eq!(all[1].0.add(1, &all[0].1, ev(IN, 0)), Err(Errno::ELOOP));

    // From the top down and from the bottom up, five in a chain and no more.
    for i in 1..4 {
        all[i].0.add(1, &all[i + 1].1, ev(IN, 0)).unwrap();
    }
    assert_eq!(all[4].0.add(1, &all[5].1, ev(IN, 0)), Err(Errno::ELOOP));
    assert_eq!(all[7].0.add(1, &all[0].1, ev(IN, 0)), Err(Errno::ELOOP));
    // A watch that is gone counts no more.
    all[0].0.delete(1, &all[1].1).unwrap();
    all[4].0.add(1, &all[5].1, ev(IN, 0)).unwrap();
}

#[test]
fn dropping_an_instance_leaves_no_waker_behind() {
    let (r, _w) = pipe();
    let (epoll, file) = instance();
    epoll.add(3, &r, ev(IN, 0)).unwrap();
    assert!(!r.file().wait_queue().unwrap().is_empty());
    drop((epoll, file));
    assert!(r.file().wait_queue().unwrap().is_empty());
}

#[test]
fn files_without_readiness_are_refused() {
    struct Regular;
    impl File for Regular {
        fn read_at(&self, _: &mut Destination<'_>, _: u64) -> Result<usize> {
            Ok(0)
        }
        fn write_at(&self, _: &mut Source<'_>, _: u64) -> Result<usize> {
            Ok(0)
        }
        fn poll(&self) -> PollEvents {
            PollEvents::IN
        }
        fn wait_queue(&self) -> Option<&WaitQueue> {
            None
        }
        fn metadata(&self) -> Result<Metadata> {
            Ok(anon::metadata())
        }
        fn describe(&self) -> Vec<u8> {
            Vec::new()
        }
        fn as_any(&self) -> &dyn Any {
            self
        }
    }
    let (epoll, _file) = instance();
    let file = open(Arc::new(Regular), OpenFlags::RDWR);
    assert_eq!(epoll.add(3, &file, ev(IN, 0)), Err(Errno::EPERM));
}
