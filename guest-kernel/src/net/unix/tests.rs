use super::*;
use crate::fs::file::{File, OpenFile, OpenFlags};
use crate::fs::testing::NullFile;
use crate::net::options::{self, level};
use crate::net::socket::{Ancillary, SocketFile};
use proptest::prelude::*;
use std::collections::VecDeque as Model;

const NONE: MessageFlags = MessageFlags::empty();

fn socket(kind: SocketType) -> Arc<UnixSocket> {
    UnixSocket::new(
        kind,
        Credentials {
            pid: 7,
            uid: 0,
            gid: 0,
        },
    )
}

fn pair(kind: SocketType) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
    UnixSocket::pair(
        kind,
        Credentials {
            pid: 7,
            uid: 0,
            gid: 0,
        },
    )
}

fn name(text: &str) -> Address {
    Address::Unix(UnixAddress::Abstract(text.as_bytes().to_vec()))
}

fn send(socket: &UnixSocket, bytes: &[u8]) -> Result<usize> {
    socket.send(&mut Source::kernel(bytes), &mut Outgoing::default(), NONE)
}

fn send_to(socket: &UnixSocket, bytes: &[u8], to: Address) -> Result<usize> {
    let mut message = Outgoing {
        to: Some(to),
        ..Outgoing::default()
    };
    socket.send(&mut Source::kernel(bytes), &mut message, NONE)
}

fn receive_full(
    socket: &UnixSocket,
    len: usize,
    flags: MessageFlags,
) -> Result<(Vec<u8>, Received)> {
    let mut bytes = vec![0; len];
    let received = socket.receive(&mut Destination::kernel(&mut bytes), flags)?;
    bytes.truncate(received.bytes);
    Ok((bytes, received))
}

fn receive(socket: &UnixSocket, len: usize) -> Result<Vec<u8>> {
    receive_full(socket, len, NONE).map(|(bytes, _)| bytes)
}

fn errno<T>(result: Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error,
    }
}

fn listener(text: &str, kind: SocketType, backlog: usize) -> Arc<UnixSocket> {
    let server = socket(kind);
    server.bind(name(text)).unwrap();
    server.listen(backlog).unwrap();
    server
}

#[test]
fn a_pair_talks_both_ways() {
    let (a, b) = pair(SocketType::Stream);
    send(&a, b"ping").unwrap();
    send(&b, b"pong").unwrap();
    assert_eq!(receive(&b, 2).unwrap(), b"pi");
    assert_eq!(receive(&b, 9).unwrap(), b"ng");
    assert_eq!(receive(&a, 9).unwrap(), b"pong");
    assert_eq!(errno(receive(&a, 9)), Errno::EAGAIN);
    assert_eq!(a.peer_credentials().unwrap().pid, 7);
}

#[test]
fn closing_is_end_of_file_or_reset() {
    let (a, b) = pair(SocketType::Stream);
    send(&a, b"bye").unwrap();
    drop(a);
    assert!(
        b.poll()
            .contains(PollEvents::HUP | PollEvents::RDHUP | PollEvents::IN)
    );
    assert_eq!(receive(&b, 9).unwrap(), b"bye");
    assert_eq!(receive(&b, 9).unwrap(), b"");
    assert_eq!(errno(send(&b, b"x")), Errno::EPIPE);

    let (a, b) = pair(SocketType::Stream);
    send(&b, b"unread").unwrap();
    drop(a);
    assert!(b.poll().contains(PollEvents::ERR));
    assert_eq!(errno(receive(&b, 9)), Errno::ECONNRESET);
    assert_eq!(receive(&b, 9).unwrap(), b"");
}

#[test]
fn one_direction_can_be_shut() {
    let (a, b) = pair(SocketType::Stream);
    a.shutdown(Shutdown {
        read: false,
        write: true,
    })
    .unwrap();
    assert_eq!(errno(send(&a, b"x")), Errno::EPIPE);
    assert_eq!(receive(&b, 9).unwrap(), b"");
    assert!(b.poll().contains(PollEvents::RDHUP));
    assert!(!b.poll().contains(PollEvents::HUP));
    send(&b, b"still").unwrap();
    assert_eq!(receive(&a, 9).unwrap(), b"still");
}

#[test]
fn a_full_stream_is_writable_again_once_it_is_mostly_read() {
    let (a, b) = pair(SocketType::Stream);
    let big = vec![1; 1 << 20];
    let sent = send(&a, &big).unwrap();
    assert!(sent < big.len());
    assert_eq!(errno(send(&a, b"x")), Errno::EAGAIN);
    assert!(!a.poll().contains(PollEvents::OUT));
    receive(&b, sent / 2).unwrap();
    assert!(!a.poll().contains(PollEvents::OUT));
    receive(&b, sent / 2).unwrap();
    assert!(a.poll().contains(PollEvents::OUT));
}

