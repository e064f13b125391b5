//! A job on several workers that die, under masters that are replaced: each number is committed exactly once, and tasks whose
//! master is replaced do not notice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::channel::Signal;
use streamkeeper_dataflow::checkpoint::savepoint;
use streamkeeper_dataflow::checkpoint::storage::{CheckpointStorage, CheckpointStore};
use streamkeeper_dataflow::element::{Barrier, BarrierKind};
use streamkeeper_dataflow::executor::order::{Deployment, Inventory, Order, Report, Worker, WorkerId};
use streamkeeper_dataflow::executor::{ExecutorSetup, TaskExecutor, metrics_of};
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::job::trigger::{Reply, Trigger};
use streamkeeper_dataflow::job::workers::{Adoption, Deposed, Workers};
use streamkeeper_dataflow::job::{
    Begin, JobHandle, JobStatus, MasterSetup, new_lineage, start, start_master,
};
use streamkeeper_dataflow::network::{ChannelId, FrameKind, FrameReceiver, FrameSender, Network};
use streamkeeper_dataflow::restart::RestartStrategy;
use streamkeeper_dataflow::source::Source;
use streamkeeper_dataflow::time::SystemClock;

use crate::exactly_once::{Committed, Numbers, Setup, check, config, graph};

const RESTARTS: RestartStrategy = RestartStrategy::FixedDelay { attempts: 1_000, delay_ms: 1 };

/// Frames between the workers of this process.
#[derive(Default)]
struct Frames {
    queues: Mutex<HashMap<ChannelId, Queue>>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(FrameKind, Buffer)>,
    consumer: Option<Arc<Signal>>,
}

struct End(Arc<Frames>, ChannelId);

#[derive(Clone)]
struct Wires(Arc<Frames>);

impl Network for Wires {
    fn sender(&self, channel: ChannelId, _: &str, _: usize, _: Arc<Signal>) -> Box<dyn FrameSender> {
        Box::new(End(self.0.clone(), channel))
    }

    fn receiver(
        &self,
        channel: ChannelId,
        _: &str,
        _: usize,
        consumer: Arc<Signal>,
    ) -> Box<dyn FrameReceiver> {
        self.0.with(channel, |queue| queue.consumer = Some(consumer));
        Box::new(End(self.0.clone(), channel))
    }
}

impl Frames {
    fn with<T>(&self, channel: ChannelId, f: impl FnOnce(&mut Queue) -> T) -> T {
        f(self.queues.lock().expect("no panic while held").entry(channel).or_default())
    }
}

impl FrameSender for End {
    fn send(&mut self, kind: FrameKind, parts: Vec<Buffer>) -> OperatorResult<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.as_slice().to_vec()).collect();
        self.0.with(self.1, |queue| {
            queue.frames.push_back((kind, Buffer::from(bytes)));
            queue.consumer.iter().for_each(|consumer| consumer.notify());
        });
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.0.with(self.1, |queue| queue.frames.len() < 50)
    }
}

impl FrameReceiver for End {
    fn receive(&mut self) -> OperatorResult<Option<(FrameKind, Buffer)>> {
        Ok(self.0.with(self.1, |queue| queue.frames.pop_front()))
    }
}

/// The cluster: workers, and who leads.
struct Cluster {
    graph: Arc<JobGraph>,
    storage: Arc<CheckpointStorage>,
    lineage: String,
    wires: Wires,
    shared: Arc<Shared>,
    reports: mpsc::Sender<Sent>,
    born: usize,
    term: u64,
}

/// What a leader has in ZooKeeper, and whom it can reach.
#[derive(Default)]
struct Shared {
    executors: Mutex<BTreeMap<WorkerId, Running>>,
    slots: Mutex<Vec<Worker>>,
    attempts: Mutex<BTreeMap<usize, u32>>,
}

struct Reached(Arc<Shared>);

