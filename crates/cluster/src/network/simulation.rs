//! The pure cores of two processes against each other, under all orders of events.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use arrow::buffer::Buffer;
use proptest::prelude::*;
use streamkeeper_dataflow::network::{ChannelId, FrameKind};

use super::credit::{CONTROL_COST, ReceiveWindow};
use super::frame::{Kind, decode_grant, decode_open};
use super::outbox::{OutFrame, Outbox};

const CHANNELS: usize = 3;
const CAPACITY: u64 = 1000;
const LARGEST: usize = 3000;

#[derive(Debug, Clone)]
enum Step {
    Send(usize, usize),
    Watermark(usize),
    /// The receiver of the channel comes.
    Open(usize),
    Consume(usize),
    /// The oldest frame under way arrives.
    Arrive,
    ArriveBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channel = || 0..CHANNELS;
    let step = prop_oneof![
        3 => (channel(), 1..LARGEST).prop_map(|(c, size)| Step::Send(c, size)),
        3 => (channel(), 1..CAPACITY as usize / 4).prop_map(|(c, size)| Step::Send(c, size)),
        2 => channel().prop_map(Step::Watermark),
        1 => channel().prop_map(Step::Open),
        4 => channel().prop_map(Step::Consume),
        5 => Just(Step::Arrive),
        5 => Just(Step::ArriveBack),
    ];
    prop::collection::vec(step, 0..400)
}

struct Receiver {
    window: ReceiveWindow,
    frames: VecDeque<(FrameKind, Buffer)>,
}

/// A producing process, a consuming process, and what is under way between them.
struct World {
    producer: Outbox<usize>,
    consumer: Outbox<usize>,
    keys: Vec<u64>,
    has_room: Vec<bool>,
    receivers: HashMap<u64, Receiver>,
    forth: VecDeque<OutFrame>,
    back: VecDeque<OutFrame>,
    /// What each channel was sent, and what its task has taken.
    sent: Vec<Vec<(FrameKind, Vec<u8>)>>,
    taken: Vec<Vec<(FrameKind, Vec<u8>)>>,
}

fn id(channel: usize) -> ChannelId {
    ChannelId { job: [7; 16], generation: 1, edge: 0, producer: 0, consumer: channel as u32 }
}

impl World {
    fn new() -> Self {
        let mut producer = Outbox::new();
        let keys =
            (0..CHANNELS).map(|c| producer.register(id(c), CAPACITY, c).expect("registered")).collect();
        Self {
            producer,
            consumer: Outbox::new(),
            keys,
            has_room: vec![true; CHANNELS],
            receivers: HashMap::new(),
            forth: VecDeque::new(),
            back: VecDeque::new(),
            sent: vec![Vec::new(); CHANNELS],
            taken: vec![Vec::new(); CHANNELS],
        }
    }

    fn send(&mut self, channel: usize, kind: FrameKind, size: usize) {
        if !self.has_room[channel] {
            return;
        }
        let bytes = vec![self.sent[channel].len() as u8; size];
        let (head, tail) = bytes.split_at(size / 2);
        let parts = [head, tail].map(|part| Buffer::from_vec(part.to_vec())).to_vec();
        self.has_room[channel] = self.producer.push(self.keys[channel], kind, parts);
        self.sent[channel].push((kind, bytes));
    }

    fn open(&mut self, channel: usize) {
        let handle = channel as u64;
        if let Entry::Vacant(place) = self.receivers.entry(handle) {
            place.insert(Receiver { window: ReceiveWindow::new(CAPACITY), frames: VecDeque::new() });
            self.consumer.open(handle, id(channel), CAPACITY);
        }
    }

    fn consume(&mut self, channel: usize) {
        let handle = channel as u64;
        let Some(receiver) = self.receivers.get_mut(&handle) else { return };
        let Some((kind, frame)) = receiver.frames.pop_front() else { return };
        if let Some(bytes) = receiver.window.on_consumed(kind, frame.len()) {
            self.consumer.grant(handle, bytes);
        }
        self.taken[channel].push((kind, frame.to_vec()));
    }

    fn arrive(&mut self) -> bool {
        self.forth.extend(std::iter::from_fn(|| self.producer.next()));
        let Some(OutFrame { header, parts }) = self.forth.pop_front() else { return false };
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        assert_eq!(header.length as usize, bytes.len());
        let kind = match header.kind {
            Kind::Data => FrameKind::Data,
            Kind::Control => FrameKind::Control,
            other => panic!("a producer sends no {other:?} here"),
        };
        let receiver =
            self.receivers.get_mut(&header.handle).expect("nothing is sent before the receiver is there");
        receiver.window.on_arrival(kind, bytes.len()).expect("the sender keeps to its credit");
        receiver.frames.push_back((kind, Buffer::from_vec(bytes)));
        let data = receiver.frames.iter().filter(|(kind, _)| *kind == FrameKind::Data);
        let held: u64 = data.map(|(_, frame)| frame.len() as u64 + CONTROL_COST).sum();
        assert!(held <= CAPACITY / 4 + LARGEST as u64 + CONTROL_COST, "{held} bytes are held");
        true
    }

