//! The typed ends of a channel to another process. Batches are encoded and decoded on the task's own thread.

use std::sync::Arc;

use arrow::buffer::Buffer;

use super::control::ControlCodec;
use super::{FrameKind, FrameReceiver, FrameSender};
use crate::batch::{Batch, BatchCodec};
use crate::channel::{Receiver, Sender};
use crate::element::Element;
use crate::error::{OperatorError, OperatorResult};

/// A batch that takes more is sent in pieces, so that no frame is much larger.
const MAX_BATCH_BYTES: usize = 32 << 20;

pub(crate) struct RemoteSender<B: Batch> {
    frames: Box<dyn FrameSender>,
    batches: B::Codec,
    controls: ControlCodec,
}

impl<B: Batch> RemoteSender<B> {
    pub(crate) fn new(frames: Box<dyn FrameSender>) -> Self {
        Self { frames, batches: B::Codec::default(), controls: ControlCodec::default() }
    }

    fn send_batch(&mut self, batch: B) -> OperatorResult<()> {
        let mut parts = Vec::new();
        self.batches.encode(batch, &mut parts)?;
        self.frames.send(FrameKind::Data, parts)
    }
}

impl<B: Batch> Sender<B> for RemoteSender<B> {
    fn send(&mut self, element: Element<B>) -> OperatorResult<()> {
        match element {
            Element::Batch(batch) => {
                let (rows, bytes) = (batch.num_rows(), batch.num_bytes());
                let pieces = bytes.div_ceil(MAX_BATCH_BYTES).clamp(1, rows.max(1));
                if pieces == 1 {
                    return self.send_batch(batch);
                }
                let piece = rows.div_ceil(pieces);
                (0..rows)
                    .step_by(piece)
                    .try_for_each(|row| self.send_batch(batch.slice(row, piece.min(rows - row))))
            }
            Element::Control(control) => {
                let bytes = self.controls.encode(&control)?;
                self.frames.send(FrameKind::Control, vec![Buffer::from_vec(bytes)])
            }
        }
    }

    fn has_room(&self) -> bool {
        self.frames.has_room()
    }
}

pub(crate) struct RemoteReceiver<B: Batch> {
    frames: Box<dyn FrameReceiver>,
    batches: B::Codec,
    controls: ControlCodec,
    /// Address of the producer's process.
    from: Arc<str>,
}

impl<B: Batch> RemoteReceiver<B> {
    pub(crate) fn new(frames: Box<dyn FrameReceiver>, from: Arc<str>) -> Self {
        Self { frames, batches: B::Codec::default(), controls: ControlCodec::default(), from }
    }
}

impl<B: Batch> Receiver<B> for RemoteReceiver<B> {
    fn receive(&mut self) -> OperatorResult<Option<Element<B>>> {
        let Some((kind, frame)) = self.frames.receive()? else { return Ok(None) };
        let element = match kind {
            FrameKind::Data => self.batches.decode(frame).map(Element::Batch),
            FrameKind::Control => self.controls.decode(&frame).map(Element::Control),
        };
        // What was damaged on its way may arrive whole the next time.
        element.map(Some).map_err(|e| {
            OperatorError::recoverable(format!("what the process at {} sent cannot be read: {e}", self.from))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Records;

    struct Script(Vec<(FrameKind, Buffer)>);

    impl FrameReceiver for Script {
        fn receive(&mut self) -> OperatorResult<Option<(FrameKind, Buffer)>> {
            Ok(self.0.pop())
        }
    }

    #[test]
    fn a_damaged_frame_is_an_error_that_names_the_peer_and_may_be_cured() {
        for kind in [FrameKind::Data, FrameKind::Control] {
            let frames = Script(vec![(kind, Buffer::from(&[0xff; 9]))]);
            let mut receiver = RemoteReceiver::<Records<u64>>::new(Box::new(frames), "host:1".into());
            let error = receiver.receive().expect_err("damaged");
            assert!(error.is_recoverable() && error.to_string().contains("host:1"), "{error}");
            assert!(receiver.receive().expect("nothing more").is_none());
        }
    }
}