impl Workers for Reached {
    fn place(
        &mut self,
        slots: usize,
        current: &[Option<Worker>],
        attempts: &BTreeMap<usize, u32>,
    ) -> Result<Option<Vec<Worker>>, Deposed> {
        let executors = self.0.executors.lock().expect("no panic while held");
        let alive: Vec<Worker> = executors.values().map(|running| running.worker.clone()).collect();
        if alive.is_empty() {
            return Ok(None);
        }
        let keep = |slot: usize| current[slot].clone().filter(|worker| executors.contains_key(&worker.id));
        let placed: Vec<Worker> =
            (0..slots).map(|slot| keep(slot).unwrap_or_else(|| alive[slot % alive.len()].clone())).collect();
        self.0.slots.lock().expect("no panic while held").clone_from(&placed);
        self.0.attempts.lock().expect("no panic while held").clone_from(attempts);
        Ok(Some(placed))
    }

    fn send(&mut self, worker: &WorkerId, order: Order) {
        // By a network, orders are bytes.
        let bytes = postcard::to_allocvec(&order).expect("an order can be sent");
        let order = postcard::from_bytes(&bytes).expect("and read");
        if let Some(running) = self.0.executors.lock().expect("no panic while held").get(worker) {
            running.executor.order(order);
        }
    }
}

/// A report, by whom, and under which master: those to an earlier one are lost.
type Sent = (WorkerId, u64, Report);

/// By a network, reports are bytes.
fn by_network(
    worker: WorkerId,
    term: Arc<AtomicU64>,
    to: mpsc::Sender<Sent>,
) -> Box<dyn FnMut(Report) + Send> {
    Box::new(move |report| {
        let bytes = postcard::to_allocvec(&report).expect("a report can be sent");
        let report = postcard::from_bytes(&bytes).expect("and read");
        // The run may have ended.
        let _ = to.send((worker.clone(), term.load(Ordering::SeqCst), report));
    })
}

/// A worker, and the term of the master that it reports to.
struct Running {
    worker: Worker,
    executor: TaskExecutor,
    term: Arc<AtomicU64>,
}

impl Running {
    /// What is here; reports after that are to the master of `term`.
    fn hand_over(&self, to: u64) -> Inventory {
        let (term, (reply, answer)) = (self.term.clone(), mpsc::channel());
        self.executor.with_inventory(move |inventory| {
            term.store(to, Ordering::SeqCst);
            reply.send(inventory).expect("it is waited for");
        });
        answer.recv().expect("it runs")
    }
}

impl Cluster {
    fn start_worker(&mut self) {
        self.born += 1;
        let id = format!("tm-{}", self.born);
        let worker = Worker { id: id.clone(), exchange_address: format!("{id}:1") };
        let term = Arc::new(AtomicU64::new(self.term));
        let executor = TaskExecutor::start(ExecutorSetup {
            graph: self.graph.clone(),
            job: [7; 16],
            lineage: self.lineage.clone(),
            worker: worker.clone(),
            storage: self.storage.clone(),
            network: Some(Arc::new(self.wires.clone())),
            channel_capacity_bytes: 4096,
            buffer_timeout: Duration::from_millis(1),
            metrics: metrics_of(&self.graph),
            clock: Arc::new(SystemClock),
            reports: by_network(id.clone(), term.clone(), self.reports.clone()),
        });
        let executor = executor.expect("a thread");
        self.shared
            .executors
            .lock()
            .expect("no panic while held")
            .insert(id, Running { worker, executor, term });
    }

    fn lead(&self, begin: Begin, committed: &Committed, setup: &Setup) -> JobHandle {
        start_master(MasterSetup {
            graph: Arc::new(graph(setup, committed)),
            config: config(&self.lineage, RESTARTS),
            storage: self.storage.clone(),
            pointer: self.storage.clone(),
            begin,
            workers: Box::new(Reached(self.shared.clone())),
            on_status: Box::new(|_| {}),
            metrics: metrics_of(&self.graph),
        })
        .expect("valid")
    }

    fn inventories(&self) -> BTreeMap<WorkerId, Inventory> {
        let executors = self.shared.executors.lock().expect("no panic while held");
        executors.iter().map(|(id, running)| (id.clone(), running.hand_over(self.term))).collect()
    }

    fn adoption(&mut self) -> Begin {
        self.term += 1;
        let pointer = self.storage.load().expect("readable");
        let adoption = Adoption {
            slots: self.shared.slots.lock().expect("no panic while held").clone(),
            attempts: self.shared.attempts.lock().expect("no panic while held").clone(),
            inventories: self.inventories(),
        };
        Begin::Adopt { checkpoint: pointer.and_then(|p| p.retained.last().copied()), adoption }
    }
}