#[test]
fn connections_go_through_the_backlog() {
    let server = listener("backlog", SocketType::Stream, 0);
    assert!(!server.poll().contains(PollEvents::IN));
    let first = socket(SocketType::Stream);
    first.connect(name("backlog")).unwrap();
    assert_eq!(errno(first.connect(name("backlog"))), Errno::EISCONN);
    assert!(server.poll().contains(PollEvents::IN));
    // What is sent before the accept waits for it.
    send(&first, b"early").unwrap();
    let second = socket(SocketType::Stream);
    assert_eq!(errno(second.connect(name("backlog"))), Errno::EAGAIN);
    let accepted = server.accept_one().unwrap();
    second.connect(name("backlog")).unwrap();
    assert_eq!(receive(&accepted, 9).unwrap(), b"early");
    assert_eq!(errno(accepted.accept_one()), Errno::EINVAL);
    // A connection nobody accepted is reset.
    drop(server);
    assert_eq!(errno(receive(&second, 1)), Errno::ECONNRESET);
    assert_eq!(
        errno(socket(SocketType::Stream).connect(name("backlog"))),
        Errno::ECONNREFUSED
    );
}

#[test]
fn names_are_taken_once_and_given_back() {
    let first = socket(SocketType::Stream);
    first.bind(name("once")).unwrap();
    assert_eq!(errno(first.bind(name("twice"))), Errno::EINVAL);
    assert_eq!(
        errno(socket(SocketType::Stream).bind(name("once"))),
        Errno::EADDRINUSE
    );
    assert_eq!(
        errno(socket(SocketType::Stream).connect(name("once"))),
        Errno::ECONNREFUSED
    );
    let datagram = socket(SocketType::Datagram);
    assert_eq!(errno(datagram.connect(name("once"))), Errno::EPROTOTYPE);
    assert_eq!(errno(datagram.listen(1)), Errno::EOPNOTSUPP);
    drop(first);
    socket(SocketType::Stream).bind(name("once")).unwrap();
    let auto = socket(SocketType::Stream);
    assert_eq!(errno(auto.listen(1)), Errno::EINVAL);
    auto.bind(Address::Unix(UnixAddress::Unnamed)).unwrap();
    let Address::Unix(UnixAddress::Abstract(bytes)) = auto.local_address() else {
        panic!()
    };
    assert_eq!(bytes.len(), 5);
}

#[test]
fn datagrams_keep_their_ends_and_senders() {
    let receiver = socket(SocketType::Datagram);
    receiver.bind(name("dgram")).unwrap();
    let sender = socket(SocketType::Datagram);
    assert_eq!(errno(send(&sender, b"x")), Errno::ENOTCONN);
    send_to(&sender, b"anonymous", name("dgram")).unwrap();
    sender.bind(name("dgram-sender")).unwrap();
    send_to(&sender, b"", name("dgram")).unwrap();
    let (bytes, received) = receive_full(&receiver, 4, NONE).unwrap();
    assert_eq!((bytes.as_slice(), received.length), (&b"anon"[..], 9));
    assert!(received.from.is_none());
    let (bytes, received) = receive_full(&receiver, 4, NONE).unwrap();
    assert!(bytes.is_empty() && received.from.is_some());
    assert_eq!(errno(receive(&receiver, 4)), Errno::EAGAIN);
}

#[test]
fn buffers_hold_as_much_as_on_linux() {
    // Both numbers are what Linux 6.18 stores before EAGAIN.
    let (a, _b) = pair(SocketType::Stream);
    let sent = core::iter::from_fn(|| send(&a, &[1; 4096]).ok()).sum::<usize>();
    assert_eq!(sent, 180_224);
    let (a, _b) = pair(SocketType::Datagram);
    let sent = core::iter::from_fn(|| send(&a, &[]).ok()).count();
    assert_eq!(sent, 278);
    assert!(!a.poll().contains(PollEvents::OUT));
}

#[test]
fn a_crowded_datagram_socket_makes_senders_wait() {
    let receiver = socket(SocketType::Datagram);
    receiver.bind(name("crowded")).unwrap();
    let sender = socket(SocketType::Datagram);
    sender.connect(name("crowded")).unwrap();
    for _ in 0..=MAX_MESSAGES {
        send(&sender, b"x").unwrap();
    }
    assert_eq!(errno(send(&sender, b"x")), Errno::EAGAIN);
    assert!(!sender.poll().contains(PollEvents::OUT));
    receive(&receiver, 1).unwrap();
    assert!(sender.poll().contains(PollEvents::OUT));
    // A socket that is connected elsewhere takes nothing from others.
    receiver.connect(name("crowded")).unwrap();
    assert_eq!(errno(send(&sender, b"x")), Errno::EPERM);
    drop(receiver);
    assert_eq!(errno(send(&sender, b"x")), Errno::ECONNREFUSED);
    assert_eq!(errno(send(&sender, b"x")), Errno::ENOTCONN);
}

