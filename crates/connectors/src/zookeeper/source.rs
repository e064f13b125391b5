//! The source: one split, read by the first subtask, whose position is all that was told.

use std::marker::PhantomData;
use std::time::Duration;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use streamkeeper_zookeeper::Options;

use crate::zookeeper::following::Following;
use crate::zookeeper::mirror::{Change, Limits};
use crate::zookeeper::znode::{Mode, ZNode};

const SPLIT: &str = "zookeeper";

/// Follows a znode, its children, or all below it: first what there is, then each change, without end. Each [`ZNode`] has its time of
/// modification as event time. A znode that is not there, or not yet, is waited for.
///
/// Changes in quick succession may become one; the last always arrives. What the source holds of the znodes is in the checkpoint, so
/// after a restore exactly what changed or was deleted meanwhile is told.
///
/// ```no_run
/// use streamkeeper_connectors::zookeeper::ZooKeeperSource;
///
/// let source = ZooKeeperSource::node("127.0.0.1:2181", "/flink-demo");
/// ```
#[derive(Debug, Clone)]
pub struct ZooKeeperSource {
    pub(crate) options: Options,
    pub(crate) root: String,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
}

impl ZooKeeperSource {
    /// Follows the znode at `path`, at the servers `host:port,host:port/chroot`.
    pub fn node(quorum: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(quorum, path, Mode::Node)
    }

    /// Follows the children of `path`, not itself.
    pub fn children(quorum: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(quorum, path, Mode::Children)
    }

    /// Follows all znodes below `path`, not itself.
    pub fn tree(quorum: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(quorum, path, Mode::Tree)
    }

    pub(crate) fn new(quorum: impl Into<String>, path: impl Into<String>, mode: Mode) -> Self {
        Self { options: Options::new(quorum), root: path.into(), mode, limits: Limits::default() }
    }

    /// How long the server keeps the session without hearing of this process; 60 s unless set.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.options.session_timeout = timeout;
        self
    }

    /// User and password of the `digest` scheme.
    pub fn digest(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options.digest = Some((user.into(), password.into()));
        self
    }

    /// The source fails rather than to hold more znodes than this; 100,000 unless set.
    pub fn max_znodes(mut self, max_znodes: usize) -> Self {
        self.limits.max_znodes = max_znodes;
        self
    }

    /// The source fails rather than to hold more bytes than this; 256 MiB unless set.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.limits.max_bytes = max_bytes;
        self
    }

    /// For messages: what is followed, and where.
    pub(crate) fn place(&self) -> String {
        format!("{} at {}", self.root, self.options.quorum)
    }

    /// Reads with batches made by `rows`.
    pub(crate) fn read<B: 'static, R: Rows<B> + 'static>(
        &self,
        context: &OperatorContext,
        rows: R,
    ) -> Box<dyn SourceReader<B>> {
        Box::new(Reader {
            source: self.clone(),
            rows,
            context: context.without_state(),
            following: None,
            batch: PhantomData,
        })
    }
}

/// Makes batches of changes.
pub(crate) trait Rows<B> {
    /// `None`: nothing of it is to be seen.
    fn batch(&mut self, changes: &[Change]) -> OperatorResult<Option<B>>;
}

/// Changes as [`ZNode`]s.
struct Typed;

impl Rows<Records<ZNode>> for Typed {
    fn batch(&mut self, changes: &[Change]) -> OperatorResult<Option<Records<ZNode>>> {
        let latest =
            |change: &Change| change.after.clone().or_else(|| change.before.clone().map(ZNode::deleted));
        let values: Vec<ZNode> = changes.iter().filter_map(latest).collect();
        let timestamps = values.iter().map(|znode| znode.mtime_ms).collect();
        Ok(Some(Records::new(values, timestamps)))
    }
}

impl Source<Records<ZNode>> for ZooKeeperSource {
    fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        enumerator(restored)
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<ZNode>>>> {
        Ok(self.read(context, Typed))
    }
}

/// The enumerator of the one split.
pub(crate) fn enumerator(restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
    let fresh = Split { id: SPLIT.to_owned(), payload: Vec::new(), watermark: MIN_WATERMARK };
    let split = match restored {
        None => Some(fresh),
        Some(bytes) => postcard::from_bytes(bytes).map_err(|e| {
            OperatorError::fatal(format!("the ZooKeeper source's checkpoint is damaged: {e}"))
        })?,
    };
    Ok(Box::new(OneSplit(split)))
}

struct OneSplit(Option<Split>);

impl SplitEnumerator for OneSplit {
    fn next_split(&mut self, subtask: usize) -> Assignment {
        let split = if subtask == 0 { self.0.take() } else { None };
        split.map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.0 = splits.into_iter().next().or(self.0.take());
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        postcard::to_allocvec(&self.0)
            .map_err(|e| OperatorError::fatal(format!("cannot encode the ZooKeeper source's state: {e}")))
    }
}

struct Reader<B, R> {
    source: ZooKeeperSource,
    rows: R,
    context: OperatorContext,
    /// While there is a split.
    following: Option<Following>,
    batch: PhantomData<fn() -> B>,
}

impl<B, R: Rows<B>> SourceReader<B> for Reader<B, R> {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let told = if split.payload.is_empty() {
            Vec::new()
        } else {
            postcard::from_bytes(&split.payload).map_err(|e| {
                OperatorError::fatal(format!("the checkpoint of {} is damaged: {e}", self.source.place()))
            })?
        };
        self.following = Some(Following::start(&self.source, &self.context, told)?);
        Ok(())
    }

    fn poll(&mut self, _now_ms: Timestamp) -> OperatorResult<Poll<B>> {
        let Some(following) = &mut self.following else { return Ok(Poll::NeedSplit) };
        let Some(changes) = following.changes()? else { return Ok(Poll::WaitUntil(Timestamp::MAX)) };
        match self.rows.batch(&changes)? {
            Some(batch) => Ok(Poll::Batch { split: SPLIT.to_owned(), batch }),
            // At once again: there may be more.
            None => Ok(Poll::WaitUntil(Timestamp::MIN)),
        }
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        let Some(following) = &self.following else { return Ok(Vec::new()) };
        let payload = postcard::to_allocvec(&following.told()).map_err(|e| {
            OperatorError::fatal(format!("cannot encode what is known of {}: {e}", self.source.place()))
        })?;
        Ok(vec![Split { id: SPLIT.to_owned(), payload, watermark: MIN_WATERMARK }])
    }
}
