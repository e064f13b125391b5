//! Controls as bytes.
//!
//! A barrier's configuration is written when it differs from that of the channel's last barrier: decoding needs all earlier
//! controls of the channel, in order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::element::{Barrier, BarrierKind, CheckpointId, Control};
use crate::error::{OperatorError, OperatorResult};
use crate::live_config::ConfigSnapshot;
use crate::time::Timestamp;

#[derive(Serialize, Deserialize)]
enum WireControl<'a> {
    Watermark(Timestamp),
    Barrier {
        checkpoint: CheckpointId,
        kind: BarrierKind,
        /// As JSON, since documents are; `None`: that of the last barrier.
        config: Option<&'a [u8]>,
        savepoint: Option<&'a str>,
    },
    Idle,
    Active,
    End,
}

/// One channel's controls, at either end.
#[derive(Default)]
pub(crate) struct ControlCodec {
    config: Arc<ConfigSnapshot>,
}

impl ControlCodec {
    pub(crate) fn encode(&mut self, control: &Control) -> OperatorResult<Vec<u8>> {
        let fail = |e: &dyn std::fmt::Display| OperatorError::fatal(format!("cannot encode a control: {e}"));
        let json;
        let wire = match control {
            Control::Watermark(watermark) => WireControl::Watermark(*watermark),
            Control::Barrier(Barrier { checkpoint, kind, config, savepoint }) => {
                let is_known = Arc::ptr_eq(config, &self.config) || *config == self.config;
                let config = if is_known {
                    None
                } else {
                    self.config = config.clone();
                    json = serde_json::to_vec(&**config).map_err(|e| fail(&e))?;
                    Some(json.as_slice())
                };
                let savepoint = savepoint.as_deref();
                WireControl::Barrier { checkpoint: *checkpoint, kind: *kind, config, savepoint }
            }
            Control::Idle => WireControl::Idle,
            Control::Active => WireControl::Active,
            Control::End => WireControl::End,
        };
        postcard::to_allocvec(&wire).map_err(|e| fail(&e))
    }

    pub(crate) fn decode(&mut self, bytes: &[u8]) -> OperatorResult<Control> {
        let fail = |e: &dyn std::fmt::Display| OperatorError::fatal(format!("a damaged control: {e}"));
        let (wire, rest) = postcard::take_from_bytes(bytes).map_err(|e| fail(&e))?;
        if !rest.is_empty() {
            return Err(fail(&format_args!("{} bytes too many", rest.len())));
        }
        Ok(match wire {
            WireControl::Watermark(watermark) => Control::Watermark(watermark),
            WireControl::Barrier { checkpoint, kind, config, savepoint } => {
                if let Some(json) = config {
                    self.config = Arc::new(serde_json::from_slice(json).map_err(|e| fail(&e))?);
                }
                let savepoint = savepoint.map(str::to_owned);
                Control::Barrier(Barrier { checkpoint, kind, config: self.config.clone(), savepoint })
            }
            WireControl::Idle => Control::Idle,
            WireControl::Active => Control::Active,
            WireControl::End => Control::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::live_config::ConfigDocument;

    fn barrier(checkpoint: CheckpointId, config: &Arc<ConfigSnapshot>) -> Control {
        Control::Barrier(Barrier {
            checkpoint,
            kind: BarrierKind::Reconfigure,
            config: config.clone(),
            savepoint: None,
        })
    }

    #[test]
    fn controls_come_back_and_a_configuration_is_written_when_it_changes() {
        let document = ConfigDocument { revision: 3, data: json!({"x": [1.5, null, "t".repeat(1000)]}) };
        let config = Arc::new(ConfigSnapshot::from_iter([("rules".to_owned(), document)]));
        let none = Arc::new(ConfigSnapshot::default());
        let controls = [
            Control::Watermark(-7),
            barrier(1, &none),
            barrier(2, &config),
            Control::Idle,
            Control::Active,
            barrier(3, &Arc::new((*config).clone())),
            barrier(4, &none),
            Control::End,
        ];
        let (mut encoder, mut decoder) = (ControlCodec::default(), ControlCodec::default());
        let frames: Vec<Vec<u8>> = controls.iter().map(|c| encoder.encode(c).expect("encoded")).collect();
        assert!(frames[2].len() > 1000);
        assert!(frames.iter().enumerate().all(|(i, frame)| i == 2 || frame.len() < 16), "{frames:?}");
        for (control, frame) in controls.iter().zip(&frames) {
            let decoded = decoder.decode(frame).expect("decoded");
            assert_eq!(format!("{decoded:?}"), format!("{control:?}"));
        }
    }

    #[test]
    fn damaged_controls_are_errors() {
        let config = Arc::new(ConfigSnapshot::from_iter([(
            "a".to_owned(),
            ConfigDocument { revision: 1, data: json!(1) },
        )]));
        let frame = ControlCodec::default().encode(&barrier(9, &config)).expect("encoded");
        for length in 0..frame.len() {
            assert!(ControlCodec::default().decode(&frame[..length]).is_err(), "cut at {length}");
        }
        assert!(ControlCodec::default().decode(&[&frame[..], &[0]].concat()).is_err());
        assert!(ControlCodec::default().decode(&[5]).is_err());
    }
}
