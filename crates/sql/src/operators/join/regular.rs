//! Regular join: both inputs are kept for good, and each change of one is joined with all that the other holds.
//!
//! Invariant: at any point the changes emitted so far add up to the join of the rows held. Kinds and their order are
//! Flink's, partner by partner: where a row that arrives is the first match, the partner's NULL row is deleted before
//! the match is inserted; where one that leaves is the last, the match is deleted before the NULL row comes back. Sides that
//! emit NULL rows (and the left of semi and anti joins) count the partners of each row to know the first and the last.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::Int8Type;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::{Operator, OperatorContext, Output};
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::held::Held;
use super::output::{Joined, OUTPUT_ROWS, any_null, key_types, no_keys, take_rows};
use super::row_store::{CapturedChunk, NO_ROW};
use super::state::{Snapshot, read_rows, write_rows};
use crate::operators::calc::missing_row_kind;
use crate::operators::keys::{GroupTable, NO_GROUP, key_columns};
use crate::operators::spec::{JoinKind, RegularJoinSpec};

const INSERT: i8 = 0;
const UPDATE_BEFORE: i8 = 1;
const DELETE: i8 = 3;
/// Partners looked up before they are used.
const PARTNERS: usize = 1 << 16;

/// Joins two changelogs for good.
pub struct RegularJoin {
    kind: JoinKind,
    joined: Joined,
    output_changelog: bool,
    keys: GroupTable,
    sides: [Held; 2],
    snapshot: Snapshot,
}

/// The changes of a batch that arrived.
struct Changes {
    rows: RecordBatch,
    /// Row kinds; `None`: all inserts.
    kinds: Option<Vec<i8>>,
    keys: Vec<u32>,
    content: Vec<u128>,
    /// Slot of each row that is kept.
    slots: Vec<u32>,
}

/// The partners of consecutive rows of a batch.
#[derive(Default)]
struct Partners {
    slots: Vec<u32>,
    /// Where the partners of each row end.
    ends: Vec<usize>,
}

/// Changes to be emitted: kind, row of the batch that arrived, slot of the other side.
#[derive(Default)]
struct Pending {
    kinds: Vec<i8>,
    own: Vec<u32>,
    other: Vec<u32>,
}

impl RegularJoin {
    /// A join of two changelogs.
    pub fn new(spec: RegularJoinSpec) -> Self {
        let join = &spec.join;
        let left_outer = matches!(join.kind, JoinKind::Left | JoinKind::Full);
        let right_outer = matches!(join.kind, JoinKind::Right | JoinKind::Full);
        let left_counts = left_outer || matches!(join.kind, JoinKind::Semi | JoinKind::Anti);
        let left_keys = &join.left_keys;
        let right_keys = &join.right_keys;
        Self {
            kind: join.kind,
            joined: Joined::new(join, spec.output_changelog),
            output_changelog: spec.output_changelog,
            keys: no_keys(),
            sides: [
                Held::new("left", &join.left, left_keys, left_outer, spec.left_changelog, left_counts),
                Held::new("right", &join.right, right_keys, right_outer, spec.right_changelog, right_outer),
            ],
            snapshot: Snapshot { max_parallelism: 1, key_groups: 0..1 },
        }
    }

    /// The key of each row; [`NO_GROUP`] when it is NULL, for which no key is numbered.
    fn keys_of(&mut self, input: usize, rows: &RecordBatch) -> OperatorResult<Vec<u32>> {
        let columns = key_columns(rows, &self.sides[input].keys)?;
        let mut keys = Vec::new();
        match any_null(&columns, rows.num_rows()) {
            None => self.keys.intern(&columns, rows.num_rows(), &mut keys)?,
            Some(nulls) => {
                let known = (0u32..).zip(&nulls).filter(|(_, null)| !**null).map(|(row, _)| row);
                let known = UInt32Array::from_iter_values(known);
                let take = |column| Ok(take(column, &known, None)?);
                let columns = columns.iter().map(|c| take(c.as_ref())).collect::<OperatorResult<Vec<_>>>()?;
                self.keys.intern(&columns, known.len(), &mut keys)?;
                let mut numbered = keys.iter();
                let of = |null| if null { NO_GROUP } else { *numbered.next().unwrap_or(&NO_GROUP) };
                keys = nulls.into_iter().map(of).collect();
            }
        }
        for side in &mut self.sides {
            side.reserve_keys(self.keys.capacity());
        }
        Ok(keys)
    }