    fn arrive_back(&mut self) -> bool {
        self.back.extend(std::iter::from_fn(|| self.consumer.next()));
        let Some(OutFrame { header, parts }) = self.back.pop_front() else { return false };
        match header.kind {
            Kind::Open => {
                let (id, window) = decode_open(&parts[0]).expect("an Open");
                self.producer.on_open(header.handle, id, window).expect("opened once");
            }
            Kind::Grant => {
                let bytes = decode_grant(&parts[0]).expect("a Grant");
                if let Some(channel) = self.producer.on_grant(header.handle, bytes).expect("was in flight") {
                    self.has_room[channel] = true;
                }
            }
            other => panic!("a consumer sends no {other:?} here"),
        }
        true
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(channel, size) => self.send(channel, FrameKind::Data, size),
            Step::Watermark(channel) => self.send(channel, FrameKind::Control, 9),
            Step::Open(channel) => self.open(channel),
            Step::Consume(channel) => self.consume(channel),
            Step::Arrive => drop(self.arrive()),
            Step::ArriveBack => drop(self.arrive_back()),
        }
    }

    /// Lets everything arrive, and the tasks of `channels` take all.
    fn settle(&mut self, channels: &[usize]) {
        loop {
            let mut moved = self.arrive() | self.arrive_back();
            for &channel in channels {
                moved |= self.receivers.get(&(channel as u64)).is_some_and(|r| !r.frames.is_empty());
                self.consume(channel);
            }
            if !moved {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_arrives_in_order_within_the_credit_and_nobody_waits_forever(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        let all: Vec<usize> = (0..CHANNELS).collect();
        all.iter().for_each(|channel| world.open(*channel));
        world.settle(&all);
        prop_assert_eq!(&world.taken, &world.sent);
        prop_assert!(world.has_room.iter().all(|has_room| *has_room));
    }

    #[test]
    fn a_channel_that_nobody_reads_holds_up_no_other(steps in steps()) {
        let mut world = World::new();
        (0..CHANNELS).for_each(|channel| world.open(channel));
        for step in &steps {
            if !matches!(step, Step::Consume(0)) {
                world.run(step);
            }
        }
        let others: Vec<usize> = (1..CHANNELS).collect();
        world.settle(&others);
        prop_assert_eq!(&world.taken[1..], &world.sent[1..]);
        // What it holds up is bounded: its capacity, and one step's output.
        let held: usize = world.sent[0].iter().map(|(_, bytes)| bytes.len()).sum();
        prop_assert!(held <= CAPACITY as usize + LARGEST);
    }
}

#[test]
fn what_a_receiver_that_leaves_has_not_taken_is_dropped_and_its_sender_has_no_room() {
    let mut world = World::new();
    world.open(0);
    world.settle(&[]);
    for _ in 0..20 {
        world.send(0, FrameKind::Data, 400);
    }
    assert!(!world.has_room[0]);
    assert_eq!(world.producer.on_close(0), Some(0));
    assert!(!world.producer.push(world.keys[0], FrameKind::Data, vec![Buffer::from_vec(vec![1u8])]));
    assert!(world.producer.next().is_none());
    assert_eq!(world.producer.wakers().count(), CHANNELS - 1);
    world.producer.finish(world.keys[0]);
    assert!(world.producer.next().is_none(), "nobody is there to be told");
}

#[test]
fn a_sender_that_leaves_is_told_after_what_it_has_sent_or_forgotten_if_nobody_came() {
    let mut world = World::new();
    world.send(1, FrameKind::Data, 10);
    world.producer.finish(world.keys[1]);
    world.producer.on_open(9, id(1), CAPACITY).expect("it waits for a sender of its generation");
    assert!(world.producer.next().is_none());
    world.producer.on_open(4, id(0), CAPACITY).expect("opened");
    world.send(0, FrameKind::Data, 10);
    world.producer.finish(world.keys[0]);
    let kinds: Vec<Kind> =
        std::iter::from_fn(|| world.producer.next()).map(|frame| frame.header.kind).collect();
    assert_eq!(kinds, [Kind::Data, Kind::Finish]);
    assert!(world.producer.on_open(9, id(2), CAPACITY).is_err(), "a handle is used once");
    assert!(world.producer.on_open(10, id(2), CAPACITY + 1).is_err(), "both ends have the same capacity");
}
