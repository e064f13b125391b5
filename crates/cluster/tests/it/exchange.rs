//! What tasks rely on: order, credit, and what happens at the end of a channel, a connection, a generation.

use streamkeeper_dataflow::network::FrameKind::{Control, Data};

use crate::support::{RUNTIME, channel, eventually, exchange, pair, receiver, sender, settings};

const CAPACITY: usize = 64 << 10;

#[test]
fn frames_arrive_in_order_in_both_directions_over_one_connection() {
    let (a, b) = (exchange(), exchange());
    let mut there: Vec<_> = (0..3).map(|n| pair(&a, &b, channel(1, n), CAPACITY)).collect();
    there.extend((3..6).map(|n| pair(&b, &a, channel(1, n), CAPACITY)));
    // Empty ones, such as fit what is read at once, larger than the whole capacity.
    let sizes = [0, 1, 15, 700, 5_000, 16_384, 40_000, 300_000];
    let frame = |n: usize| -> Vec<u8> { (0..sizes[n * 7 % 8]).map(|i| (i * 31 + n) as u8).collect() };
    std::thread::scope(|scope| {
        for (sender, receiver) in &mut there {
            scope.spawn(move || {
                (0..300).for_each(|n| sender.send(if n % 3 == 0 { Control } else { Data }, &frame(n)));
            });
            scope.spawn(move || {
                (0..300).for_each(|n| receiver.expect(if n % 3 == 0 { Control } else { Data }, &frame(n)));
            });
        }
    });
    assert_eq!((a.stats().connections, b.stats().connections), (1, 1));
    assert!(a.stats().bytes_out >= 3 * 300 * 16 && a.stats().frames_dropped == 0);
}

#[test]
fn a_channel_that_is_not_read_holds_a_bounded_amount_and_does_not_block_its_neighbour() {
    let (a, b) = (exchange(), exchange());
    let (mut blocked, mut unread) = pair(&a, &b, channel(1, 0), CAPACITY);
    let (mut neighbour, mut read) = pair(&a, &b, channel(1, 1), CAPACITY);
    // The first task of b has its barrier and waits for the other channel's.
    blocked.send(Control, b"barrier");
    unread.expect(Control, b"barrier");
    let mut sent = 0;
    while blocked.try_send(Data, &[sent as u8; 1000]).expect("not lost") {
        sent += 1;
    }
    assert!(sent * 1000 <= CAPACITY + 1000, "{sent} frames");
    for n in 0..1000u32 {
        neighbour.data(&n.to_le_bytes().repeat(1000));
        read.expect(Data, &n.to_le_bytes().repeat(1000));
    }
    neighbour.send(Control, b"barrier");
    read.expect(Control, b"barrier");
    assert!(!blocked.has_room());
    (0..sent).for_each(|n| unread.expect(Data, &[n as u8; 1000]));
    blocked.data(b"there is room again");
    unread.expect(Data, b"there is room again");
}

#[test]
fn a_control_passes_a_channel_whose_credit_is_used_up() {
    let (a, b) = (exchange(), exchange());
    let (mut sender, mut receiver) = pair(&a, &b, channel(1, 0), CAPACITY);
    let size = CAPACITY;
    sender.data(&vec![1; size]);
    assert!(!sender.has_room());
    sender.push(Control, b"watermark");
    eventually("both arrive while nothing is consumed", || b.stats().bytes_in as usize >= 16 + size + 16 + 9);
    receiver.expect(Data, &vec![1; size]);
    receiver.expect(Control, b"watermark");
}

#[test]
fn a_batch_larger_than_the_whole_credit_passes() {
    let (a, b) = (exchange(), exchange());
    let (mut sender, mut receiver) = pair(&a, &b, channel(1, 0), CAPACITY);
    let large: Vec<u8> = (0..9_000_000u32).map(|n| (n >> 8) as u8).collect();
    for _ in 0..3 {
        sender.data(&large);
        sender.push(Control, b"watermark");
        assert!(!sender.has_room());
        receiver.expect(Data, &large);
        receiver.expect(Control, b"watermark");
    }
}

