use super::tcp::TcpSocket;
use super::udp::UdpSocket;
use super::*;
use crate::io::{Destination, Source};
use crate::net::address::Address;
use crate::net::options::{self, level};
use crate::net::socket::{Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket};
use crate::wait::PollEvents;
use alloc::sync::Arc;

const NONE: MessageFlags = MessageFlags::empty();
const REUSEADDR: i32 = 2;
const REUSEPORT: i32 = 15;
const V6ONLY: i32 = 26;

fn tcp() -> Arc<TcpSocket> {
    TcpSocket::new(family::INET, Credentials::default())
}

fn tcp6() -> Arc<TcpSocket> {
    TcpSocket::new(family::INET6, Credentials::default())
}

fn udp() -> Arc<UdpSocket> {
    UdpSocket::new(family::INET, Credentials::default())
}

fn at(text: &str) -> Address {
    let addr: SocketAddr = text.parse().unwrap();
    Address::Inet(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

fn local(socket: &dyn Socket) -> SocketAddr {
    match socket.local_address() {
        Address::Inet(addr) => addr,
        _ => panic!("not inet"),
    }
}

fn set(socket: &dyn Socket, level: i32, name: i32) {
    options::set(socket, level, name, &1i32.to_ne_bytes()).unwrap();
}

fn send(socket: &dyn Socket, bytes: &[u8]) -> Result<usize> {
    socket.send(&mut Source::kernel(bytes), &mut Outgoing::default(), NONE)
}

fn send_to(socket: &dyn Socket, bytes: &[u8], to: Address) -> Result<usize> {
    let mut message = Outgoing {
        to: Some(to),
        ..Outgoing::default()
    };
    socket.send(&mut Source::kernel(bytes), &mut message, NONE)
}

fn receive_full(socket: &dyn Socket, len: usize) -> Result<(Vec<u8>, Received)> {
    let mut bytes = vec![0; len];
    let received = socket.receive(&mut Destination::kernel(&mut bytes), NONE)?;
    bytes.truncate(received.bytes);
    Ok((bytes, received))
}

fn receive(socket: &dyn Socket, len: usize) -> Result<Vec<u8>> {
    receive_full(socket, len).map(|(bytes, _)| bytes)
}

fn errno<T>(result: Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("succeeded"),
        Err(error) => error,
    }
}

/// A listener on some port, and its address.
fn listener(backlog: usize) -> (Arc<TcpSocket>, Address) {
    let server = tcp();
    server.bind(at("127.0.0.1:0")).unwrap();
    server.listen(backlog).unwrap();
    let address = server.local_address();
    (server, address)
}

fn connected() -> (Arc<TcpSocket>, Arc<dyn Socket>) {
    let (server, address) = listener(8);
    let client = tcp();
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    client.connect(address).unwrap();
    (client, server.accept().unwrap())
}

#[test]
fn a_connect_is_in_progress_then_done_then_known() {
    let (server, address) = listener(8);
    let client = tcp();
    assert!(client.poll().contains(PollEvents::HUP | PollEvents::OUT));
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    assert_eq!(client.poll(), WRITABLE);
    assert_eq!(client.take_error(), None);
    client.connect(address.clone()).unwrap();
    assert_eq!(errno(client.connect(address)), Errno::EISCONN);
    assert!(server.poll().contains(PollEvents::IN));
    let accepted = server.accept().unwrap();
    assert_eq!(local(&*accepted), local(&*server));
    let Ok(Address::Inet(peer)) = accepted.peer_address() else {
        panic!()
    };
    assert_eq!(peer, local(&*client));
    assert!(peer.port() >= 32_768);
    assert_eq!(errno(server.accept()), Errno::EAGAIN);
}

#[test]
fn nobody_listening_refuses() {
    let port = {
        let (server, _) = listener(1);
        local(&*server).port()
    };
    let client = tcp();
    let address = at(&format!("127.0.0.1:{port}"));
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    let events = client.poll();
    assert!(events.contains(PollEvents::ERR | PollEvents::HUP | PollEvents::OUT | PollEvents::IN));
    assert_eq!(client.take_error(), Some(Errno::ECONNREFUSED));
    assert_eq!(receive(&*client, 1).unwrap(), b"");
    assert_eq!(errno(send(&*client, b"x")), Errno::EPIPE);
    // The next connect is told of the failure, if nobody was; then it can be tried again.
    assert_eq!(errno(client.connect(address.clone())), Errno::ECONNABORTED);
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    assert_eq!(errno(client.connect(address)), Errno::ECONNREFUSED);
    assert_eq!(errno(client.connect(at("10.0.0.1:80"))), Errno::ENETUNREACH);
    assert_eq!(errno(tcp().connect(at("[::1]:80"))), Errno::EAFNOSUPPORT);
}

#[test]
fn bytes_go_both_ways_and_half_close_is_end_of_file() {
    let (client, server) = connected();
    send(&*client, b"request").unwrap();
    assert_eq!(receive(&*server, 3).unwrap(), b"req");
    client
        .shutdown(Shutdown {
            read: false,
            write: true,
        })
        .unwrap();
    assert_eq!(receive(&*server, 99).unwrap(), b"uest");
    assert_eq!(receive(&*server, 99).unwrap(), b"");
    assert!(server.poll().contains(PollEvents::RDHUP | PollEvents::OUT));
    assert!(!server.poll().contains(PollEvents::HUP));
    send(&*server, b"answer").unwrap();
    assert_eq!(receive(&*client, 99).unwrap(), b"answer");
    assert_eq!(errno(send(&*client, b"x")), Errno::EPIPE);
    drop(server);
    assert_eq!(receive(&*client, 99).unwrap(), b"");
    assert!(client.poll().contains(PollEvents::HUP));
    assert_eq!(errno(client.peer_address()), Errno::ENOTCONN);
}

#[test]
fn closing_with_unread_bytes_resets() {
    let (client, server) = connected();
    send(&*server, b"kept").unwrap();
    send(&*client, b"unread").unwrap();
    drop(server);
    assert!(client.poll().contains(PollEvents::ERR | PollEvents::HUP));
    assert_eq!(receive(&*client, 99).unwrap(), b"kept");
    assert_eq!(errno(receive(&*client, 99)), Errno::ECONNRESET);
    assert_eq!(receive(&*client, 99).unwrap(), b"");
    assert_eq!(errno(send(&*client, b"x")), Errno::EPIPE);
}

#[test]
fn writing_to_a_closed_peer_works_once() {
    let (client, server) = connected();
    drop(server);
    assert_eq!(receive(&*client, 9).unwrap(), b"");
    assert_eq!(send(&*client, b"x"), Ok(1));
    assert_eq!(errno(send(&*client, b"x")), Errno::EPIPE);
}

#[test]
fn lingering_zero_resets() {
    let (client, server) = connected();
    let linger = [1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat();
    options::set(&*server, level::SOCKET, 13, &linger).unwrap();
    drop(server);
    assert_eq!(errno(receive(&*client, 9)), Errno::ECONNRESET);
}

#[test]
fn connecting_to_nothing_resets_and_frees_the_socket() {
    let (client, server) = connected();
    client.connect(Address::Unspecified).unwrap();
    assert_eq!(errno(receive(&*server, 9)), Errno::ECONNRESET);
    assert_eq!(errno(client.peer_address()), Errno::ENOTCONN);
    let (_listener, address) = listener(1);
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    client.connect(address).unwrap();
}

#[test]
fn a_full_connection_makes_the_sender_wait() {
    let (client, server) = connected();
    let big = vec![7; 4 << 20];
    let sent = send(&*client, &big).unwrap();
    assert_eq!(errno(send(&*client, b"x")), Errno::EAGAIN);
    assert!(!client.poll().contains(PollEvents::OUT));
    let got = receive(&*server, sent / 2).unwrap();
    assert_eq!(got.len(), sent / 2);
    assert!(client.poll().contains(PollEvents::OUT));
}

#[test]
fn a_full_backlog_holds_connections_back() {
    let (server, address) = listener(0);
    let clients: Vec<_> = (0..3).map(|_| tcp()).collect();
    for client in &clients {
        assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    }
    assert_eq!(clients[0].poll(), WRITABLE);
    assert_eq!(clients[1].poll(), PollEvents::empty());
    assert_eq!(errno(clients[1].connect(address.clone())), Errno::EALREADY);
    let first = server.accept().unwrap();
    assert_eq!(clients[1].poll(), WRITABLE);
    assert_eq!(clients[2].poll(), PollEvents::empty());
    // Closing the listener resets what was not accepted, and refuses what waits.
    drop(server);
    assert_eq!(clients[1].take_error(), Some(Errno::ECONNRESET));
    assert_eq!(clients[2].take_error(), Some(Errno::ECONNREFUSED));
    send(&*first, b"alive").unwrap();
    assert_eq!(receive(&*clients[0], 9).unwrap(), b"alive");
}

#[test]
fn ports_are_taken_once_unless_shared() {
    let (server, _) = listener(1);
    let port = local(&*server).port();
    for text in ["127.0.0.1", "0.0.0.0"] {
        assert_eq!(
            errno(tcp().bind(at(&format!("{text}:{port}")))),
            Errno::EADDRINUSE
        );
    }
    tcp().bind(at(&format!("127.0.0.2:{port}"))).unwrap();
    assert_eq!(errno(tcp().bind(at("8.8.8.8:1"))), Errno::EADDRNOTAVAIL);
    // SO_REUSEADDR does not help against a listener, but does against what it accepted.
    let reuse = tcp();
    set(&*reuse, level::SOCKET, REUSEADDR);
    assert_eq!(
        errno(reuse.bind(at(&format!("127.0.0.1:{port}")))),
        Errno::EADDRINUSE
    );

    let server = tcp();
    set(&*server, level::SOCKET, REUSEADDR);
    server.bind(at("127.0.0.1:0")).unwrap();
    server.listen(1).unwrap();
    let address = server.local_address();
    let client = tcp();
    assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    let _accepted = server.accept().unwrap();
    drop(server);
    assert_eq!(errno(tcp().bind(address.clone())), Errno::EADDRINUSE);
    reuse.bind(address.clone()).unwrap();
    reuse.listen(1).unwrap();
}

#[test]
fn listeners_that_share_a_port_take_turns() {
    let servers: Vec<_> = (0..2).map(|_| tcp()).collect();
    set(&*servers[0], level::SOCKET, REUSEPORT);
    set(&*servers[1], level::SOCKET, REUSEPORT);
    servers[0].bind(at("127.0.0.1:0")).unwrap();
    let address = servers[0].local_address();
    servers[1].bind(address.clone()).unwrap();
    for server in &servers {
        server.listen(8).unwrap();
    }
    let clients: Vec<_> = (0..4).map(|_| tcp()).collect();
    for client in &clients {
        assert_eq!(errno(client.connect(address.clone())), Errno::EINPROGRESS);
    }
    assert!(servers.iter().all(|server| server.accept().is_ok()));
}

#[test]
fn an_ipv6_listener_takes_ipv4_unless_told_not_to() {
    let server = tcp6();
    server.bind(at("[::]:0")).unwrap();
    server.listen(4).unwrap();
    let port = local(&*server).port();
    assert_eq!(
        errno(tcp().bind(at(&format!("0.0.0.0:{port}")))),
        Errno::EADDRINUSE
    );
    for (client, text) in [
        (tcp(), "127.0.0.1"),
        (tcp6(), "[::1]"),
        (tcp6(), "[::ffff:127.0.0.1]"),
    ] {
        assert_eq!(
            errno(client.connect(at(&format!("{text}:{port}")))),
            Errno::EINPROGRESS
        );
        client.connect(at(&format!("{text}:{port}"))).unwrap();
    }
    let accepted = server.accept().unwrap();
    let bytes = accepted.peer_address().unwrap().encode(accepted.domain());
    assert_eq!(
        bytes[8..24],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]
    );

    let server = tcp6();
    set(&*server, level::IPV6, V6ONLY);
    server.bind(at("[::]:0")).unwrap();
    server.listen(4).unwrap();
    let port = local(&*server).port();
    tcp().bind(at(&format!("0.0.0.0:{port}"))).unwrap();
    let client = tcp();
    let address = at(&format!("127.0.0.1:{port}"));
    assert_eq!(errno(client.connect(address)), Errno::EINPROGRESS);
    assert_eq!(client.take_error(), Some(Errno::ECONNREFUSED));
}

#[test]
fn datagrams_come_with_their_sender() {
    let receiver = udp();
    receiver.bind(at("127.0.0.1:0")).unwrap();
    let to = receiver.local_address();
    let sender = udp();
    assert_eq!(errno(send(&*sender, b"x")), Errno::EDESTADDRREQ);
    assert_eq!(send_to(&*sender, b"hello", to.clone()), Ok(5));
    let (bytes, received) = receive_full(&*receiver, 3).unwrap();
    assert_eq!((bytes.as_slice(), received.length), (&b"hel"[..], 5));
    let Some(Address::Inet(from)) = received.from else {
        panic!()
    };
    assert_eq!(from.port(), local(&*sender).port());
    assert_eq!(from.ip(), source_for(from.ip()));
    assert_eq!(errno(receive(&*receiver, 9)), Errno::EAGAIN);
    assert_eq!(errno(send_to(&*sender, &[0; 65_508], to)), Errno::EMSGSIZE);
    assert_eq!(
        errno(send_to(&*sender, b"x", at("255.255.255.255:9"))),
        Errno::EACCES
    );
    assert_eq!(
        errno(send_to(&*sender, b"x", at("1.1.1.1:9"))),
        Errno::ENETUNREACH
    );
}

#[test]
fn a_connected_socket_hears_only_its_peer_and_of_refusals() {
    let (a, b) = (udp(), udp());
    a.bind(at("127.0.0.1:0")).unwrap();
    b.connect(a.local_address()).unwrap();
    a.connect(b.local_address()).unwrap();
    let stranger = udp();
    send_to(&*stranger, b"noise", a.local_address()).unwrap();
    send(&*b, b"signal").unwrap();
    assert_eq!(receive(&*a, 9).unwrap(), b"signal");
    assert_eq!(errno(receive(&*a, 9)), Errno::EAGAIN);
    drop(a);
    assert_eq!(send(&*b, b"x"), Ok(1));
    assert!(b.poll().contains(PollEvents::ERR));
    assert_eq!(errno(receive(&*b, 9)), Errno::ECONNREFUSED);
    b.connect(Address::Unspecified).unwrap();
    assert_eq!(errno(b.peer_address()), Errno::ENOTCONN);
}

#[test]
fn of_two_sockets_on_one_address_the_newer_hears() {
    let (old, new) = (udp(), udp());
    set(&*old, level::SOCKET, REUSEADDR);
    set(&*new, level::SOCKET, REUSEADDR);
    old.bind(at("127.0.0.1:0")).unwrap();
    new.bind(old.local_address()).unwrap();
    let sender = udp();
    send_to(&*sender, b"first", old.local_address()).unwrap();
    assert_eq!(receive(&*new, 9).unwrap(), b"first");
    drop(new);
    send_to(&*sender, b"second", old.local_address()).unwrap();
    assert_eq!(receive(&*old, 9).unwrap(), b"second");
    assert_eq!(errno(udp().bind(old.local_address())), Errno::EADDRINUSE);
}

#[test]
fn options_are_remembered_with_their_rules() {
    let socket = tcp();
    let get = |level, name| {
        let bytes = options::get(&*socket, level, name, &[]).unwrap();
        i32::from_ne_bytes(bytes[..4].try_into().unwrap())
    };
    let set = |level, name, value: i32| options::set(&*socket, level, name, &value.to_ne_bytes());
    assert_eq!(
        (
            get(level::SOCKET, 3),
            get(level::SOCKET, 38),
            get(level::SOCKET, 39)
        ),
        (1, 6, 2)
    );
    set(level::TCP, 1, 5).unwrap();
    assert_eq!(get(level::TCP, 1), 1);
    set(level::SOCKET, 7, 65_536).unwrap();
    assert_eq!(get(level::SOCKET, 7), 131_072);
    assert_eq!(set(level::TCP, 4, 0), Err(Errno::EINVAL));
    set(level::TCP, 4, 60).unwrap();
    assert_eq!(get(level::TCP, 4), 60);
    options::set(&*socket, level::IP, 1, &[0x10]).unwrap();
    assert_eq!(get(level::IP, 1), 0x10);
    assert_eq!(set(level::IPV6, V6ONLY, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(set(level::SOCKET, 3, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(set(level::SOCKET, 9999, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(
        options::set(&*socket, level::TCP, 1, &[1]),
        Err(Errno::EINVAL)
    );
    let timeout = [1u64.to_ne_bytes(), 500_000u64.to_ne_bytes()].concat();
    options::set(&*socket, level::SOCKET, 20, &timeout).unwrap();
    assert_eq!(
        options::get(&*socket, level::SOCKET, 20, &[]).unwrap(),
        timeout
    );
    assert!(socket.options().lock().receive_deadline().is_some());
}

/// `struct ipv6_mreq` for the loopback interface.
fn group6(text: &str) -> Vec<u8> {
    let ip: Ipv6Addr = text.parse().unwrap();
    [&ip.octets()[..], &1u32.to_ne_bytes()].concat()
}

#[test]
fn members_of_an_ipv6_group_each_get_a_copy() {
    const JOIN: i32 = 20;
    const ALL: i32 = 29;
    let new = || UdpSocket::new(family::INET6, Credentials::default());
    let (a, b, sender) = (new(), new(), new());
    for socket in [&a, &b] {
        set(&**socket, level::SOCKET, REUSEADDR);
    }
    a.bind(at("[::]:7798")).unwrap();
    b.bind(at("[::]:7798")).unwrap();
    options::set(&*b, level::IPV6, ALL, &0i32.to_ne_bytes()).unwrap();
    let to = || at("[ff02::7798]:7798");
    send_to(&*sender, b"nobody", to()).unwrap();
    assert_eq!(errno(receive(&*a, 9)), Errno::EAGAIN);
    options::set(&*a, level::IPV6, JOIN, &group6("ff02::7798")).unwrap();
    send_to(&*sender, b"one", to()).unwrap();
    assert_eq!(receive(&*a, 9).unwrap(), b"one");
    assert_eq!(errno(receive(&*b, 9)), Errno::EAGAIN);
    options::set(&*b, level::IPV6, JOIN, &group6("ff02::7798")).unwrap();
    send_to(&*sender, b"both", to()).unwrap();
    for socket in [&a, &b] {
        let (bytes, received) = receive_full(&**socket, 9).unwrap();
        assert_eq!(bytes, b"both");
        let Some(Address::Inet(from)) = received.from else {
            panic!("no sender")
        };
        assert_eq!(from.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}

#[test]
fn a_group_that_nobody_chose_an_interface_for_is_on_the_loopback() {
    let (member, sender) = (udp(), udp());
    member.bind(at("0.0.0.0:7797")).unwrap();
    let join = [[224, 0, 0, 251], [0; 4]].concat();
    options::set(&*member, level::IP, 35, &join).unwrap();
    send_to(&*sender, b"who is there", at("224.0.0.251:7797")).unwrap();
    assert_eq!(receive(&*member, 99).unwrap(), b"who is there");
    options::set(&*member, level::IP, 36, &join).unwrap();
    send_to(&*sender, b"gone", at("224.0.0.251:7797")).unwrap();
    assert_eq!(errno(receive(&*member, 99)), Errno::EAGAIN);
}

#[test]
fn reads_stop_at_urgent_data_and_step_over_it() {
    let (client, server) = connected();
    let urgent = |bytes: &[u8]| {
        let mut src = Source::kernel(bytes);
        client.send(&mut src, &mut Outgoing::default(), MessageFlags::OOB)
    };
    let take = |flags| {
        let mut byte = [0];
        let flags = MessageFlags::OOB | flags;
        let received = server.receive(&mut Destination::kernel(&mut byte), flags);
        received.map(|received| (byte[0], received.urgent))
    };
    assert_eq!(errno(take(NONE)), Errno::EINVAL);
    urgent(b"abX").unwrap();
    send(&*client, b"cd").unwrap();
    assert_eq!(server.queued().0, 2);
    assert_eq!(take(MessageFlags::PEEK).unwrap(), (b'X', true));
    assert_eq!(receive(&*server, 9).unwrap(), b"ab");
    assert_eq!(server.at_mark(), Ok(true));
    assert!(server.poll().contains(PollEvents::PRI | PollEvents::IN));
    assert_eq!(take(NONE).unwrap(), (b'X', true));
    assert_eq!(errno(take(NONE)), Errno::EINVAL);
    assert!(!server.poll().contains(PollEvents::PRI));
    assert_eq!(receive(&*server, 9).unwrap(), b"cd");
    assert_eq!(server.at_mark(), Ok(false));
    // Before its place was read, another makes it one of the stream; afterwards it is lost.
    urgent(b"aX").unwrap();
    urgent(b"bY").unwrap();
    assert_eq!(receive(&*server, 9).unwrap(), b"aXb");
    urgent(b"cZ").unwrap();
    assert_eq!(receive(&*server, 9).unwrap(), b"c");
    assert!(!server.poll().contains(PollEvents::IN));
    assert_eq!(errno(receive(&*server, 9)), Errno::EAGAIN);
    assert_eq!(errno(take(NONE)), Errno::EINVAL);
    // In the stream, it only ends reads before it.
    set(&*server, level::SOCKET, 10);
    urgent(b"aX").unwrap();
    assert_eq!(errno(take(NONE)), Errno::EINVAL);
    assert_eq!(receive(&*server, 9).unwrap(), b"a");
    assert_eq!(receive(&*server, 9).unwrap(), b"X");
}
