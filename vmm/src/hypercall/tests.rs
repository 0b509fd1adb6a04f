use super::*;
use crate::backend::buffered::Buffered;
use crate::clock::Tsc;
use crate::memory::MIN_RAM;
use proptest::prelude::*;
use sprout_abi::layout::{HUGE_PAGE_SIZE, HYPERCALL_PAGE_GPA, KERNEL_GPA, image_base};

const REQUEST: u64 = HYPERCALL_PAGE_GPA;
const LIST: u64 = HYPERCALL_PAGE_GPA + 64;
const DATA: u64 = KERNEL_GPA + 0x1000;

fn handle(
    memory: &GuestMemory,
    gpa: u64,
    clock: &GuestClock,
    interest: &mut Interest,
    backend: &mut dyn Backend,
) -> Result<Outcome, DoorbellError> {
    match parse(memory, gpa)? {
        Request::Done(outcome) => Ok(outcome),
        Request::Outside(call) => call.carry_out(clock, interest, backend),
    }
}

struct Guest {
    memory: GuestMemory,
    interest: Interest,
    backend: Buffered,
}

impl Guest {
    fn new(backend: Buffered) -> Self {
        let memory = GuestMemory::fresh(MIN_RAM, vec![]).unwrap();
        Self {
            memory,
            interest: Interest::default(),
            backend,
        }
    }

    fn write_words(&self, gpa: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.memory.write_bytes(gpa, &bytes).unwrap();
    }

    fn ring(&mut self, number: u32, args: &[u64]) -> (Outcome, i64) {
        let mut words = [0; 8];
        words[0] = u64::from(number);
        words[1..=args.len()].copy_from_slice(args);
        self.write_words(REQUEST, &words);
        let clock = GuestClock::starting_at(
            Tsc {
                khz: 1_000_000,
                offset: 0,
            },
            0,
        );
        let outcome = handle(
            &self.memory,
            REQUEST,
            &clock,
            &mut self.interest,
            &mut self.backend,
        )
        .unwrap();
        let [result] = self.memory.read_words(REQUEST + RESULT_OFFSET).unwrap();
        (outcome, result as i64)
    }
}

#[test]
fn a_console_write_gathers_its_segments() {
    let mut guest = Guest::new(Buffered::default());
    guest.memory.write_bytes(DATA, b"hello world").unwrap();
    guest.write_words(LIST, &[DATA, 6, DATA, 0, DATA + 6, 5]);
    let (outcome, result) = guest.ring(number::CONSOLE_WRITE, &[LIST, 3, stream::STDERR]);
    assert_eq!((outcome, result), (Outcome::Resume, 11));
    assert_eq!(
        guest.backend.take_console(),
        [(Stream::Stderr, b"hello world".to_vec())]
    );
}

#[test]
fn requests_arrive_in_pieces_and_then_would_block() {
    let mut guest = Guest::new(Buffered::new([b"abcdef".to_vec()]).with_first_request());
    guest.write_words(LIST, &[DATA, 4]);
    assert_eq!(guest.ring(number::CHANNEL_RECV, &[LIST, 1]).1, 4);
    assert_eq!(guest.ring(number::CHANNEL_RECV, &[LIST, 1]).1, 2);
    assert_eq!(guest.interest, Interest(0));
    assert_eq!(
        guest.ring(number::CHANNEL_RECV, &[LIST, 1]).1,
        -i64::from(libc::EAGAIN)
    );
    assert_eq!(guest.interest, Interest(event::REQUEST));
}

#[test]
fn bad_arguments_become_errno_values() {
    let mut guest = Guest::new(Buffered::default());
    guest.write_words(LIST, &[DATA, u64::MAX]);
    for (number, args, expected) in [
        (
            number::CONSOLE_WRITE,
            [LIST, 1, stream::STDOUT],
            libc::EFAULT,
        ),
        (number::CONSOLE_WRITE, [LIST, 1, 9], libc::EINVAL),
        (
            number::CONSOLE_WRITE,
            [LIST, MAX_SEGMENTS + 1, stream::STDOUT],
            libc::E2BIG,
        ),
        (
            number::CONSOLE_WRITE,
            [u64::MAX - 3, 2, stream::STDOUT],
            libc::EFAULT,
        ),
        (number::CLOCK_READ, [0x1000, 0, 0], libc::EFAULT),
        (number::ENTROPY, [DATA, MAX_ENTROPY + 1, 0], libc::EINVAL),
        (number::ENTROPY, [MIN_RAM - 1, 2, 0], libc::EFAULT),
        (number::STATS, [DATA, MAX_STATS + 1, 0], libc::EINVAL),
        (999, [0; 3], libc::ENOSYS),
    ] {
        assert_eq!(
            guest.ring(number, &args).1,
            -i64::from(expected),
            "{number} {args:x?}"
        );
    }
}

