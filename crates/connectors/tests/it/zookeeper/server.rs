//! A server, somebody who writes to it, and a reader that is driven by hand.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use streamkeeper_connectors::zookeeper::{ZNode, ZooKeeperSource};
use streamkeeper_dataflow::OperatorError;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split};
use streamkeeper_keeper::server::{Keeper, ServerOptions, StorageOptions};
use streamkeeper_zookeeper::{CreateMode, Options, ZooKeeper, block_on};

use crate::harness::context;

pub(super) fn server(address: Option<SocketAddr>, directory: Option<&Path>) -> Keeper {
    let mut options = ServerOptions::default();
    options.client_addresses = address.map_or(options.client_addresses, |address| vec![address]);
    options.core.tick_ms = 200;
    options.core.min_session_timeout_ms = 400;
    options.storage = directory.map(StorageOptions::new);
    Keeper::start(options).unwrap()
}

pub(super) fn quorum(keeper: &Keeper) -> String {
    keeper.client_address().unwrap().to_string()
}

/// Somebody else, who writes.
pub(super) struct Other(pub(super) ZooKeeper);

impl Other {
    pub(super) fn at(keeper: &Keeper) -> Self {
        let session_timeout = Duration::from_secs(4);
        let options = Options {
            session_timeout,
            operation_timeout: Duration::from_secs(30),
            ..Options::new(quorum(keeper))
        };
        Self(block_on(ZooKeeper::connect(options)).unwrap())
    }

    pub(super) fn create(&self, path: &str, data: &str) {
        block_on(self.0.create(path, data, CreateMode::Persistent)).unwrap();
    }

    pub(super) fn set(&self, path: &str, data: &str) {
        block_on(self.0.set(path, data, None)).unwrap();
    }

    pub(super) fn delete(&self, path: &str) {
        block_on(self.0.delete(path, None)).unwrap();
    }

    /// The data, if there is such a znode.
    pub(super) fn get(&self, path: &str) -> Option<String> {
        let read = block_on(self.0.get_many(vec![path.to_owned()])).unwrap().remove(0);
        read.map(|(data, _)| String::from_utf8(data).unwrap())
    }
}

/// A reader of the one split.
pub(super) struct Following<B> {
    reader: Box<dyn SourceReader<B>>,
    context: OperatorContext,
}

impl<B> Following<B> {
    /// From the beginning, or from a checkpoint.
    pub(super) fn start(source: &dyn Source<B>, restored: Option<Vec<Split>>) -> Self {
        let context = context(0, 1);
        let mut enumerator = source.enumerator(1, None).unwrap();
        let mut reader = source.reader(&context).unwrap();
        let first = enumerator.next_split(0);
        let split = match (restored, first) {
            (Some(mut splits), _) => splits.remove(0),
            (None, Assignment::Split(split)) => split,
            (None, Assignment::NoMoreSplits) => panic!("there is a split"),
        };
        reader.add_split(split).unwrap();
        Self { reader, context }
    }

    /// The next batch, or the error; waits as a task does.
    pub(super) fn next(&mut self) -> Result<B, OperatorError> {
        loop {
            match self.reader.poll(0)? {
                Poll::Batch { batch, .. } => return Ok(batch),
                Poll::WaitUntil(i64::MAX) => self.context.waker.wait(None),
                Poll::WaitUntil(_) => {}
                other => panic!("a source without end has {}", matches!(other, Poll::NeedSplit)),
            }
        }
    }

    pub(super) fn checkpoint(&mut self) -> Vec<Split> {
        self.reader.snapshot().unwrap()
    }
}

impl Following<Records<ZNode>> {
    /// What comes until `last`, as `path=text`, or `-path`.
    pub(super) fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|seen| seen != last) {
            let records = self.next().unwrap();
            let describe = |znode: &ZNode| match znode.is_deleted() {
                true => format!("-{}", znode.path),
                false => format!("{}={}", znode.path, znode.text()),
            };
            all.extend(records.values.iter().map(describe));
        }
        all
    }
}

/// With a short session, so that what takes several timeouts takes no minutes.
pub(super) fn short(source: ZooKeeperSource) -> ZooKeeperSource {
    source.session_timeout(Duration::from_secs(2))
}