    /// Splits row kinds off, and stores the rows that are inserted.
    fn take_in(&mut self, input: usize, batch: RecordBatch) -> OperatorResult<Changes> {
        let (rows, kinds) = if self.sides[input].changelog {
            let last = batch.num_columns().saturating_sub(1);
            let kinds = batch.columns().get(last).and_then(|c| c.as_primitive_opt::<Int8Type>());
            let kinds = kinds.ok_or_else(|| missing_row_kind("a join"))?.values().to_vec();
            let inserts_only = kinds.iter().all(|kind| *kind == INSERT);
            (batch.project(&(0..last).collect::<Vec<_>>())?, (!inserts_only).then_some(kinds))
        } else {
            (batch, None)
        };
        let keys = self.keys_of(input, &rows)?;
        let side = &mut self.sides[input];
        let content = side.content(&rows)?;
        let kept = |row: usize| {
            keys[row] != NO_GROUP && kinds.as_ref().is_none_or(|kinds| !is_retraction(kinds[row]))
        };
        let kept = (0..keys.len()).filter(|row| kept(*row)).map(|row| row as u32).collect::<Vec<_>>();
        let mut slots = vec![NO_ROW; keys.len()];
        if kept.len() == keys.len() {
            slots = side.add(rows.clone())?;
        } else if !kept.is_empty() {
            let added = side.add(take_record_batch(&rows, &UInt32Array::from(kept.clone()))?)?;
            for (row, slot) in kept.iter().zip(added) {
                slots[*row as usize] = slot;
            }
        }
        Ok(Changes { rows, kinds, keys, content, slots })
    }

    /// The partners of the rows from `first` on, of as many rows as are looked up at once.
    fn partners(&self, input: usize, changes: &Changes, first: usize) -> OperatorResult<Partners> {
        let other = &self.sides[1 - input];
        let mut partners = Partners::default();
        for key in &changes.keys[first..] {
            if *key != NO_GROUP {
                partners.slots.extend(other.of_key(*key));
            }
            partners.ends.push(partners.slots.len());
            if partners.slots.len() >= PARTNERS {
                break;
            }
        }
        if self.joined.has_condition() {
            self.keep_accepted(input, changes, first, &mut partners)?;
        }
        Ok(partners)
    }

    fn keep_accepted(
        &self,
        input: usize,
        changes: &Changes,
        first: usize,
        partners: &mut Partners,
    ) -> OperatorResult<()> {
        let mut rows = Vec::with_capacity(partners.slots.len());
        for (row, end) in (first as u32..).zip(&partners.ends) {
            rows.resize(*end, row);
        }
        let mut accepted = Vec::with_capacity(rows.len());
        for (rows, slots) in rows.chunks(OUTPUT_ROWS).zip(partners.slots.chunks(OUTPUT_ROWS)) {
            let own = take_rows(changes.rows.columns(), rows)?;
            let others = self.sides[1 - input].rows.gather(slots)?;
            let (left, right) = if input == 0 { (own, others) } else { (others, own) };
            let mask = self.joined.accepted(left, right, rows.len())?;
            accepted.extend(mask.iter().map(|a| a == Some(true)));
        }
        let (mut kept, mut start) = (Vec::new(), 0);
        for end in &mut partners.ends {
            kept.extend((start..*end).filter(|i| accepted[*i]).map(|i| partners.slots[i]));
            start = *end;
            *end = kept.len();
        }
        partners.slots = kept;
        Ok(())
    }

    /// A row arrives at an inner or outer join.
    fn insert(&mut self, input: usize, change: &Change<'_>, pending: &mut Pending) {
        let partners = change.partners;
        let [own, other] = own_and_other(&mut self.sides, input);
        if partners.is_empty() {
            if own.outer {
                pending.push(INSERT, change.row, NO_ROW);
            }
        } else {
            let kind = if own.outer || other.outer { INSERT } else { change.kind };
            if other.outer {
                for slot in partners {
                    if other.associations(*slot) == 0 {
                        pending.push(DELETE, NO_ROW, *slot);
                    }
                    other.add_association(*slot, 1);
                    pending.push(kind, change.row, *slot);
                }
            } else {
                pending.pairs(kind, change.row, partners);
            }
        }
        if change.slot != NO_ROW {
            own.link(change.slot, change.key, change.content, partners.len() as i32);
        }
    }