#[test]
fn sequenced_packets_are_messages_on_a_connection() {
    let server = listener("packets", SocketType::SeqPacket, 4);
    let client = socket(SocketType::SeqPacket);
    assert_eq!(errno(send(&client, b"x")), Errno::ENOTCONN);
    client.connect(name("packets")).unwrap();
    let accepted = server.accept_one().unwrap();
    send(&client, b"one").unwrap();
    send(&client, b"two").unwrap();
    assert_eq!(receive(&accepted, 99).unwrap(), b"one");
    let (bytes, _) = receive_full(&accepted, 99, MessageFlags::PEEK).unwrap();
    assert_eq!(bytes, b"two");
    assert_eq!(receive(&accepted, 99).unwrap(), b"two");
    drop(client);
    assert_eq!(receive(&accepted, 99).unwrap(), b"");
    assert_eq!(errno(send(&accepted, b"x")), Errno::EPIPE);
}

fn open_file() -> Arc<OpenFile> {
    let file: Arc<dyn File> = Arc::new(NullFile);
    OpenFile::new(file, OpenFlags::RDWR, Vec::new())
}

#[test]
fn descriptors_travel_with_their_bytes() {
    let (a, b) = pair(SocketType::Stream);
    let file = open_file();
    let send_with = |bytes: &[u8]| {
        let ancillary = Ancillary {
            rights: vec![file.clone()],
            credentials: None,
        };
        a.send(
            &mut Source::kernel(bytes),
            &mut Outgoing {
                to: None,
                ancillary,
            },
            NONE,
        )
        .unwrap();
    };
    let step = |len, flags| {
        let (bytes, received) = receive_full(&b, len, flags).unwrap();
        (
            bytes,
            received
                .ancillary
                .rights
                .iter()
                .filter(|got| Arc::ptr_eq(got, &file))
                .count(),
        )
    };
    send(&a, b"before").unwrap();
    send_with(b"with");
    send(&a, b"after").unwrap();
    assert_eq!(Arc::strong_count(&file), 2);
    // Reads do not run across bytes that bring descriptors, in either direction.
    assert_eq!(step(99, NONE), (b"before".to_vec(), 0));
    assert_eq!(step(99, MessageFlags::PEEK), (b"with".to_vec(), 1));
    assert_eq!(step(2, NONE), (b"wi".to_vec(), 1));
    assert_eq!(step(99, NONE), (b"thafter".to_vec(), 0));
    assert_eq!(Arc::strong_count(&file), 1);
    // Those never received are closed with the socket.
    send_with(b"x");
    drop(b);
    // A test beside this one that lists all sockets may hold it for a moment.
    for _ in 0..1000 {
        if Arc::strong_count(&file) == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_long_chain_of_sockets_in_flight_ends_without_depth() {
    let mut last = open_file();
    for _ in 0..50_000 {
        let (a, b) = pair(SocketType::Stream);
        let ancillary = Ancillary {
            rights: vec![last],
            credentials: None,
        };
        a.send(
            &mut Source::kernel(b"x"),
            &mut Outgoing {
                to: None,
                ancillary,
            },
            NONE,
        )
        .unwrap();
        last = OpenFile::new(SocketFile::new(b), OpenFlags::RDWR, Vec::new());
    }
    drop(last);
}

#[test]
fn credentials_come_to_those_who_asked() {
    let (a, b) = pair(SocketType::Datagram);
    send(&a, b"x").unwrap();
    let (_, received) = receive_full(&b, 9, NONE).unwrap();
    assert!(received.ancillary.credentials.is_none());
    options::set(&*b, level::SOCKET, 16, &1i32.to_ne_bytes()).unwrap();
    send(&a, b"x").unwrap();
    let (_, received) = receive_full(&b, 9, NONE).unwrap();
    assert_eq!(received.ancillary.credentials.unwrap().pid, 7);
}

#[test]
fn an_unconnected_stream_is_hung_up() {
    let lone = socket(SocketType::Stream);
    assert!(lone.poll().contains(PollEvents::HUP | PollEvents::OUT));
    assert_eq!(errno(receive(&lone, 1)), Errno::EINVAL);
    assert_eq!(errno(send(&lone, b"x")), Errno::ENOTCONN);
    assert_eq!(errno(send_to(&lone, b"x", name("any"))), Errno::EOPNOTSUPP);
    assert_eq!(errno(lone.peer_address()), Errno::ENOTCONN);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes, a stream is a queue of bytes.
    #[test]
    fn a_stream_socket_is_a_byte_queue(
        steps in proptest::collection::vec((any::<bool>(), 0usize..100_000), 1..30)
    ) {
        let (a, b) = pair(SocketType::Stream);
        let mut model: Model<u8> = Model::new();
        let mut next = 0u8;
        for (sends, len) in steps {
            if sends {
                let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                match send(&a, &bytes) {
                    Ok(n) => {
                        model.extend(&bytes[..n]);
                        next = next.wrapping_add(n as u8);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Errno::EAGAIN);
                        prop_assert!(b.state.lock().incoming.cost() >= a.send_buffer());
                    }
                }
            } else if len > 0 {
                match receive(&b, len) {
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
            prop_assert_eq!(b.poll().contains(PollEvents::IN), !model.is_empty());
        }
    }
}