/// A small generator of numbers (xorshift), so that a seed names a run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What happens between two faults.
#[derive(Clone, Copy, PartialEq)]
enum Faults {
    Leaders,
    LeadersAndWorkers,
    /// As those, while savepoints are taken, until the job has ended with one.
    UntilStopped,
}

/// Runs the job under faults. Returns how often tasks were started anew, and whether it has ended with a savepoint.
fn run(seed: u64, faults: Faults) -> (u32, bool) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let committed = Committed::default();
    let setup = Setup {
        parallelism: (2, 3, 2),
        fuse: u64::MAX,
        panics: false,
        pause: Duration::from_micros(500),
        restart: RESTARTS,
    };
    let lineage = new_lineage();
    let (reports, inbox) = mpsc::channel();
    let mut cluster = Cluster {
        graph: Arc::new(graph(&setup, &committed)),
        storage: Arc::new(CheckpointStorage::in_memory(&lineage).expect("memory")),
        lineage,
        wires: Wires(Arc::default()),
        shared: Arc::default(),
        reports,
        born: 0,
        term: 0,
    };
    (0..3).for_each(|_| cluster.start_worker());
    let mut job = cluster.lead(Begin::Fresh, &committed, &setup);
    let savepoints = tempfile::tempdir().expect("temp dir");
    let mut taken = 0;
    let mut next_fault = Instant::now() + Duration::from_millis(random.below(30));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !job.is_done() {
        assert!(Instant::now() < deadline, "seed {seed}: the job does not end");
        if let Ok((worker, term, report)) = inbox.recv_timeout(Duration::from_millis(1))
            && term == cluster.term
        {
            job.report(&worker, report);
        }
        if Instant::now() < next_fault {
            continue;
        }
        next_fault = Instant::now() + Duration::from_millis(10 + random.below(30));
        if faults == Faults::UntilStopped {
            taken += 1;
            let savepoint = savepoints.path().join(taken.to_string());
            let drain = random.below(2) == 0;
            job.trigger(
                match random.below(3) {
                    0 => Trigger::Stop { savepoint, drain },
                    _ => Trigger::Savepoint(savepoint),
                },
                Reply::new(|_| ()),
            );
            // Sometimes it gets far before the fault, sometimes not.
            next_fault = Instant::now() + Duration::from_millis(random.below(4));
            while Instant::now() < next_fault {
                if let Ok((worker, term, report)) = inbox.recv_timeout(Duration::from_millis(1))
                    && term == cluster.term
                {
                    job.report(&worker, report);
                }
            }
            next_fault = Instant::now() + Duration::from_millis(5 + random.below(20));
        }
        if faults != Faults::Leaders && random.below(2) == 0 {
            let executors = &cluster.shared.executors;
            let victim = {
                let mut executors = executors.lock().expect("no panic while held");
                let at = random.below(executors.len() as u64) as usize;
                let id = executors.keys().nth(at).cloned().expect("there is one");
                executors.remove(&id).map(|running| (id, running.executor))
            };
            let (id, executor) = victim.expect("it was there");
            // It may live on for a while without anybody knowing.
            job.worker_lost(&id);
            executor.close();
            cluster.start_worker();
            job.resources_changed();
        } else {
            job.abandon();
            let status = job.wait();
            if !matches!(status, Ok(JobStatus::Suspended)) {
                assert!(matches!(status, Ok(JobStatus::Finished)), "seed {seed}: {status:?}");
                let stopped = finish(&cluster, savepoints.path(), &committed, &setup);
                return (attempts(&cluster), stopped);
            }
            for running in cluster.shared.executors.lock().expect("no panic while held").values() {
                running.executor.leader_lost();
            }
            let begin = cluster.adoption();
            job = cluster.lead(begin, &committed, &setup);
        }
    }
    assert_eq!(job.wait().expect("no failure"), JobStatus::Finished, "seed {seed}");
    let stopped = finish(&cluster, savepoints.path(), &committed, &setup);
    (attempts(&cluster), stopped)
}

