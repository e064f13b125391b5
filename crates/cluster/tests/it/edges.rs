//! Whole edges between the tasks of two processes: typed batches and Arrow's, dealt out by key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use streamkeeper_cluster::network::NetworkEnvironment;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::{Batch, Records};
use streamkeeper_dataflow::element::{Barrier, BarrierKind, Control, Element};
use streamkeeper_dataflow::exchange::Exchange;
use streamkeeper_dataflow::key_group::{KeySelector, hash_i64, key_group, subtask_of};
use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
use streamkeeper_dataflow::network::EdgeId;
use streamkeeper_dataflow::network::harness::{Consumer, Edge, Producer};

use crate::support::{PATIENCE, exchange};

trait Keys: Batch {
    fn of(keys: &[i64]) -> Self;
    fn keys(&self) -> Vec<i64>;
}

impl Keys for Records<(i64, String)> {
    fn of(keys: &[i64]) -> Self {
        let values = keys.iter().map(|key| (*key, format!("value of {key}")));
        Self::new(values.collect(), keys.to_vec())
    }

    fn keys(&self) -> Vec<i64> {
        assert!(self.values.iter().all(|(key, value)| *value == format!("value of {key}")));
        self.timestamps.clone()
    }
}

impl Keys for RecordBatch {
    fn of(keys: &[i64]) -> Self {
        let texts: StringArray = keys.iter().map(|key| Some(format!("value of {key}"))).collect();
        let columns: [(&str, ArrayRef); 2] =
            [("key", Arc::new(Int64Array::from(keys.to_vec()))), ("text", Arc::new(texts))];
        Self::try_from_iter(columns).expect("a batch")
    }

    fn keys(&self) -> Vec<i64> {
        let keys = self.column(0).as_any().downcast_ref::<Int64Array>().expect("keys").values().to_vec();
        assert_eq!(self, &Self::of(&keys));
        keys
    }
}

struct ByKey;

impl<B: Keys> KeySelector<B> for ByKey {
    fn hash(&self, batch: &B, hashes: &mut Vec<u64>) -> OperatorResult<()> {
        hashes.clear();
        hashes.extend(batch.keys().into_iter().map(hash_i64));
        Ok(())
    }
}

const ROWS: i64 = 20_000;

/// Producer p emits the numbers that leave p when divided by 2.
fn produce<B: Keys>(mut producer: Producer<B>, p: i64, config: Arc<ConfigSnapshot>) {
    let keys: Vec<i64> = (0..ROWS).filter(|key| key % 2 == p).collect();
    let send = |producer: &mut Producer<B>, keys: &[i64]| {
        keys.chunks(300).for_each(|keys| producer.emit(B::of(keys)).expect("emitted"));
    };
    let (before, after) = keys.split_at(keys.len() / 2);
    send(&mut producer, before);
    let barrier = Barrier { checkpoint: 7, kind: BarrierKind::Reconfigure, config, savepoint: None };
    producer.broadcast(&Control::Watermark(before.len() as i64)).expect("sent");
    producer.broadcast(&Control::Barrier(barrier)).expect("sent");
    send(&mut producer, after);
    producer.broadcast(&Control::End).expect("sent");
}

/// Keys of one channel before and after the barrier.
fn consume<B: Keys>(consumer: &mut Consumer<B>, channel: usize, config: &ConfigSnapshot) -> [Vec<i64>; 2] {
    let (mut keys, mut part) = ([Vec::new(), Vec::new()], 0);
    loop {
        match consumer.receive(channel, PATIENCE).expect("not lost") {
            Element::Batch(batch) => keys[part].extend(batch.keys()),
            Element::Control(Control::Watermark(watermark)) => assert_eq!((part, watermark), (0, ROWS / 4)),
            Element::Control(Control::Barrier(barrier)) => {
                assert_eq!((part, barrier.checkpoint, barrier.kind), (0, 7, BarrierKind::Reconfigure));
                assert_eq!(&*barrier.config, config);
                part = 1;
            }
            Element::Control(Control::End) => return keys,
            Element::Control(other) => panic!("{other:?} was not sent"),
        }
    }
}