    /// A row leaves an inner or outer join.
    fn retract(&mut self, input: usize, change: &Change<'_>, pending: &mut Pending) {
        let partners = change.partners;
        let [own, other] = own_and_other(&mut self.sides, input);
        if let (true, Some(content)) = (change.key != NO_GROUP, change.content) {
            own.retract(change.key, content);
        }
        if partners.is_empty() {
            if own.outer {
                pending.push(DELETE, change.row, NO_ROW);
            }
            return;
        }
        let kind = if own.outer { DELETE } else { change.kind };
        if !other.outer {
            pending.pairs(kind, change.row, partners);
        } else {
            for slot in partners {
                pending.push(kind, change.row, *slot);
                if other.associations(*slot) == 1 {
                    pending.push(INSERT, NO_ROW, *slot);
                }
                other.add_association(*slot, -1);
            }
        }
    }

    /// A change of the left of a semi or anti join.
    fn change_left(&mut self, change: &Change<'_>, pending: &mut Pending) {
        if change.partners.is_empty() == (self.kind == JoinKind::Anti) {
            pending.push(change.kind, change.row, NO_ROW);
        }
        let left = &mut self.sides[0];
        match change.content {
            Some(content) if is_retraction(change.kind) && change.key != NO_GROUP => {
                left.retract(change.key, content);
            }
            _ if change.slot != NO_ROW => {
                left.link(change.slot, change.key, change.content, change.partners.len() as i32);
            }
            _ => {}
        }
    }

    /// A change of the right of a semi or anti join.
    fn change_right(&mut self, change: &Change<'_>, pending: &mut Pending) {
        let [left, right] = &mut self.sides;
        let retraction = is_retraction(change.kind);
        let (decisive, difference) = if retraction { (1, -1) } else { (0, 1) };
        match change.content {
            Some(content) if retraction && change.key != NO_GROUP => {
                right.retract(change.key, content);
            }
            _ if change.slot != NO_ROW => right.link(change.slot, change.key, change.content, 0),
            _ => {}
        }
        let kind = match self.kind {
            JoinKind::Anti if retraction => INSERT,
            JoinKind::Anti => DELETE,
            _ => change.kind,
        };
        for slot in change.partners {
            if left.associations(*slot) == decisive {
                pending.push(kind, NO_ROW, *slot);
            }
            left.add_association(*slot, difference);
        }
    }

    fn emit(
        &self,
        input: usize,
        rows: &RecordBatch,
        pending: &mut Pending,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        if !self.output_changelog && pending.kinds.iter().any(|kind| *kind != INSERT) {
            return Err(OperatorError::fatal(
                "a join planned as insert-only has to retract a row; this is an error of the planner",
            ));
        }
        let left_only = matches!(self.kind, JoinKind::Semi | JoinKind::Anti);
        let chunks = pending.kinds.chunks(OUTPUT_ROWS);
        let places = pending.own.chunks(OUTPUT_ROWS).zip(pending.other.chunks(OUTPUT_ROWS));
        for (kinds, (own, other)) in chunks.zip(places) {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            let (own_columns, other_columns) =
                if input == 0 { (&mut left, &mut right) } else { (&mut right, &mut left) };
            if !left_only || input == 0 {
                *own_columns = take_rows(rows.columns(), own)?;
            }
            if !left_only || input == 1 {
                *other_columns = self.sides[1 - input].rows.gather(other)?;
            }
            let kinds_column = self.output_changelog.then_some(kinds);
            out.emit(self.joined.batch(left, right, kinds.len(), kinds_column)?)?;
        }
        *pending = Pending::default();
        Ok(())
    }