/// A job that has ended with a savepoint goes on from it to its end; then each number was committed once.
fn finish(cluster: &Cluster, savepoints: &std::path::Path, committed: &Committed, setup: &Setup) -> bool {
    let last = cluster.storage.load().expect("readable").and_then(|p| p.retained.last().copied());
    let last = cluster.storage.manifest(last.expect("it has completed a checkpoint")).expect("readable");
    if last.kind != BarrierKind::Final {
        let state = last.states.first().expect("it has state").object.clone();
        let path = std::path::Path::new(&state).parent().expect("a savepoint");
        assert!(path.starts_with(savepoints), "{state}");
        let lineage = new_lineage();
        let storage = CheckpointStorage::in_memory(&lineage).expect("memory");
        let checkpoint = savepoint::import(&storage, &lineage, path, false).expect("complete");
        let restored = storage.read(checkpoint).expect("complete");
        let config = config(&lineage, RestartStrategy::None);
        let job = start(graph(setup, committed), config, storage, Some(restored)).expect("it fits");
        assert_eq!(job.wait().expect("no failure"), JobStatus::Finished);
    }
    check(committed);
    last.kind != BarrierKind::Final
}

fn attempts(cluster: &Cluster) -> u32 {
    cluster.shared.attempts.lock().expect("no panic while held").values().copied().max().unwrap_or(0)
}

#[test]
fn a_task_commits_nothing_for_a_checkpoint_that_it_took_no_part_in() {
    let committed = Committed::default();
    let setup = Setup {
        parallelism: (1, 1, 1),
        fuse: u64::MAX,
        panics: false,
        pause: Duration::from_micros(100),
        restart: RESTARTS,
    };
    let graph = Arc::new(graph(&setup, &committed));
    let lineage = new_lineage();
    let (reports, inbox) = mpsc::channel();
    let worker = Worker { id: "tm".into(), exchange_address: String::new() };
    let executor = TaskExecutor::start(ExecutorSetup {
        job: [7; 16],
        storage: Arc::new(CheckpointStorage::in_memory(&lineage).expect("memory")),
        lineage,
        worker: worker.clone(),
        network: None,
        channel_capacity_bytes: 4096,
        buffer_timeout: Duration::from_millis(1),
        metrics: metrics_of(&graph),
        clock: Arc::new(SystemClock),
        reports: Box::new(move |report| drop(reports.send(report))),
        graph: graph.clone(),
    })
    .expect("a thread");
    let mut enumerator = Numbers { pause: setup.pause }.enumerator(1, None).expect("splits");
    executor.order(Order::Deploy(Deployment {
        vertices: (0..3).map(|vertex| (vertex, 0)).collect(),
        slots: vec![worker],
        restore: None,
        config: Arc::default(),
        splits: vec![((0, 0), enumerator.next_split(0))],
        limits: Vec::new(),
    }));
    let take_checkpoint = |checkpoint| {
        std::thread::sleep(Duration::from_millis(5));
        let kind = BarrierKind::Checkpoint;
        executor.order(Order::Trigger(Barrier { checkpoint, kind, config: Arc::default(), savepoint: None }));
        let taken =
            |report: Report| matches!(report, Report::Snapshot { checkpoint: id, .. } if id == checkpoint);
        while !taken(inbox.recv_timeout(Duration::from_secs(30)).expect("it is reported")) {}
    };
    take_checkpoint(1);
    executor.order(Order::Aborted(1));
    // Of tasks elsewhere.
    executor.order(Order::Completed(2));
    take_checkpoint(3);
    assert!(committed.0.lock().expect("no panic while held").is_empty());
    executor.order(Order::Completed(3));
    take_checkpoint(4);
    assert!(!committed.0.lock().expect("no panic while held").is_empty());
    executor.close();
}

#[test]
fn tasks_run_on_when_their_master_is_replaced() {
    for seed in 0..8 {
        assert_eq!(run(seed, Faults::Leaders), (0, false), "seed {seed}: no task was started anew");
    }
}

#[test]
fn each_number_is_committed_once_whichever_workers_and_masters_die() {
    let restarts: u32 = (100..112).map(|seed| run(seed, Faults::LeadersAndWorkers).0).sum();
    assert!(restarts > 5, "workers died with tasks: {restarts}");
}

#[test]
fn a_job_ends_with_a_savepoint_whichever_workers_and_masters_die() {
    let stopped = (200..216).filter(|seed| run(*seed, Faults::UntilStopped).1).count();
    assert!(stopped > 4, "most do: {stopped}");
}