fn hash_partitioned<B: Keys>() {
    let processes: [NetworkEnvironment; 2] = [exchange(), exchange()];
    let addresses = processes.each_ref().map(|process| process.address());
    let document = ConfigDocument { revision: 4, data: "a limit".into() };
    let config = Arc::new(ConfigSnapshot::from_iter([("rules".to_owned(), document)]));
    let consumers = 4;
    let owner = |key: i64| subtask_of(key_group(hash_i64(key), 128), consumers, 128);
    std::thread::scope(|scope| {
        for (here, process) in processes.iter().enumerate() {
            let place = |subtask: usize| (subtask % 2 != here).then_some(addresses[1 - here]);
            let edge = Edge::<B> {
                id: EdgeId { job: [1; 16], generation: 3, index: 0 },
                exchange: Exchange::Hash(Arc::new(ByKey)),
                producers: &(0..2).map(place).collect::<Vec<_>>(),
                consumers: &(0..consumers).map(place).collect::<Vec<_>>(),
                capacity_bytes: 8 << 10,
            };
            let (producers, own) = edge.connect(process).expect("connected");
            for (p, producer) in producers.into_iter().enumerate() {
                let config = config.clone();
                producer.map(|producer| scope.spawn(move || produce(producer, p as i64, config)));
            }
            for (c, consumer) in own.into_iter().enumerate() {
                assert_eq!(consumer.is_some(), c % 2 == here);
                let Some(mut consumer) = consumer else { continue };
                let config = &config;
                scope.spawn(move || {
                    for channel in 0..2 {
                        let keys = consume(&mut consumer, channel, config);
                        let half = ROWS / 2;
                        let expected = |keys: std::ops::Range<i64>| -> Vec<i64> {
                            keys.filter(|key| key % 2 == channel as i64 && owner(*key) == c).collect()
                        };
                        assert_eq!(keys, [expected(0..half), expected(half..ROWS)]);
                    }
                });
            }
        }
    });
}

#[test]
fn typed_rows_reach_the_owners_of_their_keys_in_order() {
    hash_partitioned::<Records<(i64, String)>>();
}

#[test]
fn arrow_rows_reach_the_owners_of_their_keys_in_order() {
    hash_partitioned::<RecordBatch>();
}

#[test]
fn a_batch_that_is_larger_than_a_frame_should_be_arrives_in_pieces() {
    let (a, b) = (exchange(), exchange());
    let ends = |of, producers, consumers| {
        let id = EdgeId { job: [1; 16], generation: 1, index: 0 };
        let exchange = Exchange::Forward;
        let edge = Edge::<Records<[u64; 32]>> { id, exchange, producers, consumers, capacity_bytes: 1 << 20 };
        edge.connect(of).expect("connected")
    };
    let (at_a, at_b) = ([Some(a.address())], [Some(b.address())]);
    let (mut producers, _) = ends(&a, &[None], &at_b);
    let (_, mut consumers) = ends(&b, &at_a, &[None]);
    let rows = 300_000;
    let batch = Records::new((0..rows).map(|n| [n; 32]).collect(), vec![0; rows as usize]);
    let mut producer = producers[0].take().expect("here");
    let mut consumer = consumers[0].take().expect("here");
    producer.emit(batch).expect("emitted");
    let (mut pieces, mut next) = (0, 0);
    while next < rows {
        let Ok(Element::Batch(piece)) = consumer.receive(0, PATIENCE) else { panic!("a piece is missing") };
        assert!(piece.values.iter().zip(next..).all(|(value, n)| *value == [n; 32]));
        next += piece.values.len() as u64;
        pieces += 1;
    }
    assert!(pieces > 1);
}