#[test]
fn what_is_given_back_reads_as_zero_and_nothing_else_is_touched() {
    let mut guest = Guest::new(Buffered::default());
    let block = 4 * HUGE_PAGE_SIZE;
    let edges = [
        block - 8,
        block,
        block + HUGE_PAGE_SIZE - 8,
        block + HUGE_PAGE_SIZE,
    ];
    for gpa in edges {
        guest.write_words(gpa, &[7]);
    }
    for number in [number::GIVE_BACK, number::POPULATE] {
        for (range, expected) in [
            ([block, 4096], libc::EINVAL),
            ([block, 0], libc::EINVAL),
            ([block + 4096, HUGE_PAGE_SIZE], libc::EINVAL),
            ([0, HUGE_PAGE_SIZE], libc::EFAULT),
            ([MIN_RAM, HUGE_PAGE_SIZE], libc::EFAULT),
            ([image_base(0), HUGE_PAGE_SIZE], libc::EFAULT),
        ] {
            // A good range before it stays as it is.
            guest.write_words(LIST, &[block, HUGE_PAGE_SIZE, range[0], range[1]]);
            let result = guest.ring(number, &[LIST, 2]).1;
            assert_eq!(result, -i64::from(expected), "{number} {range:x?}");
        }
    }
    let words = |guest: &Guest| edges.map(|gpa| guest.memory.read_words::<1>(gpa).unwrap()[0]);
    assert_eq!(words(&guest), [7; 4]);
    guest.write_words(LIST, &[block, HUGE_PAGE_SIZE]);
    assert_eq!(guest.ring(number::GIVE_BACK, &[LIST, 1]).1, 0);
    assert_eq!(words(&guest), [7, 0, 0, 7]);
    // Fresh memory made ready stays what it is; there may be nobody to do it.
    let result = guest.ring(number::POPULATE, &[LIST, 1]).1;
    assert!(
        [0, -i64::from(libc::EOPNOTSUPP)].contains(&result),
        "{result}"
    );
    assert_eq!(words(&guest), [7, 0, 0, 7]);
}

#[test]
fn entropy_fills_exactly_what_was_asked_for() {
    let mut guest = Guest::new(Buffered::default());
    assert_eq!(guest.ring(number::ENTROPY, &[DATA, 16]).1, 16);
    let [a, b, rest] = guest.memory.read_words(DATA).unwrap();
    assert!(a != 0 && b != 0);
    assert_eq!(rest, 0);
}

#[test]
fn a_panic_is_reported_even_with_an_unreadable_message() {
    let mut guest = Guest::new(Buffered::default());
    guest.write_words(DATA, &[11, 22]);
    let (outcome, _) = guest.ring(number::PANIC, &[5, 9, DATA, 2]);
    let Outcome::Panic { message, frames } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(message.contains("unreadable"));
    assert_eq!(frames, [11, 22]);
}

#[test]
fn a_doorbell_without_a_request_is_an_error() {
    let guest = Guest::new(Buffered::default());
    let clock = GuestClock::starting_at(Tsc { khz: 1, offset: 0 }, 0);
    for gpa in [0, 0x1000, KERNEL_GPA + 4, MIN_RAM - 8, u64::MAX - 7] {
        let mut backend = Buffered::default();
        let mut interest = Interest::default();
        assert!(handle(&guest.memory, gpa, &clock, &mut interest, &mut backend).is_err());
    }
}