    /// Forgets keys that no row is left of.
    fn forget_unused(&mut self, changes: &Changes) {
        let Some(kinds) = &changes.kinds else { return };
        let retracted = kinds.iter().zip(&changes.keys).filter(|(kind, _)| is_retraction(**kind));
        let mut keys = retracted.map(|(_, key)| *key).filter(|key| *key != NO_GROUP).collect::<Vec<_>>();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if self.sides.iter().all(|side| !side.has_rows(key)) {
                self.keys.remove(key);
            }
        }
    }

    fn restore(&mut self, input: usize, restored: &RestoredState) -> OperatorResult<()> {
        let (name, fingerprint) = (self.sides[input].name, self.sides[input].fingerprint());
        for stored in read_rows(restored, name, &fingerprint)? {
            let (rows, associations) = self.sides[input].split_stored(&stored)?;
            let keys = self.keys_of(input, &rows)?;
            let side = &mut self.sides[input];
            let content = side.content(&rows)?;
            for (row, slot) in side.add(rows)?.into_iter().enumerate() {
                side.link(slot, keys[row], content.get(row).copied(), associations[row]);
            }
        }
        Ok(())
    }
}

/// One changed row.
struct Change<'a> {
    kind: i8,
    row: u32,
    key: u32,
    /// [`NO_ROW`] when it is not kept.
    slot: u32,
    content: Option<u128>,
    partners: &'a [u32],
}

impl Pending {
    fn push(&mut self, kind: i8, own: u32, other: u32) {
        self.kinds.push(kind);
        self.own.push(own);
        self.other.push(other);
    }

    fn pairs(&mut self, kind: i8, own: u32, others: &[u32]) {
        let length = self.kinds.len() + others.len();
        self.kinds.resize(length, kind);
        self.own.resize(length, own);
        self.other.extend_from_slice(others);
    }
}

fn is_retraction(kind: i8) -> bool {
    kind == UPDATE_BEFORE || kind == DELETE
}

fn own_and_other(sides: &mut [Held; 2], input: usize) -> [&mut Held; 2] {
    let [left, right] = sides;
    if input == 0 { [left, right] } else { [right, left] }
}

impl Operator<RecordBatch, RecordBatch> for RegularJoin {
    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.snapshot = Snapshot::new(context);
        self.keys = GroupTable::new(&key_types(&self.sides[0].columns, &self.sides[0].keys))?;
        for input in 0..2 {
            self.sides[input].open()?;
            self.restore(input, &context.restored)?;
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        out: &mut dyn Output<RecordBatch>,
    ) -> OperatorResult<()> {
        let changes = self.take_in(input, batch)?;
        let mut pending = Pending::default();
        let mut row = 0;
        while row < changes.keys.len() {
            let partners = self.partners(input, &changes, row)?;
            let mut start = 0;
            for end in &partners.ends {
                let change = Change {
                    kind: changes.kinds.as_ref().map_or(INSERT, |kinds| kinds[row]),
                    row: row as u32,
                    key: changes.keys[row],
                    slot: changes.slots[row],
                    content: changes.content.get(row).copied(),
                    partners: &partners.slots[start..*end],
                };
                match (self.kind, input) {
                    (JoinKind::Semi | JoinKind::Anti, 0) => self.change_left(&change, &mut pending),
                    (JoinKind::Semi | JoinKind::Anti, _) => self.change_right(&change, &mut pending),
                    _ if is_retraction(change.kind) => self.retract(input, &change, &mut pending),
                    _ => self.insert(input, &change, &mut pending),
                }
                start = *end;
                row += 1;
                if pending.kinds.len() >= OUTPUT_ROWS {
                    self.emit(input, &changes.rows, &mut pending, out)?;
                }
            }
        }
        if !pending.kinds.is_empty() {
            self.emit(input, &changes.rows, &mut pending, out)?;
        }
        self.forget_unused(&changes);
        Ok(())
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let snapshot = self.snapshot.clone();
        let captured = self.sides.each_ref().map(|side| {
            let associations = |slot: u32| side.associations(slot);
            let chunks = side.rows.capture(if side.counts() { Some(&associations) } else { None });
            (side.name, side.fingerprint(), side.keys.clone(), chunks)
        });
        Ok(Some(Box::new(move |writer| {
            for (name, fingerprint, keys, chunks) in captured {
                let batches =
                    chunks.into_iter().map(CapturedChunk::into_batch).collect::<Result<Vec<_>, _>>()?;
                write_rows(writer, name, &fingerprint, &keys, &snapshot, &batches)?;
            }
            Ok(())
        })))
    }
}