#[test]
fn before_its_receiver_is_there_a_sender_keeps_what_fits_its_capacity() {
    let (a, b) = (exchange(), exchange());
    let mut early = sender(&a, b.address(), channel(1, 0), CAPACITY);
    let (mut other, mut other_receiver) = pair(&a, &b, channel(1, 1), CAPACITY);
    let mut sent = 0;
    while early.try_send(Data, &[sent as u8; 5000]).expect("not lost") {
        sent += 1;
    }
    assert!(sent * 5000 <= CAPACITY + 5000);
    other.data(b"the connection is there");
    other_receiver.expect(Data, b"the connection is there");
    assert!(b.stats().bytes_in < 5000, "nothing was sent for which nobody is there");
    let mut late = receiver(&b, a.address(), channel(1, 0), CAPACITY);
    (0..sent).for_each(|n| late.expect(Data, &[n as u8; 5000]));
    // And the other way round.
    let mut early = receiver(&a, b.address(), channel(1, 2), CAPACITY);
    let mut late = sender(&b, a.address(), channel(1, 2), CAPACITY);
    late.data(b"here I am");
    early.expect(Data, b"here I am");
}

#[test]
fn another_generation_is_another_channel() {
    let (a, b) = (exchange(), exchange());
    let mut zombie = sender(&a, b.address(), channel(1, 0), CAPACITY);
    zombie.data(b"of generation 1");
    let (mut sender, mut receiver) = pair(&a, &b, channel(2, 0), CAPACITY);
    sender.data(b"of generation 2");
    receiver.expect(Data, b"of generation 2");
    zombie.data(b"of generation 1");
    sender.data(b"of generation 2");
    receiver.expect(Data, b"of generation 2");
}

#[test]
fn a_receiver_that_leaves_stops_its_sender_and_nobody_else() {
    let (a, b) = (exchange(), exchange());
    let (mut left, receiver) = pair(&a, &b, channel(1, 0), CAPACITY);
    let (mut other, mut other_receiver) = pair(&a, &b, channel(1, 1), CAPACITY);
    left.data(b"x");
    drop(receiver);
    eventually("the sender is told", || !left.has_room());
    other.data(b"y");
    other_receiver.expect(Data, b"y");
    drop(b);
    other.lost();
    assert!(!left.has_room(), "nobody waits for what it would send, so it does not fail");
}

#[test]
fn what_was_sent_before_the_sender_left_arrives_and_its_process_may_end_then() {
    let (a, b) = (exchange(), exchange());
    let (mut first, mut receiver) = pair(&a, &b, channel(1, 0), CAPACITY);
    let (mut other, mut other_receiver) = pair(&a, &b, channel(1, 1), CAPACITY);
    first.data(&[1; 30_000]);
    receiver.expect(Data, &[1; 30_000]);
    (0..3).for_each(|_| first.data(&[2; 30_000]));
    drop(first);
    (0..3).for_each(|_| receiver.expect(Data, &[2; 30_000]));
    // Frames of one connection are in order: the end of the first channel has arrived with this.
    other.data(b"later");
    other_receiver.expect(Data, b"later");
    drop(a);
    other_receiver.try_receive().expect_err("lost");
    assert!(receiver.now().expect("its sender had left before").is_none());
}

#[test]
fn a_lost_connection_fails_its_channels_and_no_others_and_the_next_generation_makes_a_new_one() {
    let (a, b, c) = (exchange(), exchange(), exchange());
    let (mut to_b, mut at_b) = pair(&a, &b, channel(1, 0), CAPACITY);
    let (_from_b, mut at_a) = pair(&b, &a, channel(1, 1), CAPACITY);
    let (mut to_c, mut at_c) = pair(&a, &c, channel(1, 2), CAPACITY);
    to_b.data(b"x");
    at_b.expect(Data, b"x");
    let address = b.address().to_owned();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    drop(b);
    for error in [at_a.try_receive().expect_err("lost"), to_b.lost()] {
        assert!(error.is_recoverable() && error.to_string().contains(&address), "{error}");
    }
    to_c.data(b"y");
    at_c.expect(Data, b"y");
    eventually("the link is gone", || a.stats().connections == 1);
    let b = RUNTIME
        .block_on(streamkeeper_cluster::network::NetworkEnvironment::start(&settings(port, None)))
        .expect("the same port");
    let (mut to_b, mut at_b) = pair(&a, &b, channel(2, 0), CAPACITY);
    to_b.data(b"z");
    at_b.expect(Data, b"z");
}

#[test]
fn a_process_that_is_not_there_is_an_error_that_names_it() {
    let mut settings = settings(0, None);
    settings.connect_timeout = std::time::Duration::from_millis(1);
    let a = RUNTIME
        .block_on(streamkeeper_cluster::network::NetworkEnvironment::start(&settings))
        .expect("started");
    for peer in ["127.0.0.1:1", "127.0.0.2:9", a.address()] {
        let mut receiver = receiver(&a, peer, channel(1, 0), CAPACITY);
        let error = receiver.try_receive().expect_err("nobody is there");
        assert!(error.is_recoverable() && error.to_string().contains(peer), "{error}");
    }
}