proptest! {
    #[test]
    fn garbage_requests_are_survived(
        words in proptest::array::uniform8(any::<u64>()),
        number in 0..=u64::from(number::POPULATE) + 1,
        gpa in (KERNEL_GPA / 8..MIN_RAM / 8 + 16).prop_map(|word| word * 8),
        near in any::<bool>(),
    ) {
        let mut guest = Guest::new(Buffered::new([vec![1; 100]]).with_first_request());
        let mut words = words;
        words[0] = number;
        if near {
            for word in &mut words[1..] {
                *word = KERNEL_GPA + *word % (MIN_RAM - KERNEL_GPA + 64);
            }
            words[2] %= 200;
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let placed = guest.memory.write_bytes(gpa, &bytes).is_ok();
        let clock = GuestClock::starting_at(Tsc { khz: 1, offset: 0 }, 0);
        let outcome =
            handle(&guest.memory, gpa, &clock, &mut guest.interest, &mut guest.backend);
        prop_assert_eq!(outcome.is_ok(), placed);
    }
}

/// A range of a list, from whole large pages of RAM to garbage.
fn range() -> impl Strategy<Value = [u64; 2]> {
    let whole = (
        0..MIN_RAM / HUGE_PAGE_SIZE + 2,
        0..MIN_RAM / HUGE_PAGE_SIZE + 2,
    )
        .prop_map(|(gpa, len)| [gpa * HUGE_PAGE_SIZE, len * HUGE_PAGE_SIZE]);
    let last = (0..4u64, 0..4u64).prop_map(|(gpa, len)| {
        let below = |count: u64| (u64::MAX - (HUGE_PAGE_SIZE - 1)) - count * HUGE_PAGE_SIZE;
        [below(gpa), below(len)]
    });
    prop_oneof![6 => whole, 1 => last, 1 => any::<[u64; 2]>()]
}

proptest! {
    /// Unlike above, often with lists that hold something.
    #[test]
    fn any_ranges_are_given_back_made_ready_or_refused(
        ranges in proptest::collection::vec(range(), 0..6),
        populate in any::<bool>(),
        count in prop_oneof![8 => 0..8u64, 1 => any::<u64>()],
        list in prop_oneof![8 => Just(LIST), 1 => any::<u64>()],
    ) {
        let mut guest = Guest::new(Buffered::default());
        let words: Vec<u64> = ranges.concat();
        guest.write_words(LIST, &words);
        let number = if populate { number::POPULATE } else { number::GIVE_BACK };
        // `ring` fails the test should the doorbell say that the guest is to end.
        let (outcome, result) = guest.ring(number, &[list, count]);
        prop_assert_eq!(outcome, Outcome::Resume);
        let errors = [libc::E2BIG, libc::EFAULT, libc::EINVAL, libc::EOPNOTSUPP];
        let refused = errors.iter().any(|error| result == -i64::from(*error));
        prop_assert!(result == 0 || refused, "{}", result);
        if list == LIST {
            // Behind the ranges there are zeros: no range at all.
            let named = ranges.iter().take(count.min(8) as usize);
            let sound = count <= ranges.len() as u64
                && named.into_iter().all(|[gpa, len]| {
                    *gpa >= KERNEL_GPA
                        && *len > 0
                        && gpa.checked_add(*len).is_some_and(|end| end <= MIN_RAM)
                        && (gpa | len).is_multiple_of(HUGE_PAGE_SIZE)
                });
            let taken = result == 0 || result == -i64::from(libc::EOPNOTSUPP);
            prop_assert_eq!(taken, sound, "{}", result);
        }
    }
}

/// Has the host refuse to replace mappings, for this thread alone.
fn refuse_fixed_mappings() {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    let fixed = libc::MAP_FIXED as u64;
    let compare = SeccompCmpOp::MaskedEq(fixed);
    let condition = SeccompCondition::new(3, SeccompCmpArgLen::Dword, compare, fixed).unwrap();
    let rule = SeccompRule::new(vec![condition]).unwrap();
    let filter = SeccompFilter::new(
        [(libc::SYS_mmap, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOMEM as u32),
        TargetArch::x86_64,
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn memory_that_cannot_be_replaced_ends_the_guest() {
    let end = std::thread::spawn(|| {
        let mut guest = Guest::new(Buffered::default());
        guest.write_words(LIST, &[4 * HUGE_PAGE_SIZE, HUGE_PAGE_SIZE]);
        guest.write_words(REQUEST, &[u64::from(number::GIVE_BACK), LIST, 1]);
        refuse_fixed_mappings();
        let clock = GuestClock::starting_at(Tsc { khz: 1, offset: 0 }, 0);
        handle(
            &guest.memory,
            REQUEST,
            &clock,
            &mut guest.interest,
            &mut guest.backend,
        )
    });
    match end.join().unwrap() {
        Err(error @ DoorbellError::Remap(_)) => {
            assert!(error.to_string().contains("max_map_count"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_concerns_the_vcpus_is_left_to_their_threads() {
    let mut guest = Guest::new(Buffered::default());
    let (kick, _) = guest.ring(number::KICK, &[5]);
    assert_eq!(kick, Outcome::Kick { mask: 5, flags: 0 });
    let (start, _) = guest.ring(number::START_CPU, &[1, 2, 3]);
    let (cpu, entry, root) = (1, 2, 3);
    assert_eq!(start, Outcome::Start { cpu, entry, root });
}
