use super::*;
use crate::wait::Wake;
use core::sync::atomic::AtomicU32;
use proptest::prelude::*;

fn read(end: &PipeEnd, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let n = end.read_at(&mut Destination::kernel(&mut bytes), 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn write(end: &PipeEnd, bytes: &[u8]) -> Result<usize> {
    end.write_at(&mut Source::kernel(bytes), 0)
}

#[derive(Default)]
struct Seen(AtomicU32);
impl Wake for Seen {
    fn wake(&self, events: PollEvents) {
        self.0.fetch_or(events.bits(), Ordering::Relaxed);
    }
}
impl Seen {
    fn take(&self) -> PollEvents {
        PollEvents::from_bits_truncate(self.0.swap(0, Ordering::Relaxed))
    }
}

#[test]
fn what_goes_in_comes_out() {
    let (r, w) = Pipe::pair();
    assert_eq!(read(&r, 1), Err(Errno::EAGAIN));
    assert_eq!(write(&w, b"hello"), Ok(5));
    assert_eq!(write(&w, b" world"), Ok(6));
    assert_eq!(r.unread(), 11);
    assert_eq!(read(&r, 7).unwrap(), b"hello w");
    assert_eq!(read(&r, 100).unwrap(), b"orld");
}

#[test]
fn ends_know_when_the_other_is_gone() {
    let (r, w) = Pipe::pair();
    write(&w, b"last").unwrap();
    drop(w);
    assert_eq!(r.poll(), READABLE | PollEvents::HUP);
    assert_eq!(read(&r, 9).unwrap(), b"last");
    assert_eq!(read(&r, 9).unwrap(), b"");
    assert_eq!(r.poll(), PollEvents::HUP);

    let (r, w) = Pipe::pair();
    drop(r);
    assert_eq!(write(&w, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&w, b""), Ok(0));
    assert_eq!(w.poll(), WRITABLE | PollEvents::ERR);
}

#[test]
fn it_is_full_when_its_buffers_are() {
    let (r, w) = Pipe::pair();
    // Single bytes share buffers: all 64 KiB fit.
    for _ in 0..65536 {
        assert_eq!(write(&w, b"x"), Ok(1));
    }
    assert_eq!(write(&w, b"x"), Err(Errno::EAGAIN));
    assert_eq!(w.poll(), PollEvents::empty());
    // A partly read buffer is still a used one.
    read(&r, 4095).unwrap();
    assert_eq!(w.poll(), PollEvents::empty());
    read(&r, 1).unwrap();
    assert_eq!(w.poll(), WRITABLE);

    // 4095 bytes leave one unusable byte in each.
    let (_r, w) = Pipe::pair();
    for _ in 0..16 {
        assert_eq!(write(&w, &[0; 4095]), Ok(4095));
    }
    assert_eq!(write(&w, &[0; 2]), Err(Errno::EAGAIN));
    assert_eq!(write(&w, &[0; 1]), Ok(1));
}

#[test]
fn small_writes_are_atomic_and_large_ones_partial() {
    let (r, w) = Pipe::pair();
    assert_eq!(write(&w, &[1; 65000]), Ok(65000));
    assert_eq!(write(&w, &[2; 4096]), Err(Errno::EAGAIN));
    assert_eq!(write(&w, &[2; 5000]), Err(Errno::EAGAIN));
    read(&r, 8192).unwrap();
    assert_eq!(write(&w, &[2; 4096]), Ok(4096));
    assert_eq!(write(&w, &[3; 9000]), Ok(4096));
    assert_eq!(r.unread(), 65000);
}

#[test]
fn packets_keep_their_ends() {
    let (r, w) = Pipe::pair();
    w.flags_changed(OpenFlags::WRONLY | OpenFlags::DIRECT);
    write(&w, b"first").unwrap();
    write(&w, b"second").unwrap();
    write(&w, &[7; 5000]).unwrap();
    assert_eq!(read(&r, 100).unwrap(), b"first");
    assert_eq!(read(&r, 3).unwrap(), b"sec");
    assert_eq!(read(&r, 9000).unwrap().len(), 4096);
    assert_eq!(read(&r, 9000).unwrap().len(), 904);
}

#[test]
fn the_capacity_can_be_changed() {
    let (r, w) = Pipe::pair();
    assert_eq!(w.capacity(), 65536);
    assert_eq!(w.set_capacity(5000), Ok(8192));
    assert_eq!(write(&w, &[0; 10000]), Ok(8192));
    assert_eq!(r.set_capacity(1), Err(Errno::EBUSY));
    assert_eq!(r.set_capacity(16384), Ok(16384));
    assert_eq!(w.poll(), WRITABLE);
    assert_eq!(w.set_capacity(2 << 20), Err(Errno::EPERM));
    assert_eq!(w.set_capacity(1 << 32), Err(Errno::EINVAL));
}

#[test]
fn the_other_end_is_woken() {
    let (r, w) = Pipe::pair();
    let seen = Arc::new(Seen::default());
    r.wait_queue().unwrap().add(seen.clone(), PollEvents::all());
    write(&w, &[0; 65536]).unwrap();
    assert!(seen.take().contains(PollEvents::IN));
    read(&r, 4096).unwrap();
    assert!(seen.take().contains(PollEvents::OUT));
    read(&r, 4096).unwrap();
    assert_eq!(seen.take(), PollEvents::empty());
    drop(w);
    assert!(seen.take().contains(PollEvents::HUP));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes, a pipe is a queue of bytes.
    #[test]
    fn a_pipe_is_a_byte_queue(steps in proptest::collection::vec((any::<bool>(), 0usize..20_000), 1..60)) {
        let (r, w) = Pipe::pair();
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut next = 0u8;
        for (is_write, len) in steps {
            if is_write {
                let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                match write(&w, &bytes) {
                    Ok(n) => {
                        prop_assert!(n == len || len > PIPE_BUF);
                        model.extend(&bytes[..n]);
                        next = next.wrapping_add(n as u8);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Errno::EAGAIN);
                        prop_assert!(len > PIPE_BUF || w.poll().is_empty() || len < PIPE_BUF);
                    }
                }
            } else {
                match read(&r, len) {
                    Ok(bytes) => {
                        prop_assert_eq!(bytes.len(), len.min(model.len()));
                        let expected: Vec<u8> = model.drain(..bytes.len()).collect();
                        prop_assert_eq!(bytes, expected);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Errno::EAGAIN);
                        prop_assert!(model.is_empty());
                    }
                }
            }
            prop_assert_eq!(r.unread(), model.len());
            prop_assert_eq!(r.poll().contains(PollEvents::IN), !model.is_empty());
        }
    }
}
