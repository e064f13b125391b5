//! Channels between two tasks: bounded in bytes, never blocking. Those within the process are here, those to other
//! processes in [`crate::network`].
//!
//! Invariant: a push always succeeds, and a task pushes only while [`Sender::has_room`] holds before the step that
//! produces: so a channel holds at most its capacity plus the output of one step, and a task never blocks inside a
//! channel. Elements arrive in the order in which they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::batch::Rows;
use crate::element::Element;
use crate::error::OperatorResult;

/// What a task waits on: input, room in its output, mail.
#[derive(Debug, Default)]
pub struct Signal {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl Signal {
    /// Wakes the task, now or when it next waits.
    pub fn notify(&self) {
        let mut notified = lock(&self.notified);
        if !*notified {
            *notified = true;
            self.condvar.notify_one();
        }
    }

    /// Waits for a notification, or until `deadline`.
    pub fn wait(&self, deadline: Option<Instant>) {
        let mut notified = lock(&self.notified);
        while !*notified {
            match deadline {
                None => notified = self.condvar.wait(notified).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
                    notified =
                        self.condvar.wait_timeout(notified, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        *notified = false;
    }
}

/// Locks, also after another holder panicked: what these locks guard is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The producer's end of a channel.
pub trait Sender<B>: Send {
    /// Hands over an element.
    ///
    /// # Errors
    /// When the element cannot be encoded, or the connection to the consumer's process is lost (recoverable).
    fn send(&mut self, element: Element<B>) -> OperatorResult<()>;

    /// Whether the producer may take another step.
    fn has_room(&self) -> bool;
}

/// The consumer's end of a channel.
pub trait Receiver<B>: Send {
    /// The next element, if there is one.
    ///
    /// # Errors
    /// When what came is damaged, or the connection to the producer's process is lost (recoverable).
    fn receive(&mut self) -> OperatorResult<Option<Element<B>>>;
}

/// Elements that carry no rows count as this many bytes, so that they are bounded too.
const CONTROL_BYTES: usize = 64;

struct Queue<B> {
    elements: VecDeque<Element<B>>,
    bytes: usize,
}

struct Shared<B> {
    queue: Mutex<Queue<B>>,
    capacity_bytes: usize,
    producer: Arc<Signal>,
    consumer: Arc<Signal>,
}

/// A channel within the process: batches move, nothing is serialised.
pub fn in_memory<B: Rows + Send>(
    capacity_bytes: usize,
    producer: Arc<Signal>,
    consumer: Arc<Signal>,
) -> (Box<dyn Sender<B>>, Box<dyn Receiver<B>>) {
    let queue = Mutex::new(Queue { elements: VecDeque::new(), bytes: 0 });
    let shared = Arc::new(Shared { queue, capacity_bytes, producer, consumer });
    (Box::new(MemorySender(shared.clone())), Box::new(MemoryReceiver(shared)))
}

struct MemorySender<B>(Arc<Shared<B>>);
struct MemoryReceiver<B>(Arc<Shared<B>>);

fn cost<B: Rows>(element: &Element<B>) -> usize {
    match element {
        Element::Batch(batch) => batch.num_bytes() + CONTROL_BYTES,
        _ => CONTROL_BYTES,
    }
}

impl<B: Rows + Send> Sender<B> for MemorySender<B> {
    fn send(&mut self, element: Element<B>) -> OperatorResult<()> {
        let bytes = cost(&element);
        let was_empty = {
            let mut queue = lock(&self.0.queue);
            let was_empty = queue.elements.is_empty();
            queue.bytes += bytes;
            queue.elements.push_back(element);
            was_empty
        };
        if was_empty {
            self.0.consumer.notify();
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        lock(&self.0.queue).bytes < self.0.capacity_bytes
    }
}

impl<B: Rows + Send> Receiver<B> for MemoryReceiver<B> {
    fn receive(&mut self) -> OperatorResult<Option<Element<B>>> {
        let mut queue = lock(&self.0.queue);
        let Some(element) = queue.elements.pop_front() else { return Ok(None) };
        let was_full = queue.bytes >= self.0.capacity_bytes;
        queue.bytes -= cost(&element);
        let room_again = was_full && queue.bytes < self.0.capacity_bytes;
        drop(queue);
        if room_again {
            self.0.producer.notify();
        }
        Ok(Some(element))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Records;
    use crate::element::Control;

    #[test]
    fn a_full_channel_has_no_room_until_the_consumer_takes_something() {
        let (producer, consumer) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let (mut sender, mut receiver) = in_memory::<Records<u64>>(100, producer.clone(), consumer);
        assert!(sender.has_room());
        sender.send(Element::Batch(Records::new(vec![7; 100], vec![0; 100]))).expect("sent");
        assert!(!sender.has_room(), "a batch larger than the bound passes, alone");
        assert!(matches!(receiver.receive(), Ok(Some(Element::Batch(b))) if b.values.len() == 100));
        assert!(sender.has_room());
        producer.wait(None);
        for n in 0..2 {
            sender.send(Element::Control(Control::Watermark(n))).expect("sent");
        }
        assert!(!sender.has_room(), "control elements are bounded too");
    }

    #[test]
    fn wait_ends_at_its_deadline_and_a_notification_is_not_lost() {
        let signal = Signal::default();
        signal.wait(Some(Instant::now()));
        signal.notify();
        signal.wait(None);
    }
}
